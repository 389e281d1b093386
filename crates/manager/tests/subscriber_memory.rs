//! What a subscriber promises, on the broker in memory; and what needs a broker that can be bent.

mod subscriber_suite;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use archipelago_manager::subscriber::{
    CheckpointMode, CheckpointStore, DeadLetterError, EventSubscriber, EventSubscriberBuilder, GapAction,
    ReplayError, ReplayFrom, SubscriberError, SubscriberNotice,
};
use archipelago_pipeline::{
    Appending, ExpectedEnd, Incoming, Lease, Listener, LogState, MemoryBroker, Outgoing, PendingAck,
    Pipeline, PipelineError, PipelineStatus, Subscription,
};
use archipelago_store::MemoryStore;
use archipelago_store_fjall::FjallStore;
use async_trait::async_trait;
use bytes::Bytes;
use subscriber_suite::{
    Harness, NAMESPACE, Seen, Writer, dot, handled, names, noticed, options, stopped, subscriber_tests, tell,
    watch, within,
};
use tokio::sync::{mpsc, watch as watching};

struct Memory(MemoryBroker);

impl Memory {
    fn new() -> Self {
        Memory(MemoryBroker::default())
    }
}

impl Harness for Memory {
    async fn pipeline(&self) -> Arc<dyn Pipeline> {
        Arc::new(self.0.pipeline(NAMESPACE))
    }
    async fn stop_broker(&self) {
        self.0.stop();
    }
    async fn start_broker(&self) {
        self.0.start();
    }
    async fn delete_log(&self) {
        self.0.delete_log(NAMESPACE);
    }
    async fn trim(&self, to: u64) {
        let log = self.0.pipeline(NAMESPACE).state().await.expect("the log is there");
        let count = (to + 1).saturating_sub(log.first_sequence);
        self.0.trim_head(NAMESPACE, usize::try_from(count).expect("few"));
    }
    async fn lose_tail(&self, last: u64) {
        let log = self.0.pipeline(NAMESPACE).state().await.expect("the log is there");
        let count = log.last_sequence - last;
        self.0.truncate_tail(NAMESPACE, usize::try_from(count).expect("few"));
    }
}

subscriber_tests!(Memory::new());

/// A pipeline whose first subscriptions are made by another function.
#[derive(Debug)]
struct Bent {
    inner: Arc<dyn Pipeline>,
    subscriptions: AtomicUsize,
    bend: fn(usize, Box<dyn Subscription>) -> Box<dyn Subscription>,
}

#[async_trait]
impl Pipeline for Bent {
    async fn open_above(&self, sequence: u64) -> Result<LogState, PipelineError> {
        self.inner.open_above(sequence).await
    }
    async fn state(&self) -> Result<LogState, PipelineError> {
        self.inner.state().await
    }
    async fn publish(&self, message: Outgoing) -> Result<PendingAck, PipelineError> {
        self.inner.publish(message).await
    }
    async fn append(
        &self,
        origin: &str,
        payload: Bytes,
        expected: ExpectedEnd,
    ) -> Result<Appending, PipelineError> {
        self.inner.append(origin, payload, expected).await
    }
    async fn lease(&self, ttl: Duration) -> Result<Arc<dyn Lease>, PipelineError> {
        self.inner.lease(ttl).await
    }
    async fn subscribe(&self, after: u64) -> Result<Box<dyn Subscription>, PipelineError> {
        let number = self.subscriptions.fetch_add(1, Ordering::SeqCst);
        Ok((self.bend)(number, self.inner.subscribe(after).await?))
    }
    async fn trim(&self, up_to: u64) -> Result<(), PipelineError> {
        self.inner.trim(up_to).await
    }
    async fn announce(&self, from: &str, payload: Bytes) -> Result<(), PipelineError> {
        self.inner.announce(from, payload).await
    }
    async fn ask(&self, to: &str, payload: Bytes, deadline: Duration) -> Result<Bytes, PipelineError> {
        self.inner.ask(to, payload, deadline).await
    }
    async fn listen(&self, name: &str) -> Result<Box<dyn Listener>, PipelineError> {
        self.inner.listen(name).await
    }
    fn status(&self) -> watching::Receiver<PipelineStatus> {
        self.inner.status()
    }
    fn payload_bytes_max(&self) -> Option<usize> {
        self.inner.payload_bytes_max()
    }
    fn payload_bytes_good(&self) -> Option<usize> {
        self.inner.payload_bytes_good()
    }
}

