//! A node that leads: it takes writes, appends them to the log, and stores what the broker acknowledged.

use std::{collections::VecDeque, sync::atomic::Ordering, time::Duration};

use archipelago_engine::leader_follower::{Demand, Proposal, Proposer, Refusal};
use archipelago_pipeline::{LogState, PendingAck, PipelineError, PublishAck};
use archipelago_proto::{
    EncodeError, Entry, EntryBatch, EntryBatchBuilder, ForwardedWrite, NodeRole, Operation, Text,
};
use archipelago_store::StoreError;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesOrdered};
use tokio::{
    sync::oneshot,
    time::{Instant, MissedTickBehavior},
};

use super::{
    LeaderInfo, Notification, WriteError,
    command::{Command, Written},
    lease_keeper::changed,
    metrics::add,
    node::{Next, Node},
    state::{self, Group},
    take_over::Halt,
};

/// How many commands are taken in before what they ask for is sent.
const GROUP_COMMANDS_MAX: usize = 512;
/// How long what is on its way is waited for when a leader resigns.
const RESIGN_TIMEOUT: Duration = Duration::from_secs(1);

type Reply = oneshot::Sender<Result<Written, WriteError>>;

/// A message on its way to the log.
struct Flight {
    batch: EntryBatch,
    encoded: Bytes,
    /// The place it has if it is accepted.
    sequence: u64,
}

/// What a leader has under way.
struct Leading {
    term: u64,
    proposer: Proposer,
    /// The last sequence of the log, once all that is under way is in it.
    expected: u64,
    /// In the order in which they were sent, and with them their acknowledgements.
    flights: VecDeque<Flight>,
    acks: FuturesOrdered<PendingAck>,
    /// Acknowledged, and not being stored yet.
    decided: Vec<Flight>,
    committing: Option<Committing>,
    /// Who waits for which entry.
    waiters: VecDeque<(u64, Reply)>,
    /// Who is to be refused once this entry is stored.
    refused: VecDeque<(u64, Reply, WriteError)>,
    /// An append did not succeed, or that is not known: nothing more is sent before the log was read.
    is_in_doubt: bool,
    checking: Option<BoxFuture<'static, (u64, Result<LogState, PipelineError>)>>,
}

/// What is being stored.
struct Committing {
    stored: BoxFuture<'static, Result<(), StoreError>>,
    group: Group,
    flights: Vec<Flight>,
}

/// Why a leader ceases to lead.
enum End {
    Halted(Halt),
    /// It was asked to, by this command.
    Asked(oneshot::Sender<Result<(), super::RoleError>>),
}

impl Node {
    /// Leads until another one does, or this node is told to stop.
    pub(super) async fn lead(&mut self) -> Result<Next, StoreError> {
        self.puller = None;
        let term = self.state.history().term;
        let mut leading = self.begin(term);
        let end = self.serve(&mut leading).await?;
        self.end(leading, end).await
    }

    fn begin(&mut self, term: u64) -> Leading {
        let shared = &self.shared;
        let me = LeaderInfo { id: shared.node.to_string(), address: shared.options.address.clone() };
        shared.standing.send_modify(|standing| {
            standing.term = term;
            standing.leader = Some(me);
            standing.trouble = None;
        });
        shared.peers().wrote(self.state.history().index, Instant::now());
        self.become_role(NodeRole::Leader);
        add(&self.shared.counters.promotions, 1);
        self.shared.notify(Notification::Promoted { term });
        tracing::info!(node = %self.shared.node, term, "leads");
        if let Some(reply) = self.promoting.take() {
            let _ = reply.send(Ok(()));
        }
        let mut limits = self.shared.options.limits.clone();
        if let Some(good) = self.shared.pipeline.payload_bytes_good() {
            limits.batch_bytes_target = limits.batch_bytes_target.min(good / 2);
        }
        Leading {
            term,
            proposer: Proposer::new(&*self.shared.namespace, limits, *self.state.history()),
            expected: self.log.sequence,
            flights: VecDeque::new(),
            acks: FuturesOrdered::new(),
            decided: Vec::new(),
            committing: None,
            waiters: VecDeque::new(),
            refused: VecDeque::new(),
            is_in_doubt: false,
            checking: None,
        }
    }

