//! Entries that the log does not bring: from the tail of another node, or from its whole state.

use std::{collections::BTreeMap, time::Duration};

use archipelago_engine::leader_follower::{History, Verdict};
use archipelago_pipeline::LogId;
use archipelago_proto::{EntityId, EntryBatch, NodeAnswer, NodeQuestion, StatePage};
use archipelago_store::{StoreError, Table};
use bytes::Bytes;
use tokio::time::Instant;

use super::{
    Notification,
    metrics::add,
    node::Node,
    shared::TailSpan,
    state::{Group, Place},
};

/// How long another node may take to answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// How many entries back it is looked for where two histories part.
const FORK_ENTRIES_MAX: u64 = 10_000;

/// Which state of another node is of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Any,
    /// One with the entries up to here: what has less would leave this node where it is.
    UpTo(u64),
    /// One of another history than that with this digest.
    OtherThan(u128),
}

impl Wanted {
    /// The entry that whoever is asked must have told of.
    fn index(self) -> u64 {
        match self {
            Wanted::UpTo(index) => index,
            Wanted::Any | Wanted::OtherThan(_) => 0,
        }
    }

    fn is_met(self, page: &StatePage) -> bool {
        match self {
            Wanted::Any => true,
            Wanted::UpTo(index) => page.index >= index,
            Wanted::OtherThan(chain) => page.chain != chain,
        }
    }
}

impl Node {
    /// Entries up to `to` are missing here; `chain` is the digest of the history with them.
    pub(super) async fn fill(&mut self, to: u64, chain: u128) -> Result<(), StoreError> {
        if self.fill_from_unsettled(to, chain).await? {
            self.pull();
            return Ok(());
        }
        if !self.log.from_beginning {
            // A log that lost its tail and grew again has other messages where this node had read already.
            self.forget_place();
            self.pull_all();
            return Ok(());
        }
        let have = self.state.history().index;
        let missing = to.saturating_sub(have);
        if missing <= self.shared.options.resync_threshold && self.fetch(to).await? {
            self.pull();
            return Ok(());
        }
        if self.source(to).is_none() {
            // Nobody who has them can be asked now. The log may still be written by someone who has.
            let is_news = self
                .shared
                .standing
                .send_if_modified(|standing| !std::mem::replace(&mut standing.is_desynced, true));
            if is_news {
                let reason = format!(
                    "the log lacks the entries {} to {to}, and no node that is heard has them",
                    have + 1
                );
                self.shared.notify(Notification::FollowerDesynced { sequence: have, reason });
            }
            self.wait(self.shared.options.heartbeat_interval).await;
            self.pull();
            return Ok(());
        }
        self.resync(&format!("the log lacks the entries {} to {to}", have + 1), Wanted::UpTo(to)).await
    }

    /// Applies what this node sent to the log itself, if that is what is missing. False if it is not.
    async fn fill_from_unsettled(&mut self, to: u64, chain: u128) -> Result<bool, StoreError> {
        let (mut history, mut missing) = (*self.state.history(), Vec::new());
        for encoded in &self.unsettled {
            let Ok(batch) = EntryBatch::decode(encoded.clone(), &self.shared.options.limits) else { break };
            match history.judge(&batch) {
                Verdict::New { .. } if batch.last_index() <= to => {
                    history = history.with(&batch);
                    missing.push(encoded.clone());
                }
                Verdict::Known => {}
                _ => break,
            }
        }
        // The log has taken more on top of it, so it was there.
        if (history.index, history.chain) != (to, chain) {
            return Ok(false);
        }
        tracing::warn!(node = %self.shared.node, to, "the log lost what had just been sent to it");
        let mut group = self.state.group();
        self.add_in_order(&mut group, missing)?;
        self.commit(group).await?;
        Ok(true)
    }

    /// Adds batches to a group, as long as each continues what is there.
    fn add_in_order(&mut self, group: &mut Group, batches: Vec<Bytes>) -> Result<(), StoreError> {
        for encoded in batches {
            let Ok(batch) = EntryBatch::decode(encoded.clone(), &self.shared.options.limits) else { break };
            match group.history().judge(&batch) {
                Verdict::New { known } if batch.namespace == self.shared.namespace => {
                    self.add(group, &batch, encoded, known)?;
                }
                Verdict::Known => {}
                _ => break,
            }
        }
        Ok(())
    }

    fn forget_place(&mut self) {
        let mut group = self.state.group();
        group.nowhere();
        self.state.move_to(&group);
        self.log.id = None;
    }

    pub(super) async fn wait(&self, time: Duration) {
        tokio::select! {
            biased;
            () = self.shared.closing.cancelled() => {}
            () = tokio::time::sleep(time) => {}
        }
    }

    /// Whom to ask for entries up to `to`: the leader, or else the most advanced.
    pub(super) fn source(&self, to: u64) -> Option<String> {
        let within = self.shared.options.heartbeat_timeout;
        let leader = self.shared.leader();
        let alive = self.shared.peers().alive(within);
        let mut able: Vec<_> =
            alive.iter().filter(|peer| !peer.beat.is_desynced && peer.beat.index >= to).collect();
        able.sort_by_key(|peer| leader.as_ref().is_none_or(|leader| leader.id != peer.beat.node));
        able.first().map(|peer| peer.beat.node.clone())
    }

