use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use archipelago_clock::{Hlc, ReplicaId};
use metrics::{Counter, Gauge, Histogram, Label, Unit, counter, gauge, histogram};

use crate::{
    ConflictReport, HotEntity, Metrics, Notification, PeerView, WallClock,
    hottest::Hottest,
    recording::{Recording, flag, float, signed_float},
};

/// Of how many peers there are gauges. Those of more are not measured one by one.
pub const PEERS_MEASURED_MAX: usize = 128;

/// Of how many of the hottest entities there are gauges, by rank: ids would be ever new labels.
const HOTTEST_MEASURED: usize = 5;
const RANKS: [&str; HOTTEST_MEASURED] = ["1", "2", "3", "4", "5"];

/// How often at most tombstones are looked through, in milliseconds.
const WEIGHING_MS: u64 = 60_000;

/// From what age on an event that is applied counts as old.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// What the tasks of a master measure, through the facade `metrics`: handles of the recorder that was asked
/// for, or of that of the process. Without one all of it is nothing.
#[derive(Debug)]
pub(crate) struct Telemetry {
    recording: Recording,
    clock: Arc<dyn WallClock>,
    labels: Vec<Label>,
    counters: Vec<(Counter, Read)>,
    gauges: Vec<(Gauge, Read)>,
    conflicts: BTreeMap<&'static str, Counter>,
    errors: BTreeMap<SyncError, Counter>,
    old_events: Counter,
    last_sync: Gauge,
    delay: Histogram,
    pub(crate) commit: Histogram,
    pub(crate) publish: Histogram,
    batch_events: Histogram,
    pub(crate) repair: Histogram,
    peers: Mutex<BTreeMap<String, Peer>>,
    hottest: Mutex<Hottest>,
    hottest_conflicts: [Gauge; HOTTEST_MEASURED],
    reclaimable_bytes: Gauge,
    weighed_unix_ms: AtomicU64,
}

/// What of exchanging writes failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SyncError {
    Link,
    Log,
    Repair,
    Snapshot,
    Store,
}

impl SyncError {
    const ALL: [SyncError; 5] =
        [SyncError::Link, SyncError::Log, SyncError::Repair, SyncError::Snapshot, SyncError::Store];

    fn name(self) -> &'static str {
        match self {
            SyncError::Link => "link",
            SyncError::Log => "log",
            SyncError::Repair => "repair",
            SyncError::Snapshot => "snapshot",
            SyncError::Store => "store",
        }
    }
}

/// The gauges of one peer.
#[derive(Debug)]
struct Peer {
    lag_seconds: Gauge,
    lag_events: Gauge,
    behind_events: Gauge,
    silent: Gauge,
    clock_offset: Gauge,
    is_diverged: Gauge,
    has_other_strategies: Gauge,
}

type Read = fn(&Metrics) -> u64;

const COUNTERS: [(&str, &str, Read); 12] = [
    ("archipelago_writes_local_total", "Local writes.", |m| m.writes_local),
    ("archipelago_events_emitted_total", "Events that the broker acknowledged.", |m| m.events_emitted),
    ("archipelago_events_applied_total", "Events of other masters that were applied.", |m| m.events_applied),
    ("archipelago_duplicates_ignored_total", "Events that were applied before.", |m| m.duplicates_ignored),
    ("archipelago_conflicts_detected_total", "Writes that were concurrent with live versions.", |m| {
        m.conflicts_detected
    }),
    ("archipelago_messages_unreadable_total", "Messages that nobody can read.", |m| m.messages_unreadable),
    ("archipelago_logs_lost_total", "How often the log was lost, replaced or trimmed.", |m| m.logs_lost),
    ("archipelago_repairs_total", "Repairs from the state of another master.", |m| m.repairs),
    ("archipelago_snapshots_taken_total", "Snapshots that were taken in.", |m| m.snapshots_taken),
    ("archipelago_events_below_floor_total", "Events that were left to repair.", |m| m.events_below_floor),
    ("archipelago_tombstones_reclaimed_total", "Tombstones that were reclaimed.", |m| m.tombstones_reclaimed),
    ("archipelago_scrubs_total", "How often all that is stored was read again.", |m| m.scrubs),
];

