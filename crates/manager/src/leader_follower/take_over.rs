//! A node that is to lead: it reads the log to its end, puts back what the log lost, and starts its term.

use std::{future::pending, sync::atomic::Ordering, time::Duration};

use archipelago_engine::mutated;
use archipelago_pipeline::{ExpectedEnd, PipelineError};
use archipelago_proto::{Entry, EntryBatch, NodeAnswer, NodeBeat, NodeQuestion, NodeRole, Operation, Text};
use archipelago_store::{StoreError, Table};
use bytes::Bytes;
use futures::{FutureExt, future::join_all};
use tokio::time::Instant;

use super::{
    Notification, RoleError,
    metrics::add,
    node::{LogView, Next, Node, TermStart},
    puller::Pulled,
    recovery::Wanted,
    shared::TailSpan,
};

/// Between two attempts to reach the broker.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// How often it is looked whether the node may still lead, while nothing comes.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// For how long nothing may come although the log has more.
const STALL_TIMEOUT: Duration = Duration::from_secs(2);
/// A candidate that makes no progress for so long gives way to others.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it is waited for others to say how far they are.
const HEAR_TIMEOUT: Duration = Duration::from_millis(100);
/// How often it is looked whether all have.
const HEAR_INTERVAL: Duration = Duration::from_millis(5);
/// How many batches that are put back are on their way at a time.
const PUT_BACK_MAX: usize = 32;

/// Why a node does not lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    Closing,
    LeaseLost,
    /// Somebody else leads, in this term.
    Deposed {
        term: u64,
    },
    Unfit {
        reason: String,
    },
}

/// Where the entries are that other nodes told of.
enum Told {
    /// Here, or nowhere.
    IsHere,
    /// The log is not as it was when it was read.
    MayBeInTheLog,
    /// At a node that gives no more than its whole state, which was taken.
    TakesTheState { reason: String },
}

impl std::fmt::Display for Halt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Halt::Closing => f.write_str("the node is closed"),
            Halt::LeaseLost => f.write_str("its lease ran out, or was taken"),
            Halt::Deposed { term } => write!(f, "another node leads, in term {term}"),
            Halt::Unfit { reason } => f.write_str(reason),
        }
    }
}

impl Node {
    /// Begins to lead, or gives way.
    pub(super) async fn take_over(&mut self, token: u64) -> Result<Next, StoreError> {
        self.token = token;
        self.shared.token.store(token, Ordering::Release);
        self.become_role(NodeRole::Candidate);
        let halt = match self.claim(token).await? {
            Ok(()) if self.holds_lease(token).await => return Ok(Next::Lead),
            Ok(()) => Halt::LeaseLost,
            Err(halt) => halt,
        };
        tracing::info!(node = %self.shared.node, reason = %halt, "does not lead");
        if let Some(reply) = self.promoting.take() {
            let _ = reply.send(Err(RoleError::NotEligible { reason: halt.to_string() }));
        }
        if let Some(lease) = &self.lease {
            lease.release().await;
        }
        Ok(if halt == Halt::Closing { Next::Stop } else { Next::Follow })
    }

    /// Lets all who can be heard say how far they are: they do at the word of a candidate. What the log lost may be known to
    /// any of them.
    async fn hear_others(&self) {
        let (began, options) = (Instant::now(), &self.shared.options);
        let mut expected: Vec<String> = self.state.followers().iter().map(Text::to_string).collect();
        expected.extend(
            self.shared.peers().alive(options.heartbeat_timeout).into_iter().map(|peer| peer.beat.node),
        );
        expected.retain(|node| **node != *self.shared.node);
        expected.sort_unstable();
        expected.dedup();
        // One that has just come does not know yet who is there.
        let knows_all = self.shared.started.elapsed() > options.heartbeat_interval;
        self.shared.tell.notify_one();
        let all_have_spoken = async {
            let has_spoken =
                |node: &String| self.shared.peers().get(node).is_some_and(|peer| peer.heard_at > began);
            while !(knows_all && expected.iter().all(has_spoken)) {
                tokio::time::sleep(HEAR_INTERVAL).await;
            }
        };
        // What is said to all may be lost, both the word of a candidate and what others say to it.
        let asked = join_all(expected.iter().map(|node| self.ask_how_far(node)));
        tokio::select! {
            biased;
            () = self.shared.closing.cancelled() => {}
            () = all_have_spoken => {}
            () = tokio::time::sleep(HEAR_TIMEOUT) => {}
            () = asked.then(|_| pending()) => {}
        }
    }

    /// Asks one other node how far it is, if it can be reached.
    async fn ask_how_far(&self, node: &str) {
        let (shared, asked_at) = (&self.shared, Instant::now());
        let question = NodeQuestion::Reach { index: 0, patience_ms: 0 };
        match shared.ask(node, &question, HEAR_TIMEOUT).await {
            Ok(NodeAnswer::Index { term, index }) => {
                let beat = NodeBeat {
                    namespace: shared.namespace.clone(),
                    node: node.to_owned(),
                    session: 0,
                    role: NodeRole::Follower,
                    term,
                    index,
                    chain: 0,
                    address: None,
                    leader: None,
                    is_eligible: false,
                    is_desynced: false,
                    furthest_sequence: 0,
                };
                shared.peers().hear_answer(asked_at, beat);
            }
            Ok(other) => tracing::debug!(node, ?other, "it does not tell how far it is"),
            Err(error) => tracing::debug!(node, %error, "it does not tell how far it is"),
        }
    }

