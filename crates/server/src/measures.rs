//! What is measured of the node, through the facade `metrics`, and how Prometheus reads it.

use std::{fmt, sync::Arc, time::Duration};

use metrics::{Recorder, Unit, counter, gauge, histogram, with_local_recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use crate::{
    app::App,
    namespace::{Namespace, Running},
};

/// The upper ends of the buckets of what takes time, in seconds.
const BUCKETS_S: [f64; 16] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 60.0,
    3_600.0,
];
/// The same of what is counted.
const BUCKETS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1_024.0];

const REQUEST_SECONDS: &str = "archipelago_http_request_duration_seconds";

const REFUSALS: &str = "archipelago_clients_refused_total";

/// The measures of one node. It has a recorder of its own, so that several nodes in one process do not mix. Clones are the
/// same.
#[derive(Clone)]
pub(crate) struct Measures {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
}

impl fmt::Debug for Measures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Measures").finish_non_exhaustive()
    }
}

impl Measures {
    pub(crate) fn new() -> Measures {
        let builder = PrometheusBuilder::new().set_buckets(&BUCKETS_S).expect("there are buckets");
        let of_counts = Matcher::Suffix("_events".to_owned());
        let builder = builder.set_buckets_for_metric(of_counts, &BUCKETS).expect("there are buckets");
        let recorder = Arc::new(builder.build_recorder());
        with_local_recorder(&recorder, describe);
        Measures { handle: recorder.handle(), recorder }
    }

    /// For what is measured by others.
    pub(crate) fn recorder(&self) -> Arc<dyn Recorder + Send + Sync> {
        self.recorder.clone()
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
            match &namespace.running {
                // What was measured of a closed master stays as it was.
                Running::MultiMaster(master) => drop(master.measure().await),
                Running::LeaderFollower(node) => node.measure(),
            }
            with_local_recorder(&self.recorder, || sample(name, namespace));
        }
        with_local_recorder(&self.recorder, || {
            for (refusal, total) in app.refusals().totals() {
                counter!(REFUSALS, "reason" => refusal.name()).absolute(total);
            }
        });
        self.handle.run_upkeep();
        self.handle.render()
    }
}

fn sample(name: &str, namespace: &Namespace) {
    let labels = [("namespace", name.to_owned())];
    let link = namespace.link().0;
    let gauges = [
        ("archipelago_link_up", (link != "absent").then_some(link == "up")),
        ("archipelago_caught_up", Some(namespace.is_caught_up())),
        ("archipelago_resyncing", Some(namespace.is_resyncing())),
    ];
    for (name, value) in gauges {
        if let Some(is_set) = value {
            gauge!(name, &labels).set(if is_set { 1.0 } else { 0.0 });
        }
    }
}

fn describe() {
    metrics::describe_counter!(REFUSALS, Unit::Count, "Clients that were refused or cut off.");
    for (name, help) in [
        ("archipelago_link_up", "1 if the broker is there."),
        ("archipelago_caught_up", "1 once the node has caught up since it was started."),
        ("archipelago_resyncing", "1 while the node takes the state of another one."),
    ] {
        metrics::describe_gauge!(name, Unit::Count, help);
    }
    metrics::describe_histogram!(REQUEST_SECONDS, Unit::Seconds, "How long requests took.");
}