const GAUGES: [(&str, Unit, &str, Read); 8] = [
    ("archipelago_tombstones", Unit::Count, "Tombstones, of entities and of fields.", |m| m.tombstones),
    ("archipelago_causal_buffer_events", Unit::Count, "Events that wait for what they depend on.", |m| {
        m.event_buffer_size
    }),
    (
        "archipelago_quarantined_masters",
        Unit::Count,
        "Masters whose next event is stamped too far ahead.",
        |m| m.quarantined,
    ),
    ("archipelago_outbox_events", Unit::Count, "Events that the broker has not acknowledged yet.", |m| {
        m.outbox_len
    }),
    ("archipelago_repair_staged_bytes", Unit::Bytes, "Bytes of a repair that wait for the rest.", |m| {
        m.repair_bytes_staged
    }),
    ("archipelago_snapshot_staged_bytes", Unit::Bytes, "Bytes of a snapshot that wait for the rest.", |m| {
        m.snapshot_bytes_staged
    }),
    ("archipelago_active_peers", Unit::Count, "Other masters that were heard lately.", |m| m.active_peers),
    ("archipelago_vector_entries", Unit::Count, "Masters in the vector.", |m| m.vector_clock_nodes),
];

/// Of the peers: name, unit, what it says.
const OF_PEERS: [(&str, Unit, &str); 7] = [
    (
        "archipelago_replication_lag_seconds",
        Unit::Seconds,
        "The age of a peer's last event when it was applied.",
    ),
    ("archipelago_replication_lag_events", Unit::Count, "Events of a peer's vector that are lacking here."),
    ("archipelago_peer_lag_events", Unit::Count, "Events that are here and were lacking at a peer."),
    ("archipelago_peer_silent_seconds", Unit::Seconds, "How long ago a peer was heard."),
    ("archipelago_peer_clock_offset_seconds", Unit::Seconds, "By how much the clock of a peer is ahead."),
    ("archipelago_peer_diverged", Unit::Count, "1 if a peer has another state after the same writes."),
    ("archipelago_peer_strategy_mismatch", Unit::Count, "1 if a peer resolves conflicts by other rules."),
];

/// The strategies by which conflicts are counted. Those of an application are counted together.
const STRATEGIES: [&str; 7] =
    ["lww", "version-vector", "field-merge", "crdt-merge", "manual", "detect", OTHER_STRATEGY];
const OTHER_STRATEGY: &str = "custom";

impl Telemetry {
    /// Asks the recorder for all there is, labelled with the namespace.
    pub(crate) fn new(namespace: &str, clock: Arc<dyn WallClock>, recording: Recording) -> Telemetry {
        recording.clone().with(|| Self::recorded(namespace, clock, recording))
    }

    fn recorded(namespace: &str, clock: Arc<dyn WallClock>, recording: Recording) -> Telemetry {
        describe();
        let labels = vec![Label::new("namespace", namespace.to_owned())];
        let with = |name: &'static str, value: &'static str| {
            let mut labels = labels.clone();
            labels.push(Label::new(name, value));
            labels
        };
        let conflicts = STRATEGIES
            .into_iter()
            .map(|strategy| (strategy, counter!("archipelago_conflicts_total", with("strategy", strategy))));
        let errors = SyncError::ALL
            .into_iter()
            .map(|kind| (kind, counter!("archipelago_sync_errors_total", with("kind", kind.name()))));
        Telemetry {
            recording,
            clock,
            counters: COUNTERS
                .into_iter()
                .map(|(name, _, read)| (counter!(name, labels.clone()), read))
                .collect(),
            gauges: GAUGES
                .into_iter()
                .map(|(name, _, _, read)| (gauge!(name, labels.clone()), read))
                .collect(),
            conflicts: conflicts.collect(),
            errors: errors.collect(),
            old_events: counter!("archipelago_events_old_total", labels.clone()),
            last_sync: gauge!("archipelago_last_sync_timestamp_seconds", labels.clone()),
            delay: histogram!("archipelago_replication_delay_seconds", labels.clone()),
            commit: histogram!("archipelago_store_commit_duration_seconds", labels.clone()),
            publish: histogram!("archipelago_publish_duration_seconds", labels.clone()),
            batch_events: histogram!("archipelago_publish_batch_events", labels.clone()),
            repair: histogram!("archipelago_repair_duration_seconds", labels.clone()),
            peers: Mutex::default(),
            hottest: Mutex::default(),
            hottest_conflicts: RANKS
                .map(|rank| gauge!("archipelago_hottest_entity_conflicts", with("rank", rank))),
            reclaimable_bytes: gauge!("archipelago_reclaimable_bytes", labels.clone()),
            weighed_unix_ms: AtomicU64::new(0),
            labels,
        }
    }