    async fn serve(&mut self, leading: &mut Leading) -> Result<End, StoreError> {
        let mut lease = self.lease.as_ref().map(|lease| lease.view.clone());
        let mut tick = tokio::time::interval(self.shared.options.heartbeat_interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Some(halt) = self.halt(Some(leading.term)) {
                return Ok(End::Halted(halt));
            }
            if leading.is_in_doubt
                && let Err(halt) = self.resolve(leading).await?
            {
                return Ok(End::Halted(halt));
            }
            let until = self.lease.as_ref().and_then(|lease| lease.held()).map(|held| held.until);
            let takes_more =
                leading.waiters.len() + leading.refused.len() < self.shared.options.writes_waiting_max;
            tokio::select! {
                biased;
                () = self.shared.closing.cancelled() => {}
                () = changed(&mut lease) => {}
                () = sleep_until(until) => {}
                Some(ack) = leading.acks.next(), if !leading.acks.is_empty() => {
                    leading.handle_ack(ack);
                    while let Some(Some(ack)) = leading.acks.next().now_or_never() {
                        leading.handle_ack(ack);
                    }
                }
                stored = stored(&mut leading.committing) => self.committed_by_leader(leading, stored?),
                (expected, state) = checked(&mut leading.checking) => leading.handle_state(
                    self.log.id.as_ref(), expected, state),
                command = self.commands.recv(), if takes_more => {
                    let Some(command) = command else { return Ok(End::Halted(Halt::Closing)) };
                    if let Some(end) = self.handle_commands(leading, command).await? {
                        return Ok(end);
                    }
                }
                _ = tick.tick() => self.beat_of_leader(leading),
            }
            self.send(leading).await;
            self.store(leading)?;
            self.answer_refused(leading);
            self.shared.log_end.store(leading.expected, Ordering::Release);
        }
    }

    /// Takes in a command, and whatever else waits.
    async fn handle_commands(
        &mut self,
        leading: &mut Leading,
        first: Command,
    ) -> Result<Option<End>, StoreError> {
        let mut next = Some(first);
        for _ in 0..GROUP_COMMANDS_MAX {
            let Some(command) = next else { break };
            match command {
                Command::Write { write, reply } => self.propose(leading, write, reply)?,
                Command::Push { operation, reply } => {
                    let index = leading.proposer.push(operation);
                    leading.waiters.push_back((index, reply));
                }
                Command::Promote { reply } => drop(reply.send(Ok(()))),
                Command::Demote { reply } => return Ok(Some(End::Asked(reply))),
                Command::Resync => {}
            }
            if leading.proposer.is_full() {
                self.send(leading).await;
                if leading.proposer.is_full() {
                    break;
                }
            }
            next = self.commands.try_recv().ok();
        }
        Ok(None)
    }

    fn propose(
        &mut self,
        leading: &mut Leading,
        write: ForwardedWrite,
        reply: Reply,
    ) -> Result<(), StoreError> {
        let ForwardedWrite { key, value, kind, expected_version } = write;
        if let Err(error) = self.check(&key, value.as_ref()) {
            add(&self.shared.counters.writes_refused, 1);
            let _ = reply.send(Err(error.into()));
            return Ok(());
        }
        // The buffer that they came in may be a large one.
        let key = key.detached();
        let proposal = match value {
            Some(value) => Proposal::Put { key: key.clone(), value, kind },
            None => Proposal::Delete { key: key.clone() },
        };
        let shared = &self.shared;
        let demand = Demand { version: expected_version };
        let proposed = leading.proposer.propose(proposal, demand, |key| {
            Ok::<_, StoreError>(shared.row(key.as_bytes())?.map(|row| row.version))
        })?;
        match proposed {
            Ok(index) => {
                add(&shared.counters.writes, 1);
                leading.waiters.push_back((index, reply));
            }
            Err(refusal) => {
                add(&shared.counters.writes_refused, 1);
                let key = key.to_string();
                let error = match refusal {
                    Refusal::Exists { version } => WriteError::AlreadyExists { key, version },
                    Refusal::Missing => WriteError::NotFound { key },
                    Refusal::Version { found } => {
                        let expected = expected_version.unwrap_or_default();
                        WriteError::VersionMismatch { key, expected, found }
                    }
                };
                if self.lease.is_none() && leading.proposer.is_empty() {
                    // Only an entry behind what it rests on shows that this node still leads.
                    leading.proposer.push(Operation::Nothing);
                }
                leading.refused.push_back((leading.proposer.index(), reply, error));
            }
        }
        Ok(())
    }

