use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use metrics::{Counter, Gauge, Histogram, Label, Unit, counter, gauge, histogram};

use super::{LeaderFollowerManager, Metrics};
use crate::{
    PEERS_MEASURED_MAX,
    recording::{Recording, flag, float},
};

/// What a node measures, through the facade `metrics`.
#[derive(Debug)]
pub(super) struct Telemetry {
    recording: Recording,
    labels: Vec<Label>,
    counters: Vec<(Counter, Read)>,
    is_leader: Gauge,
    term: Gauge,
    applied: Gauge,
    keys: Gauge,
    staleness: Gauge,
    lag: Gauge,
    pub(super) append: Histogram,
    peers: Mutex<BTreeMap<String, Peer>>,
}

/// The gauges of one other node.
#[derive(Debug)]
struct Peer {
    ahead: Gauge,
    behind: Gauge,
    silent: Gauge,
}

type Read = fn(&Metrics) -> u64;

const COUNTERS: [(&str, &str, Read); 13] = [
    ("archipelago_log_writes_total", "Writes that this node put into the log.", |m| m.writes),
    ("archipelago_writes_refused_total", "Writes that were refused.", |m| m.writes_refused),
    ("archipelago_appends_total", "Messages that this node appended to the log.", |m| m.messages_appended),
    ("archipelago_appends_failed_total", "Appends that failed, or of which that is not known.", |m| {
        m.appends_failed
    }),
    ("archipelago_entries_applied_total", "Entries that were applied.", |m| m.entries_applied),
    ("archipelago_elections_won_total", "How often this node began to lead.", |m| m.promotions),
    ("archipelago_demotions_total", "How often this node ceased to lead.", |m| m.demotions),
    ("archipelago_logs_mended_total", "How often this node put back what the log had lost.", |m| {
        m.logs_mended
    }),
    ("archipelago_entries_fetched_total", "Entries that came from other nodes, not the log.", |m| {
        m.entries_fetched
    }),
    ("archipelago_resync_attempts_total", "How often this node began to take another's state.", |m| {
        m.resync_attempts
    }),
    ("archipelago_resync_successes_total", "How often it had all of it.", |m| m.resync_successes),
    ("archipelago_resync_failures_total", "How often that failed.", |m| m.resync_failures),
    ("archipelago_states_given_total", "How often others took the state of this node.", |m| {
        m.snapshots_created
    }),
];

const APPEND_SECONDS: &str = "archipelago_append_duration_seconds";

impl Telemetry {
    /// Asks the recorder for all there is, labelled with the namespace.
    pub(super) fn new(namespace: &str, recording: Recording) -> Telemetry {
        let labels = vec![Label::new("namespace", namespace.to_owned())];
        recording.clone().with(|| {
            describe();
            let gauge = |name: &'static str| gauge!(name, labels.clone());
            let counters = COUNTERS.map(|(name, _, read)| (counter!(name, labels.clone()), read));
            Telemetry {
                recording,
                counters: counters.into(),
                is_leader: gauge("archipelago_leader"),
                term: gauge("archipelago_term"),
                applied: gauge("archipelago_applied_index"),
                keys: gauge("archipelago_keys"),
                staleness: gauge("archipelago_staleness_seconds"),
                lag: gauge("archipelago_leader_lag_entries"),
                append: histogram!(APPEND_SECONDS, labels.clone()),
                peers: Mutex::default(),
                labels: labels.clone(),
            }
        })
    }

    fn measure(&self, node: &LeaderFollowerManager) {
        let metrics = node.metrics();
        for (counter, read) in &self.counters {
            counter.absolute(read(&metrics));
        }
        self.is_leader.set(flag(node.is_leader() && node.is_leader_healthy()));
        self.term.set(float(metrics.term));
        self.applied.set(float(metrics.applied_sequence));
        self.keys.set(float(metrics.keys));
        // What is not known is no number.
        self.staleness.set(metrics.staleness.map_or(f64::NAN, |staleness| staleness.as_secs_f64()));
        self.lag.set(node.lag_entries().map_or(f64::NAN, float));
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        for heard in node.heard_nodes() {
            if !peers.contains_key(&heard.id) && peers.len() < PEERS_MEASURED_MAX {
                peers.insert(heard.id.clone(), self.peer(&heard.id));
            }
            if let Some(peer) = peers.get(&heard.id) {
                peer.ahead.set(float(heard.applied_sequence.saturating_sub(metrics.applied_sequence)));
                peer.behind.set(float(metrics.applied_sequence.saturating_sub(heard.applied_sequence)));
                peer.silent.set(heard.silent_for.as_secs_f64());
            }
        }
    }

    fn peer(&self, id: &str) -> Peer {
        let mut labels = self.labels.clone();
        labels.push(Label::new("peer", id.to_owned()));
        self.recording.with(|| Peer {
            ahead: gauge!("archipelago_replication_lag_events", labels.clone()),
            behind: gauge!("archipelago_peer_lag_events", labels.clone()),
            silent: gauge!("archipelago_peer_silent_seconds", labels.clone()),
        })
    }
}

impl LeaderFollowerManager {
    /// Brings what is measured through the facade `metrics` up to now. It is at every heartbeat anyway: this is for whoever
    /// is about to read it.
    pub fn measure(&self) {
        self.shared().telemetry.measure(self);
    }
}

fn describe() {
    for (name, help, _) in COUNTERS {
        metrics::describe_counter!(name, Unit::Count, help);
    }
    for (name, unit, help) in [
        ("archipelago_leader", Unit::Count, "1 if this node leads, and can show it."),
        (
            "archipelago_term",
            Unit::Count,
            "The newest term that this node knows of: it grows with each election.",
        ),
        ("archipelago_applied_index", Unit::Count, "The last entry of the log that is applied here."),
        ("archipelago_keys", Unit::Count, "Keys that have a value."),
        (
            "archipelago_staleness_seconds",
            Unit::Seconds,
            "How long ago this node was last known to have everything; NaN if it never was.",
        ),
        (
            "archipelago_leader_lag_entries",
            Unit::Count,
            "Entries of the leader that are lacking here; NaN if no leader is heard.",
        ),
        ("archipelago_replication_lag_events", Unit::Count, "Events of a peer that are lacking here."),
        ("archipelago_peer_lag_events", Unit::Count, "Events that are here and were lacking at a peer."),
        ("archipelago_peer_silent_seconds", Unit::Seconds, "How long ago a peer was heard."),
    ] {
        metrics::describe_gauge!(name, unit, help);
    }
    metrics::describe_histogram!(APPEND_SECONDS, Unit::Seconds, "How long the log took to acknowledge.");
}