    /// The counts as they are now.
    pub(crate) fn counted(&self, counts: &Metrics) {
        for (counter, read) in &self.counters {
            counter.absolute(read(counts));
        }
        for (gauge, read) in &self.gauges {
            gauge.set(float(read(counts)));
        }
        for (gauge, hot) in self.hottest_conflicts.iter().zip(self.hottest_entities(HOTTEST_MEASURED)) {
            gauge.set(float(hot.conflicts));
        }
    }

    /// A message of so many events is sent.
    pub(crate) fn batch(&self, events: u64) {
        self.batch_events.record(float(events));
    }

    /// Whoever listens is told this.
    pub(crate) fn notified(&self, notification: &Notification) {
        match notification {
            Notification::ConflictDetected(conflict) => self.conflict(conflict),
            Notification::Repaired { .. } | Notification::SnapshotTaken { .. } => {
                self.synced(self.clock.now_unix_ms());
            }
            Notification::PipelineDown { .. } => self.failed(SyncError::Link),
            Notification::LogLost { .. } => self.failed(SyncError::Log),
            Notification::RepairFailed { .. } => self.failed(SyncError::Repair),
            Notification::SnapshotFailed { .. } => self.failed(SyncError::Snapshot),
            Notification::StoreFailed { .. } => self.failed(SyncError::Store),
            _ => {}
        }
    }

