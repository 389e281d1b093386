//! What the node counts, through the facade `metrics`, and how Prometheus reads it.

use std::{fmt, sync::Once, time::Duration};

use archipelago::{Metrics, MultiMasterManager};
use metrics::{Unit, counter, gauge, histogram, with_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::{
    app::App,
    namespace::{Namespace, Running},
};

/// How long requests take, in seconds: the upper ends of the buckets.
const REQUEST_BUCKETS_S: [f64; 12] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

const REQUEST_SECONDS: &str = "archipelago_http_request_duration_seconds";

/// The measures of one node. It has a recorder of its own, so that several nodes in one process do not mix.
pub(crate) struct Measures {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    described: Once,
}

impl fmt::Debug for Measures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Measures").finish_non_exhaustive()
    }
}

impl Measures {
    pub(crate) fn new() -> Measures {
        let builder = PrometheusBuilder::new().set_buckets(&REQUEST_BUCKETS_S).expect("there are buckets");
        let recorder = builder.build_recorder();
        Measures { handle: recorder.handle(), recorder, described: Once::new() }
    }

    /// A request that was answered. `route` is that of the router, so that there are no more of them than routes.
    pub(crate) fn request(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        with_local_recorder(&self.recorder, || {
            let labels =
                [("method", method.to_owned()), ("route", route.to_owned()), ("status", status.to_string())];
            histogram!(REQUEST_SECONDS, &labels).record(took.as_secs_f64());
        });
    }

    /// All measures, in the text format of Prometheus.
    pub(crate) async fn render(&self, app: &App) -> String {
        for (name, namespace) in app.namespaces() {
            let Running::MultiMaster(master) = &namespace.running;
            // A closed master has no peers any more.
            let peers = master.peers().await.unwrap_or_default();
            with_local_recorder(&self.recorder, || {
                self.described.call_once(describe);
                self.sample(name, namespace, master);
                for peer in &peers {
                    let labels = [("namespace", name.clone()), ("peer", peer.master_id.name().to_owned())];
                    gauge!("archipelago_replication_lag_events", &labels).set(float(peer.ahead_events));
                    gauge!("archipelago_peer_lag_events", &labels).set(float(peer.behind_events));
                    gauge!("archipelago_peer_silent_seconds", &labels).set(peer.silent_for.as_secs_f64());
                    gauge!("archipelago_peer_clock_offset_seconds", &labels)
                        .set(signed_float(peer.clock_ahead_ms) / 1_000.0);
                    gauge!("archipelago_peer_diverged", &labels).set(flag(peer.diverged));
                    gauge!("archipelago_peer_strategy_mismatch", &labels).set(flag(!peer.same_strategies));
                }
            });
        }
        self.handle.run_upkeep();
        self.handle.render()
    }

    fn sample(&self, name: &str, namespace: &Namespace, master: &MultiMasterManager) {
        let labels = [("namespace", name.to_owned())];
        let metrics = master.metrics();
        for (name, _, value) in COUNTERS {
            counter!(*name, &labels).absolute(value(&metrics));
        }
        for (name, _, _, value) in GAUGES {
            gauge!(*name, &labels).set(float(value(&metrics)));
        }
        gauge!("archipelago_link_up", &labels).set(flag(namespace.link().0 == "up"));
        gauge!("archipelago_caught_up", &labels).set(flag(namespace.is_caught_up()));
    }
}

type Read = fn(&Metrics) -> u64;

const COUNTERS: &[(&str, &str, Read)] = &[
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

const GAUGES: &[(&str, Unit, &str, Read)] = &[
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

fn describe() {
    for (name, help, _) in COUNTERS {
        metrics::describe_counter!(*name, Unit::Count, *help);
    }
    for (name, unit, help, _) in GAUGES {
        metrics::describe_gauge!(*name, *unit, *help);
    }
    let others = [
        ("archipelago_link_up", Unit::Count, "1 if the broker is there."),
        ("archipelago_caught_up", Unit::Count, "1 once the node has caught up since it was started."),
        (
            "archipelago_replication_lag_events",
            Unit::Count,
            "Events of a peer's vector that are lacking here.",
        ),
        ("archipelago_peer_lag_events", Unit::Count, "Events that are here and were lacking at a peer."),
        ("archipelago_peer_silent_seconds", Unit::Seconds, "How long ago a peer was heard."),
        ("archipelago_peer_clock_offset_seconds", Unit::Seconds, "By how much the clock of a peer is ahead."),
        ("archipelago_peer_diverged", Unit::Count, "1 if a peer has another state after the same writes."),
        ("archipelago_peer_strategy_mismatch", Unit::Count, "1 if a peer resolves conflicts by other rules."),
    ];
    for (name, unit, help) in others {
        metrics::describe_gauge!(name, unit, help);
    }
    metrics::describe_histogram!(REQUEST_SECONDS, Unit::Seconds, "How long requests took.");
}

#[allow(clippy::cast_precision_loss, reason = "a measure is for people and graphs")]
fn float(count: u64) -> f64 {
    count as f64
}

#[allow(clippy::cast_precision_loss, reason = "as above")]
fn signed_float(count: i64) -> f64 {
    count as f64
}

fn flag(is_set: bool) -> f64 {
    if is_set { 1.0 } else { 0.0 }
}