    /// Whether the lease is held still, behind the start of the term. Another one may have taken it and started a term of
    /// its own before, which would go on showing what it has, sure of its lease.
    async fn holds_lease(&self, token: u64) -> bool {
        match &self.lease {
            Some(lease) => lease.confirm(token).await,
            None => true,
        }
    }

    async fn claim(&mut self, token: u64) -> Result<Result<(), Halt>, StoreError> {
        let (mut claimed, mut has_heard) = (None, false);
        loop {
            if let Err(halt) = self.read_to_end(None).await? {
                return Ok(Err(halt));
            }
            // Behind the reading: of what the log lost before that, they have what they will ever have.
            if !std::mem::replace(&mut has_heard, true) {
                self.hear_others().await;
            }
            match self.fetch_what_was_told_of().await? {
                Told::IsHere => {}
                Told::MayBeInTheLog => continue,
                Told::TakesTheState { reason } => return Ok(Err(Halt::Unfit { reason })),
            }
            if self.reads_mirror == Some(true) {
                return Ok(Err(Halt::Unfit { reason: "it reads from a mirror of the log".into() }));
            }
            if !self.state.is_whole() {
                return Ok(Err(Halt::Unfit { reason: "it lacks entries".into() }));
            }
            if let Err(error) = self.put_back().await? {
                self.append_failed(&error).await;
                continue;
            }
            // Of an earlier round, whose answer was lost: but the log may have lost it since.
            if claimed.is_some() && self.term_start == claimed {
                return Ok(Ok(()));
            }
            let history = *self.state.history();
            let told = self.shared.peers().furthest().0;
            let term = token.max(history.term + 1).max(told + 1);
            let start = Operation::TermStart {
                node: Text::from(&*self.shared.node),
                session: self.shared.session,
                address: self.shared.options.address.as_deref().map(Text::from),
            };
            let batch = EntryBatch {
                namespace: self.shared.namespace.clone(),
                term,
                first_index: history.index + 1,
                before: history.chain,
                written_unix_ms: self.clock.now_unix_ms(),
                entries: vec![Entry::new(start)],
            };
            claimed = Some(TermStart { term, session: self.shared.session });
            let encoded = batch.encode();
            match self.append(encoded.clone(), self.log.end()).await {
                Ok(sequence) => {
                    let mut group = self.state.group();
                    self.add(&mut group, &batch, encoded, 0)?;
                    self.log.wrote(sequence, batch.first_index);
                    if let Some(place) = self.place() {
                        group.at(place);
                    }
                    self.commit(group).await?;
                    return Ok(Ok(()));
                }
                Err(error) => self.append_failed(&error).await,
            }
        }
    }

    pub(super) async fn append_failed(&mut self, error: &PipelineError) {
        add(&self.shared.counters.appends_failed, 1);
        tracing::debug!(node = %self.shared.node, %error, "an append did not succeed");
        self.wait(RETRY_PAUSE).await;
    }

    /// Appends one message, and waits for the broker. Gives its sequence.
    pub(super) async fn append(&self, payload: Bytes, expected: ExpectedEnd) -> Result<u64, PipelineError> {
        let appending = self.shared.pipeline.append(&self.shared.node, payload, expected).await?;
        add(&self.shared.counters.messages_appended, 1);
        appending.ack.await?;
        Ok(appending.sequence)
    }

    /// What keeps this node from leading, in `term` if it leads already.
    pub(super) fn halt(&self, term: Option<u64>) -> Option<Halt> {
        let newest = self.state.history().term;
        if self.shared.closing.is_cancelled() {
            Some(Halt::Closing)
        } else if self
            .lease
            .as_ref()
            .is_some_and(|lease| lease.held().is_none_or(|held| held.token != self.token))
        {
            // One that was lost and acquired again is another one: somebody may have led in between.
            Some(Halt::LeaseLost)
        } else if term.is_some_and(|term| newest > term) {
            Some(Halt::Deposed { term: newest })
        } else {
            None
        }
    }