    /// Events were applied: of whom, and when each was written.
    pub(crate) fn applied<'e>(&self, events: impl Iterator<Item = (&'e ReplicaId, Hlc)>) {
        let (now_unix_ms, mut latest) = (self.clock.now_unix_ms(), None);
        for (origin, hlc) in events {
            let age = Duration::from_millis(now_unix_ms.saturating_sub(hlc.unix_ms()));
            self.delay.record(age.as_secs_f64());
            if age >= OLD {
                self.old_events.increment(1);
            }
            match latest.replace((origin, age)) {
                Some((before, lag)) if before != origin => self.lags(before, lag),
                _ => {}
            }
        }
        if let Some((origin, lag)) = latest {
            self.lags(origin, lag);
            self.synced(now_unix_ms);
        }
    }

    fn lags(&self, origin: &ReplicaId, lag: Duration) {
        if let Some(peer) = self.peers().get(origin.name()) {
            peer.lag_seconds.set(lag.as_secs_f64());
        }
    }

    fn synced(&self, now_unix_ms: u64) {
        self.last_sync.set(Duration::from_millis(now_unix_ms).as_secs_f64());
    }

    fn conflict(&self, conflict: &ConflictReport) {
        let counter = self.conflicts.get(&*conflict.strategy);
        if let Some(counter) = counter.or_else(|| self.conflicts.get(OTHER_STRATEGY)) {
            counter.increment(1);
        }
        self.hottest().count(&conflict.entity_id);
    }

    fn failed(&self, what: SyncError) {
        if let Some(counter) = self.errors.get(&what) {
            counter.increment(1);
        }
    }

    /// The peers as they are known now.
    pub(crate) fn peers_are(&self, views: &[PeerView]) {
        let mut peers = self.peers();
        for view in views {
            let name = view.master_id.name();
            if !peers.contains_key(name) && peers.len() < PEERS_MEASURED_MAX {
                let peer = self.recording.with(|| Peer::new(&self.labels, name));
                peers.insert(name.to_owned(), peer);
            }
            if let Some(peer) = peers.get(name) {
                peer.is(view);
            }
        }
    }

    /// Those over which there were most conflicts, first.
    pub(crate) fn hottest_entities(&self, limit: usize) -> Vec<HotEntity> {
        self.hottest().top(limit)
    }

    /// Whether it is time to find out again how much tombstones take that could go.
    pub(crate) fn is_weighing_due(&self) -> bool {
        let (now, every) = (self.clock.now_unix_ms(), WEIGHING_MS);
        let due = |last: u64| (last == 0 || now.abs_diff(last) >= every).then_some(now.max(1));
        self.weighed_unix_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, due).is_ok()
    }

    /// So much do they take.
    pub(crate) fn weighed(&self, reclaimable_bytes: u64) {
        self.reclaimable_bytes.set(float(reclaimable_bytes));
    }

    fn hottest(&self) -> MutexGuard<'_, Hottest> {
        self.hottest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn peers(&self) -> MutexGuard<'_, BTreeMap<String, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer {
    fn new(labels: &[Label], name: &str) -> Peer {
        let mut labels = labels.to_vec();
        labels.push(Label::new("peer", name.to_owned()));
        let [lag_seconds, lag_events, behind_events, silent, clock_offset, is_diverged, has_other_strategies] =
            OF_PEERS.map(|(name, ..)| gauge!(name, labels.clone()));
        Peer {
            lag_seconds,
            lag_events,
            behind_events,
            silent,
            clock_offset,
            is_diverged,
            has_other_strategies,
        }
    }

    fn is(&self, view: &PeerView) {
        self.lag_events.set(float(view.ahead_events));
        self.behind_events.set(float(view.behind_events));
        self.silent.set(view.silent_for.as_secs_f64());
        self.clock_offset.set(signed_float(view.clock_ahead_ms) / 1_000.0);
        self.is_diverged.set(flag(view.diverged));
        self.has_other_strategies.set(flag(!view.same_strategies));
        if view.ahead_events == 0 {
            // It has all that the peer had; what was late once is late no more.
            self.lag_seconds.set(0.0);
        }
    }
}

fn describe() {
    for (name, help, _) in COUNTERS {
        metrics::describe_counter!(name, Unit::Count, help);
    }
    for (name, unit, help, _) in GAUGES {
        metrics::describe_gauge!(name, unit, help);
    }
    for (name, unit, help) in OF_PEERS {
        metrics::describe_gauge!(name, unit, help);
    }
    for (name, help) in [
        ("archipelago_conflicts_total", "Conflicts, by the strategy that decided."),
        ("archipelago_sync_errors_total", "What of exchanging writes failed, by kind."),
        ("archipelago_events_old_total", "Events that were 24 hours old or older when they were applied."),
    ] {
        metrics::describe_counter!(name, Unit::Count, help);
    }
    metrics::describe_gauge!(
        "archipelago_hottest_entity_conflicts",
        Unit::Count,
        "Conflicts over the entities that had most of them, by rank."
    );
    metrics::describe_gauge!(
        "archipelago_reclaimable_bytes",
        Unit::Bytes,
        "What tombstones take that every member has seen."
    );
    metrics::describe_gauge!(
        "archipelago_last_sync_timestamp_seconds",
        Unit::Seconds,
        "When something of another master was taken in last, in seconds since 1970."
    );
    for (name, unit, help) in [
        (
            "archipelago_replication_delay_seconds",
            Unit::Seconds,
            "How old events were when they were applied.",
        ),
        ("archipelago_store_commit_duration_seconds", Unit::Seconds, "How long commits of the store took."),
        ("archipelago_publish_duration_seconds", Unit::Seconds, "How long the broker took to acknowledge."),
        ("archipelago_publish_batch_events", Unit::Count, "How many events went into one message."),
        ("archipelago_repair_duration_seconds", Unit::Seconds, "How long repairs took."),
    ] {
        metrics::describe_histogram!(name, unit, help);
    }
}
