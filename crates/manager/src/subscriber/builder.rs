use std::{fmt, sync::Arc, time::Duration};

use archipelago_clock::{Incarnation, ReplicaId};
use archipelago_pipeline::Pipeline;
use archipelago_proto::Limits;
use archipelago_store::Store;
use futures::{FutureExt, future::BoxFuture};
use metrics::Recorder;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    BatchDelivery, Checkpoint, CheckpointMode, CheckpointStore, DeliveryFailure, EventDelivery,
    EventSubscriber, Gap, GapAction, HandlerError, ReplayFrom, SubscriberError,
    dead_letter::DeadLetters,
    delivery::{Delivery, OnError, OnGap, Options},
    handler::Handler,
    shared::Shared,
    telemetry::Telemetry,
    window::Window,
};
use crate::{log_reader, recording::Recording};

/// How many replays and retries may wait for a subscriber that is busy; further ones wait to be taken.
const COMMANDS_MAX: usize = 16;

/// The options of an [`EventSubscriber`]; [`start`](Self::start) starts it.
#[must_use = "nothing happens before `start`"]
pub struct EventSubscriberBuilder {
    name: String,
    namespace: String,
    pipeline: Option<Arc<dyn Pipeline>>,
    checkpoints: Option<Arc<dyn CheckpointStore>>,
    resume_from: Option<Option<Checkpoint>>,
    start_from: ReplayFrom,
    on_event: Option<Handler>,
    on_batch: Option<Handler>,
    on_error: Option<OnError>,
    on_gap: OnGap,
    dead_letter_store: Option<Arc<dyn Store>>,
    dead_letters_max: u64,
    batch_size: usize,
    poll_interval: Duration,
    checkpoint_mode: CheckpointMode,
    idempotency_window: Duration,
    idempotency_events_max: usize,
    checkpoint_gaps_max: usize,
    max_retries: u32,
    retry_delay: Duration,
    stall_timeout: Duration,
    close_timeout: Duration,
    limits: Limits,
    recording: Recording,
}

impl Default for EventSubscriberBuilder {
    fn default() -> Self {
        EventSubscriberBuilder {
            name: "default".into(),
            namespace: "default".into(),
            pipeline: None,
            checkpoints: None,
            resume_from: None,
            start_from: ReplayFrom::Start,
            on_event: None,
            on_batch: None,
            on_error: None,
            on_gap: Box::new(|_| std::future::ready(GapAction::Stop).boxed()),
            dead_letter_store: None,
            dead_letters_max: 10_000,
            batch_size: 100,
            poll_interval: Duration::from_secs(1),
            checkpoint_mode: CheckpointMode::Auto,
            idempotency_window: Duration::from_secs(60),
            idempotency_events_max: 100_000,
            checkpoint_gaps_max: 4_096,
            max_retries: 3,
            retry_delay: Duration::from_millis(100),
            stall_timeout: log_reader::STALL_TIMEOUT,
            close_timeout: Duration::from_secs(5),
            limits: Limits::default(),
            recording: Recording::default(),
        }
    }
}

impl EventSubscriberBuilder {
    /// What tells this subscriber apart from others that share its stores: 1 to 64 of `A-Z a-z 0-9 _ -`. Default
    /// `default`. Two that run at once under one name and one store overwrite each other's checkpoints.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The data set whose events are wanted, as the masters name it. Default `default`.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// What carries the events, for this namespace. Required. It need not be reachable at the start.
    pub fn pipeline(mut self, pipeline: impl Pipeline) -> Self {
        self.pipeline = Some(Arc::new(pipeline));
        self
    }

    /// Where the checkpoint is kept; any [`Store`] will do. Required, except with
    /// [`resume_from`](Self::resume_from).
    pub fn checkpoint_store(mut self, store: impl CheckpointStore) -> Self {
        self.checkpoints = Some(Arc::new(store));
        self
    }

    /// In place of `checkpoint_store`, for an application that keeps the checkpoint with the effects: the checkpoint it
    /// has read there, or `None` the first time. Needs [`CheckpointMode::Manual`].
    pub fn resume_from(mut self, checkpoint: Option<Checkpoint>) -> Self {
        self.resume_from = Some(checkpoint);
        self
    }

    /// Where to begin if there is no checkpoint yet. Default [`ReplayFrom::Start`]; if the log no longer has its first
    /// messages, that is a gap and `on_gap` decides.
    pub fn start_from(mut self, from: ReplayFrom) -> Self {
        self.start_from = from;
        self
    }

