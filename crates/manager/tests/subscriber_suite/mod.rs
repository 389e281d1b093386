//! What a subscriber promises, as tests that run on any broker.

mod delivery;
mod failures;
mod loss;
mod replays;

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use archipelago_clock::{Dot, Hlc, Incarnation, ReplicaId};
use archipelago_manager::subscriber::{
    BatchDelivery, Checkpoint, CheckpointStore, EventSubscriber, EventSubscriberBuilder, HandlerError,
    LoggedEvent, SubscriberError, SubscriberNotice, SubscriberNotices,
};
use archipelago_pipeline::{Outgoing, Pipeline, Switch};
use archipelago_proto::{BatchEncoder, Event, Limits, Op, encode_value};
use archipelago_store::MemoryStore;
use bytes::Bytes;
use tokio::sync::mpsc;

pub(crate) use {delivery::*, failures::*, loss::*, replays::*};

pub(crate) const NAMESPACE: &str = "people";
/// Longer than anything here takes, so that only a hang runs into it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(40);

/// A broker under test, with one namespace of which no log exists yet. Made anew for each test.
pub(crate) trait Harness {
    async fn pipeline(&self) -> Arc<dyn Pipeline>;
    async fn stop_broker(&self);
    async fn start_broker(&self);
    async fn delete_log(&self);
    /// Removes the oldest messages, up to this one.
    async fn trim(&self, to: u64);
    /// Loses the newest messages although they were acknowledged, so that this one is the last.
    async fn lose_tail(&self, last: u64);
    /// The log as it is now can be what [`lose_tail`](Self::lose_tail) goes back to.
    async fn remember_tail(&self) {}
}

/// Writes one `#[tokio::test]` for each property of the suite.
macro_rules! subscriber_tests {
    ($harness:expr) => {
        subscriber_tests!(@each $harness;
            events_come_once_and_in_the_order_of_the_log,
            a_batch_has_up_to_batch_size_events,
            a_subscriber_goes_on_where_it_was_even_within_a_message,
            events_out_of_order_come_once_also_after_a_restart,
            auto_delivers_again_what_a_crash_kept_from_the_checkpoint,
            an_effect_stored_with_its_checkpoint_happens_once_wherever_a_crash_strikes,
            manual_goes_on_from_what_was_committed,
            interval_saves_once_in_a_while_and_at_the_close,
            resume_from_needs_no_checkpoint_store,
            an_outage_loses_and_repeats_nothing,
            a_subscriber_waits_for_the_first_master,
            unusable_messages_are_skipped_and_counted,
            a_message_of_a_newer_build_holds_the_checkpoint_back,
            what_a_manager_writes_arrives,
            failures_are_retried_in_order_and_then_put_aside,
            a_dead_letter_is_listed_retried_and_discarded,
            without_a_dead_letter_store_the_subscriber_stops_and_loses_nothing,
            a_full_dead_letter_store_stops_and_loses_nothing,
            an_event_put_aside_twice_is_one_dead_letter,
            one_bad_event_does_not_take_its_batch_along,
            a_panic_is_a_failure,
            a_checkpoint_that_cannot_be_saved_stops_the_subscriber,
            a_deleted_log_stops_the_subscriber,
            a_replaced_log_stops_the_subscriber_at_its_start,
            after_a_gap_delivery_can_go_on_without_repeating_anything,
            messages_trimmed_before_they_were_read_are_a_gap,
            messages_trimmed_after_they_were_read_are_only_told,
            a_log_that_begins_late_is_a_gap_for_a_new_subscriber,
            a_log_that_lost_its_tail_is_noticed,
            a_log_that_lost_its_tail_and_grew_beyond_it_is_noticed,
            a_replay_delivers_again_from_a_message_on,
            a_replay_delivers_again_from_a_time_on,
            a_replay_goes_on_after_a_restart,
            a_replay_that_cannot_be_is_refused_and_changes_nothing,
            a_new_subscriber_starts_where_it_is_told,
        );
    };
    (@each $harness:expr; $($property:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $property() {
                let harness = $harness;
                subscriber_suite::within(stringify!($property), subscriber_suite::$property(&harness)).await;
            }
        )*
    };
}
pub(crate) use subscriber_tests;

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("did not end within {DEADLINE:?}: {what}"),
    }
}

/// Writes to the log what masters would write.
pub(crate) struct Writer {
    pipeline: Arc<dyn Pipeline>,
    messages: AtomicU64,
}

impl Writer {
    /// Makes the log, if there is none.
    pub(crate) async fn new(harness: &impl Harness) -> Writer {
        let pipeline = harness.pipeline().await;
        pipeline.open().await.expect("the broker runs");
        // Unique across writers, or the broker would take messages for repeated ones.
        Writer { pipeline, messages: AtomicU64::new(rand::random::<u32>().into()) }
    }

    /// One message with these events of one master; gives its place.
    pub(crate) async fn write(&self, origin: &str, sequences: impl IntoIterator<Item = u64>) -> u64 {
        let limits = Limits::default();
        let mut encoder = BatchEncoder::new(NAMESPACE, &limits);
        for sequence in sequences {
            assert!(encoder.push(&event(origin, sequence)), "consecutive, and not too many");
        }
        self.send(origin, encoder.finish().expect("small").expect("an event")).await
    }

    /// Messages with one event each.
    pub(crate) async fn write_each(&self, origin: &str, sequences: impl IntoIterator<Item = u64>) {
        for sequence in sequences {
            self.write(origin, [sequence]).await;
        }
    }

