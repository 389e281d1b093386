use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde::Serialize;

use crate::seldom::Seldom;

/// Counts since the manager was started, and gauges as of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Metrics {
    /// Writes that were put into the log by this node.
    pub writes: u64,
    /// Writes that were refused.
    pub writes_refused: u64,
    /// Messages that this node appended to the log.
    pub messages_appended: u64,
    /// Appends that did not succeed, or of which that is not known.
    pub appends_failed: u64,
    /// Entries that were applied.
    pub entries_applied: u64,
    /// Commits of the store.
    pub commits: u64,
    /// Messages of the log that do not count: of a deposed leader, or nothing that a leader writes.
    pub messages_ignored: u64,
    /// How often this node began to lead.
    pub promotions: u64,
    /// How often it ceased to.
    pub demotions: u64,
    /// How often the log had lost something and this node, as the leader, put it back.
    pub logs_mended: u64,
    /// Entries that were had from another node because the log did not hold them.
    pub entries_fetched: u64,
    /// States of this node that others took, whole.
    pub snapshots_created: u64,
    /// How often this node began to take the state of another one.
    pub resync_attempts: u64,
    /// How often it had all of it.
    pub resync_successes: u64,
    /// How often that failed.
    pub resync_failures: u64,
    /// Gauge: the last entry that is applied.
    pub applied_sequence: u64,
    /// Gauge: keys that have a value.
    pub keys: u64,
    /// Gauge: the newest term.
    pub term: u64,
    /// Gauge: for how long this node may have been lacking something; `None` if it never knew.
    pub staleness: Option<Duration>,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) writes: AtomicU64,
    pub(super) writes_refused: AtomicU64,
    pub(super) messages_appended: AtomicU64,
    pub(super) appends_failed: AtomicU64,
    pub(super) entries_applied: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) messages_ignored: AtomicU64,
    /// Of the log, and of what is said beside it: what is skipped is told.
    pub(super) skipped_in_log: Seldom,
    pub(super) skipped_beside: Seldom,
    pub(super) promotions: AtomicU64,
    pub(super) demotions: AtomicU64,
    pub(super) logs_mended: AtomicU64,
    pub(super) entries_fetched: AtomicU64,
    pub(super) snapshots_created: AtomicU64,
    pub(super) resync_attempts: AtomicU64,
    pub(super) resync_successes: AtomicU64,
    pub(super) resync_failures: AtomicU64,
}

pub(super) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

impl Counters {
    /// The counts; the gauges are left at nothing.
    pub(super) fn counts(&self) -> Metrics {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Metrics {
            writes: value(&self.writes),
            writes_refused: value(&self.writes_refused),
            messages_appended: value(&self.messages_appended),
            appends_failed: value(&self.appends_failed),
            entries_applied: value(&self.entries_applied),
            commits: value(&self.commits),
            messages_ignored: value(&self.messages_ignored),
            promotions: value(&self.promotions),
            demotions: value(&self.demotions),
            logs_mended: value(&self.logs_mended),
            entries_fetched: value(&self.entries_fetched),
            snapshots_created: value(&self.snapshots_created),
            resync_attempts: value(&self.resync_attempts),
            resync_successes: value(&self.resync_successes),
            resync_failures: value(&self.resync_failures),
            ..Metrics::default()
        }
    }
}