    /// Waits until something keeps this node from leading.
    async fn halted(&self, term: Option<u64>) -> Halt {
        loop {
            if let Some(halt) = self.halt(term) {
                return halt;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Applies all that the log holds. A log that is gone is made anew. `term` is that in which this node leads, if it
    /// does.
    pub(super) async fn read_to_end(&mut self, term: Option<u64>) -> Result<Result<(), Halt>, StoreError> {
        let mut progress_at = Instant::now();
        self.pull_again();
        'log: loop {
            if let Some(halt) = self.halt(term) {
                return Ok(Err(halt));
            }
            if progress_at.elapsed() > PROGRESS_TIMEOUT && self.lease.is_some() {
                let reason = "it cannot read the log to its end".to_owned();
                return Ok(Err(Halt::Unfit { reason }));
            }
            let opened = tokio::select! {
                biased;
                // A broker that does not answer must not keep a leader from noticing that it is none.
                halt = self.halted(term) => return Ok(Err(halt)),
                opened = self.shared.open_log() => opened,
            };
            let end = match opened {
                Ok(end) => end,
                Err(error) => {
                    self.trouble(Some(error.to_string()));
                    self.wait(RETRY_PAUSE).await;
                    continue;
                }
            };
            if mutated!(ServeBeforeEnd) && term.is_none() {
                let (id, entry) = (Some(end.id), self.state.history().index);
                self.log =
                    LogView { id, sequence: end.last_sequence, is_own: false, entry, from_beginning: false };
                return Ok(Ok(()));
            }
            if self.puller.is_none() || self.log.sequence > end.last_sequence {
                self.pull_again();
            }
            let mut came_at = Instant::now();
            while self.puller.is_none()
                || self.log.id.as_ref() != Some(&end.id)
                || self.log.sequence < end.last_sequence
            {
                if let Some(halt) = self.halt(term) {
                    return Ok(Err(halt));
                }
                if came_at.elapsed() > STALL_TIMEOUT {
                    self.puller = None;
                    continue 'log;
                }
                let Some(puller) = &mut self.puller else { continue 'log };
                if let Ok(pulled) = tokio::time::timeout(LOOK_INTERVAL, puller.next()).await {
                    let before = self.state.history().index;
                    let is_down = matches!(pulled, Pulled::Down(_));
                    self.apply(pulled).await?;
                    if is_down {
                        // It may be gone again, and nobody else makes it.
                        continue 'log;
                    }
                    came_at = Instant::now();
                    if self.state.history().index > before {
                        progress_at = came_at;
                    }
                }
            }
            return Ok(Ok(()));
        }
    }

    /// Has what other nodes told of and the log does not hold.
    async fn fetch_what_was_told_of(&mut self) -> Result<Told, StoreError> {
        let (term, told, _) = self.shared.peers().furthest();
        let have = self.state.history().index;
        if told <= have || self.fetch(told).await? {
            return Ok(Told::IsHere);
        }
        if let Some(source) = self.source(told) {
            let reason =
                format!("{source:?} has entries up to {told}, and its tail does not reach back to {have}");
            self.resync(&reason, Wanted::UpTo(told)).await?;
            return Ok(Told::TakesTheState { reason });
        }
        match self.shared.pipeline.state().await {
            Ok(end) if self.log.id.as_ref() == Some(&end.id) && self.log.sequence >= end.last_sequence => {}
            // Who told of them may have written them after the log was read here.
            Ok(_) => return Ok(Told::MayBeInTheLog),
            Err(error) => {
                self.trouble(Some(error.to_string()));
                self.wait(RETRY_PAUSE).await;
                return Ok(Told::MayBeInTheLog);
            }
        }
        let have = self.state.history().index;
        tracing::error!(node = %self.shared.node, have, told, "entries that were told of are nowhere to be had");
        self.shared.notify(Notification::EntriesMissing { have, told });
        self.shared.peers().give_up_furthest(term, have);
        Ok(Told::IsHere)
    }

    /// Appends what is in the tail and not in the log.
    pub(super) async fn put_back(&mut self) -> Result<Result<(), PipelineError>, StoreError> {
        if mutated!(SkipPutBack) {
            return Ok(Ok(()));
        }
        let last = self.state.history().index;
        let lost: Vec<TailSpan> =
            self.shared.tail().iter().filter(|span| span.last_index > self.log.entry).copied().collect();
        let (Some(first), true) = (lost.first(), self.log.entry < last) else { return Ok(Ok(())) };
        let from = first.first_index.max(self.log.entry + 1);
        tracing::warn!(node = %self.shared.node, from, to = last, "the log lost entries; they are put back");
        for some in lost.chunks(PUT_BACK_MAX) {
            let mut acks = Vec::new();
            let mut expected = self.log.end();
            for span in some {
                let key = span.first_index.to_be_bytes();
                let Some(encoded) = self.shared.store.get(Table::Tail, &key)? else { continue };
                match self.shared.pipeline.append(&self.shared.node, encoded, expected).await {
                    Ok(appending) => {
                        add(&self.shared.counters.messages_appended, 1);
                        expected = ExpectedEnd::Own(appending.sequence);
                        acks.push((appending, span.last_index));
                    }
                    Err(error) => return Ok(Err(error)),
                }
            }
            for (appending, entry) in acks {
                if let Err(error) = appending.ack.await {
                    // What is in the log by now is found by reading it.
                    return Ok(Err(error));
                }
                self.log.wrote(appending.sequence, entry);
            }
        }
        add(&self.shared.counters.logs_mended, 1);
        self.shared.notify(Notification::LogMended { from, to: last });
        Ok(Ok(()))
    }
}
