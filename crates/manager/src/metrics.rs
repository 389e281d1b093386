use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::seldom::Seldom;

/// Counts since the manager was started, and gauges as of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Metrics {
    /// Local writes.
    pub writes_local: u64,
    /// Events that the pipeline acknowledged.
    pub events_emitted: u64,
    /// Events of other masters that were applied.
    pub events_applied: u64,
    /// Events that were applied before.
    pub duplicates_ignored: u64,
    /// Writes that were concurrent with live versions.
    pub conflicts_detected: u64,
    /// Messages that nobody can read: random bytes, damage, or of another namespace. They were skipped.
    pub messages_unreadable: u64,
    /// How often the log was lost, replaced or trimmed, and followed again.
    pub logs_lost: u64,
    /// How often this master fetched from another one what the log did not bring.
    pub repairs: u64,
    /// How often this master took in a snapshot.
    pub snapshots_taken: u64,
    /// Events that were left to repair, because the master that admitted them lacked what everyone else had applied.
    pub events_below_floor: u64,
    /// Tombstones that were reclaimed.
    pub tombstones_reclaimed: u64,
    /// How often all that is stored was read again.
    pub scrubs: u64,
    /// Gauge: tombstones, of entities and of fields.
    pub tombstones: u64,
    /// Gauge: events that wait for what they depend on, or for their time.
    pub event_buffer_size: u64,
    /// Gauge: masters whose next event waits only because it is stamped too far ahead.
    pub quarantined: u64,
    /// Gauge: events that the pipeline has not acknowledged yet.
    pub outbox_len: u64,
    /// Gauge: bytes of a repair that were fetched and wait in the store until all of it is there.
    pub repair_bytes_staged: u64,
    /// Gauge: bytes of a snapshot that were fetched and wait in the store until all of it is there.
    pub snapshot_bytes_staged: u64,
    /// Gauge: other masters that were heard within the last ten heartbeat intervals.
    pub active_peers: u64,
    /// Gauge: masters in the vector.
    pub vector_clock_nodes: u64,
}

/// The counts that tasks other than the replica's keep.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) events_emitted: AtomicU64,
    pub(crate) messages_unreadable: AtomicU64,
    /// Of the log, and of what is said beside it: what is skipped is told.
    pub(crate) skipped_in_log: Seldom,
    pub(crate) skipped_beside: Seldom,
    pub(crate) outbox_len: AtomicU64,
    pub(crate) logs_lost: AtomicU64,
    pub(crate) repairs: AtomicU64,
    pub(crate) repair_bytes_staged: AtomicU64,
    pub(crate) snapshots_taken: AtomicU64,
    pub(crate) snapshot_bytes_staged: AtomicU64,
    pub(crate) tombstones_reclaimed: AtomicU64,
    pub(crate) scrubs: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

pub(crate) fn set(counter: &AtomicU64, to: u64) {
    counter.store(to, Ordering::Relaxed);
}

/// Gives what is left; of a gauge that was set anew meanwhile nothing is taken below zero.
pub(crate) fn take(counter: &AtomicU64, by: u64) -> u64 {
    let mut left = 0;
    let _ = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
        left = now.saturating_sub(by);
        Some(left)
    });
    left
}

pub(crate) fn value(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