    /// The handler: called with one event after the other, in the order of the log. It, or
    /// [`on_batch`](Self::on_batch), is required.
    ///
    /// A call that fails or panics is repeated as [`max_retries`](Self::max_retries) says. Effects of a failed call
    /// should not stay, or should be such that doing them again changes nothing.
    pub fn on_event<F, R>(mut self, mut handler: F) -> Self
    where
        F: FnMut(EventDelivery) -> R + Send + 'static,
        R: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        self.on_event = Some(Handler::Event(Box::new(move |delivery| handler(delivery).boxed())));
        self
    }

    /// The handler: called with up to [`batch_size`](Self::batch_size) events at once, in the order of the log. As
    /// [`on_event`](Self::on_event) otherwise; after its retries are used up it is called with each event of the batch
    /// by itself, so that one bad event does not take the others with it.
    pub fn on_batch<F, R>(mut self, mut handler: F) -> Self
    where
        F: FnMut(BatchDelivery) -> R + Send + 'static,
        R: Future<Output = Result<(), HandlerError>> + Send + 'static,
    {
        self.on_batch = Some(Handler::Batch(Box::new(move |delivery| handler(delivery).boxed())));
        self
    }

    /// Told of each call of the handler that failed, and what happens next. It must not block. Default: nothing but a
    /// log line.
    pub fn on_error(mut self, told: impl FnMut(&DeliveryFailure) + Send + 'static) -> Self {
        self.on_error = Some(Box::new(told));
        self
    }

    /// Asked what to do when the log is no longer what was read from; nothing is delivered until it has answered.
    /// Default: stop.
    pub fn on_gap<F, R>(mut self, mut decide: F) -> Self
    where
        F: FnMut(Gap) -> R + Send + 'static,
        R: Future<Output = GapAction> + Send + 'static,
    {
        self.on_gap = Box::new(move |gap| -> BoxFuture<'static, GapAction> { decide(gap).boxed() });
        self
    }

    /// Where events go on which the handler failed too often. Default none: the subscriber stops at such an event.
    pub fn dead_letter_store(mut self, store: impl Store) -> Self {
        self.dead_letter_store = Some(Arc::new(store));
        self
    }

    /// The most dead letters of this subscriber; with one more it stops. Default 10,000.
    pub fn dead_letters_max(mut self, events: u64) -> Self {
        self.dead_letters_max = events;
        self
    }

    /// The most events that [`on_batch`](Self::on_batch) is called with. Default 100.
    pub fn batch_size(mut self, events: usize) -> Self {
        self.batch_size = events;
        self
    }

    /// How long an incomplete batch waits at the longest while messages come in. It is delivered at once when there is
    /// nothing more to read, so this is a ceiling and no pace. Default 1 s.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// When the checkpoint is stored. Default [`CheckpointMode::Auto`].
    pub fn checkpoint_mode(mut self, mode: CheckpointMode) -> Self {
        self.checkpoint_mode = mode;
        self
    }

    /// For how long the id of an event is remembered for which the checkpoint has no room, because there are more than
    /// [`checkpoint_gaps_max`](Self::checkpoint_gaps_max) gaps. Default 60 s.
    ///
    /// Everything else that was handled is in the checkpoint and is never delivered again, whatever this says. What is
    /// only in the window is delivered again if the log has it once more after that time or after a restart.
    pub fn idempotency_window(mut self, window: Duration) -> Self {
        self.idempotency_window = window;
        self
    }

    /// The most ids in the [`idempotency_window`](Self::idempotency_window); with one more the subscriber stops. Default
    /// 100,000.
    pub fn idempotency_events_max(mut self, events: usize) -> Self {
        self.idempotency_events_max = events;
        self
    }

    /// The most gaps in the checkpoint: stretches of events of one master handled although an earlier event of it has
    /// not come (yet). A master whose first events were not seen here has one for ever. Default 4,096; at most 65,536.
    pub fn checkpoint_gaps_max(mut self, gaps: usize) -> Self {
        self.checkpoint_gaps_max = gaps;
        self
    }

    /// How often a failed call of the handler is repeated. Default 3. Events behind it wait, so that the order is kept.
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = retries;
        self
    }

    /// How long to wait before the first repetition; twice as long before each further one, 30 s at most, less a random
    /// share of up to one half. Default 100 ms.
    pub fn retry_delay(mut self, delay: Duration) -> Self {
        self.retry_delay = delay;
        self
    }

    /// After how long a log that has more but delivers nothing is subscribed to anew, and a call of the handler that
    /// does not return is reported. Default 30 s.
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.stall_timeout = timeout;
        self
    }

    /// How long [`close`](EventSubscriber::close) waits for the handler. Default 5 s.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// Bounds on what is decoded; as the masters have them.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Who records what this subscriber measures; docs/METRICS.md lists it. Default: the recorder of the process, if one is
    /// installed before the start.
    pub fn recorder(mut self, recorder: Arc<dyn Recorder + Send + Sync>) -> Self {
        self.recording = Recording::of(recorder);
        self
    }

    /// Loads the checkpoint and starts the subscriber. The pipeline need not be reachable; a failure to come is in
    /// [`status`](EventSubscriber::status).
    ///
    /// # Errors
    /// [`SubscriberError::Option`] for a missing or unusable option, [`SubscriberError::CheckpointStore`] and
    /// [`SubscriberError::DeadLetterStore`] if they cannot be read. Nothing was changed.
    ///
    /// # Panics
    /// If called outside of a tokio runtime.
    pub async fn start(self) -> Result<EventSubscriber, SubscriberError> {
        self.check()?;
        let handler = self.on_event.or(self.on_batch).ok_or_else(|| option("on_event", HANDLERS))?;
        let pipeline = self.pipeline.ok_or_else(|| option("pipeline", "it is required"))?;
        let checkpoint = match (&self.checkpoints, self.resume_from) {
            (Some(checkpoints), _) => load(checkpoints.clone(), self.name.clone()).await?,
            (None, resume_from) => resume_from.flatten(),
        };
        let letters = self
            .dead_letter_store
            .map(|store| DeadLetters::new(store, &self.name, &self.namespace, &self.limits));
        let letters_count = match letters.clone() {
            Some(letters) => {
                let counted = tokio::task::spawn_blocking(move || letters.count()).await;
                let reason = match counted {
                    Ok(Ok(count)) => Ok(count),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(error) => Err(error.to_string()),
                };
                reason.map_err(|reason| SubscriberError::DeadLetterStore { reason })?
            }
            None => 0,
        };
        let telemetry = Telemetry::new(&self.namespace, &self.name, &self.recording);
        let shared = Arc::new(Shared::new(checkpoint.clone(), telemetry));
        shared.count(|metrics| metrics.dead_letters = letters_count);
        let (commands, command_queue) = mpsc::channel(COMMANDS_MAX);
        let stop = CancellationToken::new();
        let delivery = Delivery {
            options: Options {
                name: self.name.clone(),
                namespace: self.namespace,
                start_from: self.start_from,
                dead_letters_max: self.dead_letters_max,
                batch_size: self.batch_size,
                poll_interval: self.poll_interval,
                checkpoint_mode: self.checkpoint_mode,
                checkpoint_gaps_max: self.checkpoint_gaps_max,
                max_retries: self.max_retries,
                retry_delay: self.retry_delay,
                stall_timeout: self.stall_timeout,
                limits: self.limits,
            },
            shared: shared.clone(),
            pipeline,
            handler,
            on_error: self.on_error,
            on_gap: self.on_gap,
            checkpoints: self.checkpoints.clone(),
            letters: letters.clone(),
            stop: stop.clone(),
            window: Window::new(self.idempotency_window, self.idempotency_events_max),
            progress: checkpoint,
            pending: Default::default(),
            pending_events: 0,
            one_by_one: 0,
            held_back: false,
            unsaved: false,
            saved_at: Instant::now(),
        };
        let task = tokio::spawn(delivery.run(command_queue));
        Ok(EventSubscriber::new(
            self.name,
            shared,
            commands,
            self.checkpoints,
            letters,
            stop,
            task,
            self.close_timeout,
        ))
    }

    fn check(&self) -> Result<(), SubscriberError> {
        for (what, name) in [("name", &self.name), ("namespace", &self.namespace)] {
            ReplicaId::new(name, Incarnation::from_bits(0))
                .map_err(|error| option(what, &error.to_string()))?;
        }
        if self.on_event.is_some() == self.on_batch.is_some() {
            return Err(option("on_event", HANDLERS));
        }
        match (&self.checkpoints, &self.resume_from) {
            (None, None) => {
                return Err(option("checkpoint_store", "it is required, or resume_from in its place"));
            }
            (Some(_), Some(_)) => {
                return Err(option(
                    "resume_from",
                    "the checkpoint is in checkpoint_store; set one of the two",
                ));
            }
            (None, Some(_)) if self.checkpoint_mode != CheckpointMode::Manual => {
                return Err(option("resume_from", "it needs checkpoint_mode to be manual"));
            }
            _ => {}
        }
        if self.batch_size == 0 {
            return Err(option("batch_size", "it must be at least 1"));
        }
        let interval = match self.checkpoint_mode {
            CheckpointMode::Interval(interval) => interval,
            _ => Duration::MAX,
        };
        let times = [
            ("poll_interval", self.poll_interval),
            ("retry_delay", self.retry_delay),
            ("stall_timeout", self.stall_timeout),
            ("checkpoint_mode", interval),
        ];
        match times.iter().find(|(_, time)| *time < Duration::from_millis(1)) {
            Some((name, _)) => Err(option(name, "it must be at least a millisecond")),
            None => Ok(()),
        }
    }
}

const HANDLERS: &str = "set either on_event or on_batch";

fn option(option: &'static str, reason: &str) -> SubscriberError {
    SubscriberError::Option { option, reason: reason.to_owned() }
}

async fn load(
    checkpoints: Arc<dyn CheckpointStore>,
    name: String,
) -> Result<Option<Checkpoint>, SubscriberError> {
    let loaded = tokio::task::spawn_blocking(move || checkpoints.load(&name)).await;
    let failed = |reason| SubscriberError::CheckpointStore { action: "loaded", reason };
    loaded.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
}

impl fmt::Debug for EventSubscriberBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSubscriberBuilder")
            .field("name", &self.name)
            .field("namespace", &self.namespace)
            .field("checkpoint_mode", &self.checkpoint_mode)
            .finish_non_exhaustive()
    }
}