async fn bent(
    harness: &Memory,
    bend: fn(usize, Box<dyn Subscription>) -> Box<dyn Subscription>,
) -> EventSubscriberBuilder {
    let inner = harness.pipeline().await;
    let options = EventSubscriber::builder().namespace(NAMESPACE).checkpoint_store(MemoryStore::new());
    options.pipeline(Bent { inner, subscriptions: AtomicUsize::new(0), bend })
}

/// Delivers two messages and then nothing, without an error.
struct Hanging {
    inner: Box<dyn Subscription>,
    left: usize,
}

#[async_trait]
impl Subscription for Hanging {
    async fn next(&mut self) -> Result<Incoming, PipelineError> {
        if self.left == 0 {
            return std::future::pending().await;
        }
        let message = self.inner.next().await?;
        self.left -= 1;
        Ok(message)
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_delivers_nothing_is_subscribed_to_anew() {
    let harness = Memory::new();
    let writer = Writer::new(&harness).await;
    writer.write_each("us", 1..=5).await;
    let (saw, mut seen) = Seen::channel();
    let hang = |number, inner| -> Box<dyn Subscription> {
        if number < 2 { Box::new(Hanging { inner, left: 2 }) } else { inner }
    };
    let began = tokio::time::Instant::now();
    let options = bent(&harness, hang).await.stall_timeout(Duration::from_secs(20));
    let subscriber = options.on_event(tell(saw)).start().await.unwrap();
    let mut notices = subscriber.notices();
    seen.expect(names("us", 1..=5)).await;
    // Two times over; the second subscription delivers the message it began at, and one more.
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(40) && waited < Duration::from_secs(50), "{waited:?}");
    let anew = noticed(&mut notices, |notice| match notice {
        SubscriberNotice::Resubscribed { after, last_sequence } => Some((after, last_sequence)),
        _ => None,
    });
    assert_eq!(anew.await, (2, 5));
    assert_eq!(subscriber.metrics().resubscribed, 2);
    subscriber.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_quiet_log_is_not_taken_for_stalled() {
    let harness = Memory::new();
    let writer = Writer::new(&harness).await;
    let (subscriber, mut seen) = watch(&harness, &MemoryStore::new()).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    writer.write("us", [1]).await;
    seen.expect(names("us", [1])).await;
    assert_eq!(subscriber.metrics().resubscribed, 0);
    subscriber.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_does_not_return_is_reported_and_not_interrupted() {
    let harness = Memory::new();
    let writer = Writer::new(&harness).await;
    writer.write("us", [1]).await;
    let (saw, mut seen) = Seen::channel();
    let options = options(&harness).await.checkpoint_store(MemoryStore::new());
    let subscriber = options.on_event(move |_| {
        let saw = saw.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(70)).await;
            Ok(saw.send("done".into())?)
        }
    });
    let subscriber = subscriber.start().await.unwrap();
    let mut notices = subscriber.notices();
    for _ in 0..2 {
        let stalled = noticed(&mut notices, |notice| match notice {
            SubscriberNotice::HandlerStalled { event, .. } => Some(event),
            _ => None,
        });
        assert_eq!(stalled.await, dot("us", 1));
    }
    seen.expect(["done".to_owned()]).await;
    handled(&subscriber, "us", 1).await;
    subscriber.close().await.unwrap();
}

/// After its first message, delivers messages of no use for ever, each of them at once.
struct Flood {
    inner: Box<dyn Subscription>,
    delivered: Option<Incoming>,
}

#[async_trait]
impl Subscription for Flood {
    async fn next(&mut self) -> Result<Incoming, PipelineError> {
        match &mut self.delivered {
            None => {
                let message = self.inner.next().await?;
                self.delivered = Some(message.clone());
                Ok(message)
            }
            Some(last) => {
                last.sequence += 1;
                last.payload = Some(Bytes::from_static(b"garbage"));
                Ok(last.clone())
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_batch_waits_no_longer_than_poll_interval() {
    let harness = Memory::new();
    let writer = Writer::new(&harness).await;
    writer.write("us", [1]).await;
    let (saw, mut seen) = Seen::channel();
    let options = bent(&harness, |_, inner| Box::new(Flood { inner, delivered: None })).await;
    let options = options.poll_interval(Duration::from_millis(20)).on_batch(move |delivery| {
        let _ = saw.send(subscriber_suite::batch_names(&delivery));
        async { Ok(()) }
    });
    let subscriber = options.start().await.unwrap();
    within("the batch is delivered although more comes in", seen.expect(names("us", [1]))).await;
    within("it can be closed all the same", subscriber.close()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_the_checkpoint_has_no_room_for_is_remembered_for_the_window() {
    let harness = Memory::new();
    let writer = Writer::new(&harness).await;
    let (saw, mut seen) = Seen::channel();
    let options = options(&harness).await.checkpoint_store(MemoryStore::new()).checkpoint_gaps_max(0);
    let subscriber = options.on_event(tell(saw)).start().await.unwrap();
    writer.write_each("us", [1, 5, 5, 1]).await;
    writer.write("eu", [1]).await;
    seen.expect(["us/1", "us/5", "eu/1"].map(String::from)).await;
    handled(&subscriber, "eu", 1).await;
    assert_eq!(subscriber.metrics().window_events, 1);
    tokio::time::advance(Duration::from_secs(61)).await;
    // The window has forgotten it; the vector never forgets.
    writer.write_each("us", [5, 1]).await;
    writer.write("eu", [2]).await;
    seen.expect(["us/5", "eu/2"].map(String::from)).await;
    subscriber.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn interval_saves_also_while_there_is_always_more_to_do() {
    let (harness, store) = (Memory::new(), MemoryStore::new());
    let writer = Writer::new(&harness).await;
    writer.write("us", 1..=4).await;
    let (saved, mut saves) = mpsc::unbounded_channel();
    let stored = store.clone();
    let options = options(&harness).await.checkpoint_store(store).checkpoint_mode(CheckpointMode::INTERVAL);
    let subscriber = options.on_event(move |_| {
        let checkpoint = stored.load("test").unwrap();
        saved
            .send(checkpoint.map_or(0, |checkpoint| checkpoint.vector().iter().map(|(_, n)| n).sum()))
            .unwrap();
        async {
            tokio::time::sleep(Duration::from_secs(3)).await;
            Ok(())
        }
    });
    let subscriber = subscriber.start().await.unwrap();
    // After 6 s, in the middle of a message.
    for expected in [0, 0, 2, 2] {
        assert_eq!(saves.recv().await, Some(expected));
    }
    subscriber.close().await.unwrap();
}

#[tokio::test]
async fn a_full_window_stops_and_loses_nothing() {
    let harness = Memory::new();
    let writer = Writer::new(&harness).await;
    let store = MemoryStore::new();
    let (saw, mut seen) = Seen::channel();
    let bounded = options(&harness).await.checkpoint_store(store.clone()).checkpoint_gaps_max(1);
    let bounded = bounded.idempotency_events_max(1).on_event(tell(saw));
    let subscriber = bounded.start().await.unwrap();
    writer.write_each("us", [2, 4, 6]).await;
    let error = stopped(&subscriber).await;
    assert!(matches!(&*error, SubscriberError::WindowFull { events_max: 1 }), "{error}");
    assert_eq!(seen.rest(), names("us", [2, 4]));
    let (subscriber, mut seen) = watch(&harness, &store).await;
    seen.expect(names("us", [6])).await;
    subscriber.close().await.unwrap();
}

#[tokio::test]
async fn checkpoints_and_dead_letters_lie_in_a_durable_store() {
    let (harness, folder) = (Memory::new(), tempfile::tempdir().unwrap());
    let writer = Writer::new(&harness).await;
    writer.write("us", 1..=3).await;
    for life in 1..=2 {
        let store = Arc::new(FjallStore::open(folder.path()).unwrap());
        let (saw, mut seen) = Seen::channel();
        let options = options(&harness).await.checkpoint_store(store.clone()).max_retries(0);
        let options = options.dead_letter_store(store.clone()).on_event(move |delivery| {
            let name = subscriber_suite::entity(&delivery.event);
            let bad = life == 1 && name == "us/2";
            let _ = saw.send(name);
            async move { if bad { Err("not in this life".into()) } else { Ok(()) } }
        });
        let subscriber = options.start().await.unwrap();
        if life == 1 {
            seen.expect(names("us", 1..=3)).await;
            handled(&subscriber, "us", 3).await;
        } else {
            let letters = subscriber.dead_letters(None, 10).await.unwrap();
            assert_eq!(letters.len(), 1);
            subscriber.retry_dead_letter(&letters[0].id).await.unwrap();
            assert_eq!(seen.rest(), names("us", [2]));
        }
        subscriber.close().await.unwrap();
    }
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused_by_name() {
    let base = || EventSubscriber::builder().pipeline(MemoryBroker::default().pipeline("default"));
    let sound = || base().checkpoint_store(MemoryStore::new());
    let handled = |builder: EventSubscriberBuilder| builder.on_event(|_| async { Ok(()) });
    let second = Duration::from_secs(1);
    let refused = [
        ("on_event", sound()),
        ("on_event", handled(sound()).on_batch(|_| async { Ok(()) })),
        ("pipeline", handled(EventSubscriber::builder().checkpoint_store(MemoryStore::new()))),
        ("checkpoint_store", handled(base())),
        ("resume_from", handled(sound().resume_from(None))),
        ("resume_from", handled(base().resume_from(None))),
        ("name", handled(sound().name("a/b"))),
        ("namespace", handled(sound().namespace(""))),
        ("batch_size", handled(sound().batch_size(0))),
        ("poll_interval", handled(sound().poll_interval(Duration::ZERO))),
        ("retry_delay", handled(sound().retry_delay(Duration::ZERO))),
        ("stall_timeout", handled(sound().stall_timeout(Duration::ZERO))),
        ("checkpoint_mode", handled(sound().checkpoint_mode(CheckpointMode::Interval(Duration::ZERO)))),
    ];
    for (name, builder) in refused {
        match builder.start().await {
            Err(SubscriberError::Option { option, .. }) => assert_eq!(option, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    handled(sound().poll_interval(second)).start().await.unwrap().close().await.unwrap();
}

#[tokio::test]
async fn a_damaged_checkpoint_is_refused_at_the_start() {
    use archipelago_store::{Batch, Durability, Store, Table};
    let (harness, store) = (Memory::new(), MemoryStore::new());
    let mut batch = Batch::new();
    batch.put(Table::Meta, "subscriber/test/checkpoint", "garbage");
    store.commit(batch, Durability::Memory).unwrap();
    let (saw, _seen) = Seen::channel();
    let options = options(&harness).await.checkpoint_store(store).on_event(tell(saw));
    let error = options.start().await.unwrap_err();
    assert!(matches!(error, SubscriberError::CheckpointStore { action: "loaded", .. }), "{error}");
}

#[tokio::test]
async fn a_handler_that_would_wait_for_itself_is_told_so() {
    let harness = Memory::new();
    let writer = Writer::new(&harness).await;
    writer.write("us", [1]).await;
    let own: Arc<Mutex<Option<EventSubscriber>>> = Arc::default();
    let (told, mut outcomes) = mpsc::unbounded_channel();
    let handle = own.clone();
    let (ready, started) = watching::channel(false);
    let options = options(&harness).await.checkpoint_store(MemoryStore::new()).on_event(move |delivery| {
        let (handle, told, mut started) = (handle.clone(), told.clone(), started.clone());
        async move {
            started.wait_for(|ready| *ready).await?;
            let subscriber = handle.lock().unwrap().clone().unwrap();
            let id = archipelago_manager::subscriber::DeadLetterId {
                sequence: delivery.event.sequence,
                event: delivery.event.event.dot,
            };
            let replay = subscriber.replay(ReplayFrom::Start).await;
            let retry = subscriber.retry_dead_letter(&id).await;
            subscriber.close().await.unwrap();
            told.send((replay, retry))?;
            Ok(())
        }
    });
    let subscriber = options.start().await.unwrap();
    *own.lock().unwrap() = Some(subscriber.clone());
    ready.send_replace(true);
    let (replay, retry) = within("nobody waits for anybody", outcomes.recv()).await.unwrap();
    assert!(matches!(replay, Err(ReplayError::WithinHandler)));
    assert!(matches!(retry, Err(DeadLetterError::WithinHandler)));
    assert!(within("the close takes effect", subscriber.stopped()).await.is_none());
    assert!(subscriber.checkpoint().unwrap().contains(&dot("us", 1)), "the call was finished");
}

/// Delivers one message, and ends as if the log had been deleted right after it.
struct Ending(Option<Box<dyn Subscription>>);

#[async_trait]
impl Subscription for Ending {
    async fn next(&mut self) -> Result<Incoming, PipelineError> {
        match self.0.take() {
            Some(mut inner) => inner.next().await,
            None => Err(PipelineError::LogMissing { name: NAMESPACE.into() }),
        }
    }
}

#[tokio::test]
async fn what_was_read_of_a_lost_log_is_delivered_before_the_gap_is_told() {
    let harness = Memory::new();
    Writer::new(&harness).await.write("us", 1..=2).await;
    let (saw, mut seen) = Seen::channel();
    let gap = saw.clone();
    let ending = |_, inner| -> Box<dyn Subscription> { Box::new(Ending(Some(inner))) };
    let options = bent(&harness, ending).await.on_gap(move |told| {
        assert!(told.checkpoint.contains(&dot("us", 2)));
        let _ = gap.send("gap".into());
        async { GapAction::Stop }
    });
    // Also if it takes more than one call.
    let subscriber = options.max_retries(0).on_batch(move |delivery| {
        let several = delivery.events.len() > 1;
        let _ = saw.send(subscriber_suite::batch_names(&delivery));
        async move { if several { Err("one by one".into()) } else { Ok(()) } }
    });
    let subscriber = subscriber.start().await.unwrap();
    assert!(matches!(&*stopped(&subscriber).await, SubscriberError::LogLost { .. }));
    assert_eq!(seen.rest(), ["us/1 us/2", "us/1", "us/2", "gap"]);
}

#[tokio::test]
async fn what_no_broker_will_ever_allow_stops_the_subscriber() {
    let (saw, _seen) = Seen::channel();
    let forbidden = |_: usize, _: Box<dyn Subscription>| -> Box<dyn Subscription> { Box::new(Forbidden) };
    let harness = Memory::new();
    Writer::new(&harness).await;
    let subscriber = bent(&harness, forbidden).await.on_event(tell(saw)).start().await.unwrap();
    let error = stopped(&subscriber).await;
    assert!(matches!(&*error, SubscriberError::Pipeline(PipelineError::Unauthorized { .. })), "{error}");
}

struct Forbidden;

#[async_trait]
impl Subscription for Forbidden {
    async fn next(&mut self) -> Result<Incoming, PipelineError> {
        Err(PipelineError::Unauthorized { reason: "no".into() })
    }
}

#[tokio::test]
async fn the_last_handle_takes_the_subscriber_along() {
    let harness = Memory::new();
    let writer = Writer::new(&harness).await;
    let (subscriber, mut seen) = watch(&harness, &MemoryStore::new()).await;
    writer.write("us", [1]).await;
    seen.expect(names("us", [1])).await;
    drop(subscriber);
    assert_eq!(within("the handler is dropped", seen.0.recv()).await, None);
}