    /// A refusal tells of the state as a read does: so it waits until all that it rests on is stored, and this node is
    /// known to lead after that.
    fn answer_refused(&self, leading: &mut Leading) {
        let index = self.state.history().index;
        let count = leading.refused.partition_point(|(rests_on, _, _)| *rests_on <= index);
        if count == 0 {
            return;
        }
        let refused: Vec<_> = leading.refused.drain(..count).collect();
        let (lease, token) = (self.lease.clone(), self.token);
        tokio::spawn(async move {
            let leads = match lease {
                Some(lease) => lease.confirm(token).await,
                None => true,
            };
            for (_, reply, error) in refused {
                let unsure = || WriteError::NotWritten { reason: "it is not sure who leads".to_owned() };
                let _ = reply.send(Err(if leads { error } else { unsure() }));
            }
        });
    }

    fn check(&self, key: &Text, value: Option<&Bytes>) -> Result<(), EncodeError> {
        let limits = &self.shared.options.limits;
        let within = |limit, found: usize, max: usize| match found <= max {
            true => Ok(()),
            false => Err(EncodeError::OverLimit { limit, found: found as u64, max: max as u64 }),
        };
        if key.is_empty() {
            return Err(EncodeError::Unrepresentable { reason: "a key has at least one byte".into() });
        }
        within("entity_id_bytes_max", key.len(), limits.entity_id_bytes_max)?;
        let bytes = value.map_or(0, Bytes::len);
        within("value_bytes_max", bytes, limits.value_bytes_max)?;
        if let Some(value) = value {
            archipelago_proto::check_value(value, limits)
                .map_err(|error| EncodeError::Unrepresentable { reason: error.to_string() })?;
        }
        let payload_bytes_max = self.shared.pipeline.payload_bytes_max().unwrap_or(usize::MAX);
        within("payload_bytes_max", (bytes + key.len()).saturating_add(1_024), payload_bytes_max)?;
        if bytes > limits.batch_bytes_target {
            let entry = Entry::new(Operation::Put {
                key: key.clone(),
                value: value.cloned().unwrap_or_default(),
                kind: archipelago_proto::PutKind::Upsert,
            });
            EntryBatchBuilder::check(&entry, limits)?;
        }
        Ok(())
    }

    /// Sends what waits, as long as there is room on the way.
    async fn send(&mut self, leading: &mut Leading) {
        while !leading.is_in_doubt && leading.flights.len() < self.shared.options.in_flight_max {
            let Some(batch) = leading.proposer.seal(self.clock.now_unix_ms()) else { return };
            self.send_batch(leading, batch).await;
        }
    }

    async fn send_batch(&mut self, leading: &mut Leading, batch: EntryBatch) {
        let encoded = batch.encode();
        let sent = match leading.is_in_doubt {
            true => None,
            false => {
                let appending =
                    self.shared.pipeline.append(&self.shared.node, encoded.clone(), leading.expected).await;
                appending.inspect_err(|error| tracing::debug!(%error, "an append was not sent")).ok()
            }
        };
        match sent {
            Some(appending) => {
                add(&self.shared.counters.messages_appended, 1);
                leading.expected = appending.sequence;
                leading.acks.push_back(appending.ack);
                leading.flights.push_back(Flight { batch, encoded, sequence: appending.sequence });
            }
            None => {
                leading.is_in_doubt = true;
                leading.flights.push_back(Flight { batch, encoded, sequence: 0 });
            }
        }
    }

    /// Begins to store what the broker acknowledged.
    fn store(&mut self, leading: &mut Leading) -> Result<(), StoreError> {
        if leading.committing.is_some() || leading.decided.is_empty() {
            return Ok(());
        }
        let flights = std::mem::take(&mut leading.decided);
        let mut group = self.state.group();
        for flight in &flights {
            self.add(&mut group, &flight.batch, flight.encoded.clone(), 0)?;
            (self.log.sequence, self.log.entry) = (flight.sequence, flight.batch.last_index());
        }
        if let Some(place) = self.place() {
            group.at(place);
        }
        let batch = self.state.prepare(&mut group);
        let store = self.shared.store.clone();
        let stored = state::commit(store, batch, self.shared.options.durability).boxed();
        leading.committing = Some(Committing { stored, group, flights });
        Ok(())
    }