    pub(crate) async fn send(&self, origin: &str, payload: Bytes) -> u64 {
        let number = self.messages.fetch_add(1, Ordering::Relaxed);
        loop {
            let message_id = format!("{origin}-{number}");
            let message = Outgoing { origin: origin.into(), message_id, payload: payload.clone() };
            let sent = match self.pipeline.publish(message).await {
                Ok(pending) => pending.await,
                Err(error) => Err(error),
            };
            match sent {
                Ok(ack) => return ack.sequence,
                Err(error) if error.is_retryable() => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

pub(crate) fn dot(origin: &str, sequence: u64) -> Dot {
    Dot::new(ReplicaId::new(origin, Incarnation::from_bits(1)).expect("a legal name"), sequence)
}

/// Its entity is named after it: `us/3`.
pub(crate) fn event(origin: &str, sequence: u64) -> Event {
    Event {
        dot: dot(origin, sequence),
        hlc: Hlc::new(1_000 + sequence, 0),
        deps: Arc::default(),
        context: None,
        entity: name(origin, sequence).as_str().into(),
        op: Op::Put(encode_value(&sequence, &Limits::default()).expect("a number")),
        trace: None,
    }
}

pub(crate) fn name(origin: &str, sequence: u64) -> String {
    format!("{origin}/{sequence}")
}

pub(crate) fn names(origin: &str, sequences: impl IntoIterator<Item = u64>) -> Vec<String> {
    sequences.into_iter().map(|sequence| name(origin, sequence)).collect()
}

pub(crate) fn entity(event: &LoggedEvent) -> String {
    event.event.entity.to_string()
}

/// What a handler was called with.
pub(crate) struct Seen(pub(crate) mpsc::UnboundedReceiver<String>);

impl Seen {
    pub(crate) fn channel() -> (mpsc::UnboundedSender<String>, Seen) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, Seen(receiver))
    }

    pub(crate) async fn next(&mut self) -> String {
        self.0.recv().await.expect("the handler lives")
    }

    pub(crate) async fn expect(&mut self, names: impl IntoIterator<Item = String>) {
        for name in names {
            assert_eq!(self.next().await, name);
        }
    }

    /// What there is now, and whatever else there is of a handler that is gone.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.0.try_recv().ok()).collect()
    }
}

/// The options that most tests begin with.
pub(crate) async fn options(harness: &impl Harness) -> EventSubscriberBuilder {
    let pipeline = Switch::new(harness.pipeline().await);
    let options = EventSubscriber::builder().name("test").namespace(NAMESPACE).pipeline(pipeline);
    options.retry_delay(Duration::from_millis(1))
}

/// A subscriber that says what it sees, with its checkpoint in `store`.
pub(crate) async fn watch(harness: &impl Harness, store: &MemoryStore) -> (EventSubscriber, Seen) {
    let (saw, seen) = Seen::channel();
    let options = options(harness).await.checkpoint_store(store.clone()).on_event(tell(saw));
    (options.start().await.expect("sound options"), seen)
}

/// A handler that says what it sees and is content.
pub(crate) fn tell(
    saw: mpsc::UnboundedSender<String>,
) -> impl FnMut(archipelago_manager::subscriber::EventDelivery) -> std::future::Ready<Result<(), HandlerError>>
+ Send {
    move |delivery| {
        let _ = saw.send(entity(&delivery.event));
        std::future::ready(Ok(()))
    }
}

pub(crate) fn batch_names(delivery: &BatchDelivery) -> String {
    delivery.events.iter().map(entity).collect::<Vec<_>>().join(" ")
}

/// Waits for the notice that `wanted` picks.
pub(crate) async fn noticed<T>(
    notices: &mut SubscriberNotices,
    mut wanted: impl FnMut(SubscriberNotice) -> Option<T>,
) -> T {
    loop {
        if let Some(found) = wanted(notices.next().await.expect("the subscriber runs")) {
            return found;
        }
    }
}

pub(crate) async fn handled(subscriber: &EventSubscriber, origin: &str, sequence: u64) {
    let dot = dot(origin, sequence);
    assert!(subscriber.wait_for(|checkpoint| checkpoint.contains(&dot)).await, "{:?}", subscriber.status());
}

pub(crate) async fn stopped(subscriber: &EventSubscriber) -> Arc<SubscriberError> {
    subscriber.stopped().await.expect("it stopped by itself")
}

/// Checkpoints that are not saved while `refuse` is set: what a crash before saving comes to.
#[derive(Clone, Default)]
pub(crate) struct Checkpoints {
    pub(crate) store: MemoryStore,
    pub(crate) refuse: Arc<AtomicBool>,
}

impl CheckpointStore for Checkpoints {
    fn load(&self, subscriber: &str) -> Result<Option<Checkpoint>, HandlerError> {
        self.store.load(subscriber)
    }

    fn save(&self, subscriber: &str, checkpoint: &Checkpoint) -> Result<(), HandlerError> {
        match self.refuse.load(Ordering::SeqCst) {
            true => Err("the process is about to crash".into()),
            false => self.store.save(subscriber, checkpoint),
        }
    }
}

/// A handler that fails on the entities of this list, once for each time that they are on it.
#[derive(Clone, Default)]
pub(crate) struct Failures(Arc<Mutex<VecDeque<String>>>);

impl Failures {
    pub(crate) fn fail(&self, name: &str, times: usize) {
        let mut failures = self.0.lock().expect("no panic");
        failures.extend(std::iter::repeat_n(name.to_owned(), times));
    }

    pub(crate) fn check(&self, name: &str) -> Result<(), HandlerError> {
        let mut failures = self.0.lock().expect("no panic");
        match failures.iter().position(|failing| failing == name) {
            Some(at) => {
                failures.remove(at);
                Err(format!("no luck with {name}").into())
            }
            None => Ok(()),
        }
    }
}
