use metrics::{Counter, Gauge, Label, Unit, counter, describe_counter, describe_gauge, gauge};

use super::SubscriberMetrics;
use crate::recording::{Recording, float};

type Read = fn(&SubscriberMetrics) -> u64;

const COUNTERS: [(&str, &str, Read); 7] = [
    ("archipelago_subscriber_events_handled_total", "Events that the handler handled.", |m| m.events_handled),
    ("archipelago_subscriber_failures_total", "Calls of the handler that failed.", |m| m.failures),
    ("archipelago_subscriber_duplicates_skipped_total", "Events that had been delivered before.", |m| {
        m.duplicates_skipped
    }),
    ("archipelago_subscriber_events_dead_lettered_total", "Events that were put aside.", |m| {
        m.events_dead_lettered
    }),
    ("archipelago_subscriber_messages_unreadable_total", "Messages that this build cannot read.", |m| {
        m.messages_unreadable
    }),
    ("archipelago_subscriber_checkpoints_saved_total", "Checkpoints that were saved.", |m| {
        m.checkpoints_saved
    }),
    ("archipelago_subscriber_resubscribed_total", "How often a silent log was subscribed to anew.", |m| {
        m.resubscribed
    }),
];

const GAUGES: [(&str, &str, Read); 2] = [
    (
        "archipelago_subscriber_sequence",
        "The last message of the log of which every event is handled.",
        |m| m.sequence,
    ),
    ("archipelago_subscriber_dead_letters", "Events that are put aside.", |m| m.dead_letters),
];

/// What a subscriber measures through the facade `metrics`.
#[derive(Debug)]
pub(super) struct Telemetry {
    counters: Vec<(Counter, Read)>,
    gauges: Vec<(Gauge, Read)>,
}

impl Telemetry {
    /// Asks the recorder for all there is, labelled with the namespace and the name of the subscriber.
    pub(super) fn new(namespace: &str, subscriber: &str, recording: &Recording) -> Telemetry {
        let labels = vec![
            Label::new("namespace", namespace.to_owned()),
            Label::new("subscriber", subscriber.to_owned()),
        ];
        recording.with(|| {
            for (name, description, _) in COUNTERS {
                describe_counter!(name, Unit::Count, description);
            }
            for (name, description, _) in GAUGES {
                describe_gauge!(name, Unit::Count, description);
            }
            let counters = COUNTERS.map(|(name, _, read)| (counter!(name, labels.clone()), read));
            let gauges = GAUGES.map(|(name, _, read)| (gauge!(name, labels.clone()), read));
            Telemetry { counters: counters.into(), gauges: gauges.into() }
        })
    }

    /// The counts as they are now.
    pub(super) fn counted(&self, counts: &SubscriberMetrics) {
        for (counter, read) in &self.counters {
            counter.absolute(read(counts));
        }
        for (gauge, read) in &self.gauges {
            gauge.set(float(read(counts)));
        }
    }
}