    fn committed_by_leader(&mut self, leading: &mut Leading, committing: Committing) {
        let Committing { group, flights, .. } = committing;
        self.state.install(&group);
        self.committed(group);
        for flight in &flights {
            leading.proposer.stored(&flight.batch);
            self.marks.note(flight.batch.last_index(), flight.sequence);
        }
        let index = self.state.history().index;
        self.shared.peers().wrote(index, Instant::now());
        leading.answer(index);
    }

    /// Waits until all that the broker acknowledged is stored.
    async fn finish_storing(&mut self, leading: &mut Leading) -> Result<(), StoreError> {
        loop {
            self.store(leading)?;
            if leading.committing.is_none() {
                return Ok(());
            }
            let committing = stored(&mut leading.committing).await?;
            self.committed_by_leader(leading, committing);
        }
    }

    /// An append failed, or the log is not as it should be: what became of everything is read from the log, and what it
    /// does not hold is appended again. Entries keep their indexes, so nothing counts twice.
    async fn resolve(&mut self, leading: &mut Leading) -> Result<Result<(), Halt>, StoreError> {
        loop {
            add(&self.shared.counters.appends_failed, 1);
            self.finish_storing(leading).await?;
            leading.acks = FuturesOrdered::new();
            leading.checking = None;
            if let Err(halt) = self.read_to_end(Some(leading.term)).await? {
                return Ok(Err(halt));
            }
            if let Some(halt) = self.halt(Some(leading.term)) {
                return Ok(Err(halt));
            }
            let index = self.state.history().index;
            while leading.flights.front().is_some_and(|flight| flight.batch.last_index() <= index) {
                let flight = leading.flights.pop_front().expect("there is one");
                leading.proposer.stored(&flight.batch);
            }
            leading.answer(index);
            match self.put_back().await? {
                Ok(()) => {}
                Err(error) => {
                    self.append_failed(&error).await;
                    continue;
                }
            }
            self.puller = None;
            leading.is_in_doubt = false;
            leading.expected = self.log.sequence;
            for flight in std::mem::take(&mut leading.flights) {
                self.send_batch(leading, flight.batch).await;
            }
            if !leading.is_in_doubt {
                return Ok(Ok(()));
            }
            self.wait(Duration::from_millis(50)).await;
        }
    }

    /// What a leader does now and then.
    fn beat_of_leader(&mut self, leading: &mut Leading) {
        if leading.checking.is_none() && leading.flights.is_empty() {
            let (pipeline, expected) = (self.shared.pipeline.clone(), leading.expected);
            leading.checking = Some(async move { (expected, pipeline.state().await) }.boxed());
        }
        let within = self.shared.options.heartbeat_timeout;
        let known = self.shared.standing.borrow().followers.clone();
        let new: Vec<String> = {
            let peers = self.shared.peers();
            let alive = peers.alive(within).into_iter().map(|peer| peer.beat.node);
            alive.filter(|node| !known.contains(node) && !peers.is_unregistered(node)).collect()
        };
        for node in new {
            // Until it is applied the same may be asked for again, which does no harm.
            leading.proposer.push(Operation::Register { node: node.into() });
        }
        let keep = self.shared.options.log_entries_max;
        if let Some(sequence) = self.marks.trim_below(self.state.history().index.saturating_sub(keep)) {
            let pipeline = self.shared.pipeline.clone();
            tokio::spawn(async move {
                if let Err(error) = pipeline.trim(sequence).await {
                    tracing::warn!(%error, "the log was not trimmed");
                }
            });
        }
    }