    /// Has the entries up to `to` from the tails of others. False if they are not to be had.
    pub(super) async fn fetch(&mut self, to: u64) -> Result<bool, StoreError> {
        let within = self.shared.options.heartbeat_timeout;
        let mut sources: Vec<String> = self.source(to).into_iter().collect();
        for peer in self.shared.peers().alive(within) {
            if !sources.contains(&peer.beat.node) {
                sources.push(peer.beat.node);
            }
        }
        for source in sources {
            while self.state.history().index < to {
                match self.fetch_from(&source).await? {
                    0 => break,
                    entries => add(&self.shared.counters.entries_fetched, entries),
                }
            }
            if self.state.history().index >= to {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Applies the next entries that another node has in its tail, and gives their number.
    async fn fetch_from(&mut self, source: &str) -> Result<u64, StoreError> {
        let have = self.state.history().index;
        let question = NodeQuestion::Tail { after: have, bytes_max: self.shared.options.page_bytes };
        let batches = match self.shared.ask(source, &question, ASK_TIMEOUT).await {
            Ok(NodeAnswer::Tail(batches)) => batches,
            Ok(_) => return Ok(0),
            Err(error) => {
                tracing::debug!(source, %error, "no entries were had");
                return Ok(0);
            }
        };
        let mut group = self.state.group();
        self.add_in_order(&mut group, batches)?;
        self.commit(group).await?;
        Ok(self.state.history().index - have)
    }

    /// What was applied here and what the log says are two histories. The log's counts.
    pub(super) async fn diverge(&mut self, batch: &EntryBatch) -> Result<(), StoreError> {
        let last = self.state.history().index;
        let fork = match batch.first_index {
            first if first <= last => first,
            _ => {
                while self.source(0).is_none() && !self.shared.closing.is_cancelled() {
                    self.wait(self.shared.options.heartbeat_interval / 4).await;
                }
                let oldest = self.shared.tail().front().map_or(last, |span| span.first_index);
                // Where that cannot be found, rather too much is kept than too little.
                self.find_fork().await?.unwrap_or(oldest)
            }
        };
        let spans: Vec<TailSpan> =
            self.shared.tail().iter().filter(|span| span.last_index >= fork).copied().collect();
        let mut group = self.state.group();
        group.keep_orphans(&*self.shared.store, &spans)?;
        self.commit(group).await?;
        self.shared.notify(Notification::EntriesOrphaned { from: fork, to: last });
        tracing::error!(node = %self.shared.node, from = fork, to = last,
            "entries that were applied here are in nobody's history; they are kept aside");
        let wanted = Wanted::OtherThan(self.state.history().chain);
        self.resync("it had applied entries that the log lost", wanted).await
    }

    /// The first entry in which this node and another one differ, if that can be found.
    async fn find_fork(&mut self) -> Result<Option<u64>, StoreError> {
        let Some(source) = self.source(0) else { return Ok(None) };
        let last = self.state.history().index;
        let mut after = last.saturating_sub(FORK_ENTRIES_MAX);
        let first_span = self.shared.tail().front().copied();
        if let Some(span) = first_span {
            after = after.max(span.first_index - 1);
        }
        let ours = self.digests(after)?;
        while after < last {
            let question = NodeQuestion::Tail { after, bytes_max: self.shared.options.page_bytes };
            let Ok(NodeAnswer::Tail(batches)) = self.shared.ask(&source, &question, ASK_TIMEOUT).await else {
                return Ok(None);
            };
            let before = after;
            for encoded in batches {
                let Ok(batch) = EntryBatch::decode(encoded, &self.shared.options.limits) else {
                    return Ok(None);
                };
                for (index, _, digest) in batch.chained() {
                    if ours.get(&index).is_some_and(|ours| *ours != digest) {
                        return Ok(Some(index));
                    }
                    after = after.max(index);
                }
            }
            if after == before {
                break;
            }
        }
        Ok(None)
    }

    /// The digest of the history at each entry of the tail behind `after`.
    fn digests(&self, after: u64) -> Result<BTreeMap<u64, u128>, StoreError> {
        let spans: Vec<TailSpan> =
            self.shared.tail().iter().filter(|span| span.last_index > after).copied().collect();
        let mut digests = BTreeMap::new();
        for span in spans {
            if let Some(encoded) = self.shared.store.get(Table::Tail, &span.first_index.to_be_bytes())?
                && let Ok(batch) = EntryBatch::decode(encoded, &self.shared.options.limits.for_state())
            {
                digests.extend(batch.chained().map(|(index, _, digest)| (index, digest)));
            }
        }
        Ok(digests)
    }

    /// Takes the whole state of another node that is of use, however often that has to be tried.
    ///
    /// Gives up if nobody has told of one for a while, and reads the log again: it may have come to hold what is missing.
    /// Not in the midst of a state, which is of no use before it is whole.
    pub(super) async fn resync(&mut self, reason: &str, wanted: Wanted) -> Result<(), StoreError> {
        let sequence = self.state.history().index;
        self.shared.standing.send_modify(|standing| standing.is_desynced = true);
        self.shared.tell.notify_one();
        self.shared.notify(Notification::FollowerDesynced { sequence, reason: reason.to_owned() });
        tracing::warn!(node = %self.shared.node, sequence, %reason, "the state of another node is taken");
        if let Some(lease) = &self.lease {
            self.stands = Some(false);
            lease.compete(false).await;
            lease.release().await;
        }
        self.puller = None;
        let mut wait = self.shared.options.heartbeat_interval.min(self.shared.options.reconnect_base);
        let mut missed_since = None;
        while !self.shared.closing.is_cancelled() {
            let is_partial = self.state.is_partial();
            let wanted = if is_partial { Wanted::Any } else { wanted };
            let Some(source) = self.source(wanted.index()) else {
                let since = *missed_since.get_or_insert_with(Instant::now);
                if !is_partial && since.elapsed() > self.shared.options.heartbeat_timeout {
                    break;
                }
                self.wait(self.shared.options.heartbeat_interval / 4).await;
                continue;
            };
            missed_since = None;
            add(&self.shared.counters.resync_attempts, 1);
            match self.take_state(&source, wanted).await? {
                Ok(rows) => {
                    add(&self.shared.counters.resync_successes, 1);
                    let sequence = self.state.history().index;
                    self.shared.notify(Notification::Resynced { from: source, sequence, rows });
                    break;
                }
                Err(reason) => {
                    add(&self.shared.counters.resync_failures, 1);
                    tracing::warn!(node = %self.shared.node, source, %reason, "a state was not taken");
                    self.shared.notify(Notification::ResyncFailed { reason });
                    self.wait(wait).await;
                    wait = (wait * 2).min(self.shared.options.reconnect_cap);
                }
            }
        }
        self.log.id = None;
        self.pull();
        Ok(())
    }

    /// Takes a state page by page, in place: nothing of it is shown before it is that of one moment. Gives the number of
    /// rows, or what kept it.
    async fn take_state(&mut self, source: &str, wanted: Wanted) -> Result<Result<u64, String>, StoreError> {
        let deadline = Instant::now() + self.shared.options.snapshot_timeout;
        let (mut after, mut base, mut rows) = (None::<EntityId>, None::<StatePage>, 0);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let timeout = self.shared.options.snapshot_timeout;
                return Ok(Err(format!("it took longer than snapshot_timeout, {timeout:?}")));
            }
            let bytes_max = self.shared.options.page_bytes;
            let question = NodeQuestion::State { after: after.clone(), bytes_max };
            let page = match self.shared.ask(source, &question, left.min(ASK_TIMEOUT * 5)).await {
                Ok(NodeAnswer::State(page)) => page,
                Ok(NodeAnswer::Unable { reason }) => return Ok(Err(reason)),
                Ok(other) => return Ok(Err(format!("{source:?} answered {other:?}"))),
                Err(error) => return Ok(Err(error.to_string())),
            };
            let in_order = page.rows.windows(2).all(|pair| pair[0].0 < pair[1].0)
                && page.rows.first().is_none_or(|first| after.as_ref().is_none_or(|after| first.0 > *after))
                && (page.is_last || !page.rows.is_empty());
            if !in_order {
                return Ok(Err(format!("{source:?} gave rows that are not in order")));
            }
            if base.is_none() && !wanted.is_met(&page) {
                let index = page.index;
                return Ok(Err(format!("{source:?} has the entries up to {index}, which does not help")));
            }
            let mut group = self.state.group();
            group.take_page(&self.state, after.as_ref(), &page)?;
            // Before anything of it is stored: from here on the rows are of different moments.
            self.shared.applied.send_modify(|applied| applied.is_whole = false);
            rows += page.rows.len() as u64;
            let rows_total = page.rows_total.max(rows);
            self.shared.notify(Notification::ResyncProgress { from: source.to_owned(), rows, rows_total });
            after = page.rows.last().map(|(key, _, _)| key.clone()).or(after);
            let (is_last, index_after) = (page.is_last, page.index_after);
            let base = base.get_or_insert_with(|| StatePage { rows: Vec::new(), ..page });
            if is_last {
                settle(&mut group, base, index_after);
                self.commit(group).await?;
                return Ok(Ok(rows));
            }
            self.commit(group).await?;
        }
    }
}

fn settle(group: &mut Group, base: &StatePage, index_after: u64) {
    let history = History { index: base.index, term: base.term, chain: base.chain };
    group.settle(history, index_after, &base.followers);
    if let Some((name, created_unix_ns, sequence)) = &base.place {
        let log = LogId { name: name.clone(), created_unix_ns: *created_unix_ns };
        group.at(Place { log, sequence: *sequence });
    }
}