    /// Ceases to lead.
    async fn end(&mut self, mut leading: Leading, end: End) -> Result<Next, StoreError> {
        let resigns = matches!(end, End::Asked(_) | End::Halted(Halt::Closing));
        if resigns {
            let deadline = Instant::now() + RESIGN_TIMEOUT;
            while !leading.is_idle() && !leading.is_in_doubt && Instant::now() < deadline {
                self.send(&mut leading).await;
                self.store(&mut leading)?;
                tokio::select! {
                    Some(ack) = leading.acks.next(), if !leading.acks.is_empty() => leading.handle_ack(ack),
                    stored = stored(&mut leading.committing) => self.committed_by_leader(&mut leading, stored?),
                    () = tokio::time::sleep_until(deadline) => {}
                }
            }
        }
        self.finish_storing(&mut leading).await?;
        let (term, reason) = (leading.term, leading.give_up(&end));
        self.shared.standing.send_modify(|standing| standing.leader = None);
        self.become_role(NodeRole::Follower);
        add(&self.shared.counters.demotions, 1);
        if let Some(lease) = &self.lease {
            if resigns {
                let until = Instant::now() + self.shared.options.lease * 2;
                self.stands_back_until = Some(until);
                self.stands = Some(false);
                lease.compete(false).await;
            }
            lease.release().await;
        }
        tracing::info!(node = %self.shared.node, term, %reason, "leads no more");
        self.shared.notify(Notification::Demoted { term, reason });
        Ok(match end {
            End::Asked(reply) => {
                let _ = reply.send(Ok(()));
                Next::Follow
            }
            End::Halted(Halt::Closing) => Next::Stop,
            End::Halted(_) => Next::Follow,
        })
    }
}

impl Leading {
    fn handle_ack(&mut self, ack: Result<PublishAck, PipelineError>) {
        if self.is_in_doubt {
            return;
        }
        match ack {
            Ok(ack) => {
                let flight = self.flights.pop_front().expect("each acknowledgement has its message");
                if ack.sequence == flight.sequence {
                    self.decided.push(flight);
                    return;
                }
                self.flights.push_front(flight);
            }
            Err(error) => tracing::debug!(%error, "an append was not acknowledged"),
        }
        self.is_in_doubt = true;
    }

    /// The log as it is when nothing was under way.
    fn handle_state(
        &mut self,
        log: Option<&archipelago_pipeline::LogId>,
        expected: u64,
        state: Result<LogState, PipelineError>,
    ) {
        self.is_in_doubt |= match state {
            Ok(state) => {
                let is_other = log != Some(&state.id);
                let is_longer = state.last_sequence > self.expected;
                is_other || state.last_sequence < expected || is_longer
            }
            Err(error) => error.is_loss(),
        };
    }

    fn is_idle(&self) -> bool {
        self.flights.is_empty()
            && self.decided.is_empty()
            && self.committing.is_none()
            && self.proposer.is_empty()
    }

    /// Tells those who waited for entries up to this one.
    fn answer(&mut self, index: u64) {
        let term = self.term;
        while self.waiters.front().is_some_and(|(waited, _)| *waited <= index) {
            let (index, reply) = self.waiters.pop_front().expect("there is one");
            // Whoever gave up waiting is told nothing; the write stands.
            let _ = reply.send(Ok(Written { term, index }));
        }
    }

    /// Tells all who still wait that this node leads no more, and gives the reason.
    fn give_up(&mut self, end: &End) -> String {
        let reason = match end {
            End::Halted(halt) => halt.to_string(),
            End::Asked(_) => "it was asked to hand over".to_owned(),
        };
        let sent = self.flights.back().map_or(0, |flight| flight.batch.last_index());
        for (_, reply, _) in self.refused.drain(..) {
            let _ = reply.send(Err(WriteError::NotWritten { reason: reason.clone() }));
        }
        for (index, reply) in self.waiters.drain(..) {
            let _ = reply.send(Err(match index <= sent {
                true => WriteError::OutcomeUnknown { deadline: Duration::ZERO },
                false => WriteError::NotWritten { reason: reason.clone() },
            }));
        }
        reason
    }
}

async fn stored(committing: &mut Option<Committing>) -> Result<Committing, StoreError> {
    match committing {
        None => std::future::pending().await,
        Some(under_way) => {
            (&mut under_way.stored).await?;
            Ok(committing.take().expect("it is there"))
        }
    }
}

async fn checked(
    checking: &mut Option<BoxFuture<'static, (u64, Result<LogState, PipelineError>)>>,
) -> (u64, Result<LogState, PipelineError>) {
    match checking {
        None => std::future::pending().await,
        Some(under_way) => {
            let state = under_way.await;
            *checking = None;
            state
        }
    }
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}
