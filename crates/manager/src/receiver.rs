use std::{sync::Arc, time::Duration};

use archipelago_pipeline::{Incoming, LogId, LogState, Pipeline, PipelineError, Subscription};
use archipelago_proto::{DecodeError, EventBatch};
use archipelago_store::{Batch, Durability};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    Notification,
    backoff::Backoff,
    error::LogLost,
    metrics,
    persist::{self, Checkpoint},
    replica::{Content, Message, ReadFrom},
    shared::Shared,
};

/// How often the log is looked at for having lost something.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Reads the log from the checkpoint on and hands each message to the owner of the engine.
pub(crate) struct Receiver {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pipeline: Arc<dyn Pipeline>,
    pub(crate) messages: mpsc::Sender<Message>,
    pub(crate) read_from: watch::Receiver<ReadFrom>,
}

impl Receiver {
    /// Runs until the owner of the engine is gone, or the broker refuses for good.
    pub(crate) async fn run(mut self, mut checkpoint: Option<Checkpoint>) {
        while let Err(lost) = self.follow(checkpoint.as_ref()).await {
            self.shared.log_is_lost(lost.to_string());
            checkpoint = match self.start_over(checkpoint, &lost).await {
                Some(checkpoint) => Some(checkpoint),
                None => return,
            };
        }
    }

    /// Where the log is to be followed from after it was lost, replaced, shortened or trimmed; `None` if it cannot be.
    ///
    /// What was in it and is no more is not looked for here: heartbeats tell which master lacks what, and repair brings
    /// it.
    async fn start_over(&mut self, known: Option<Checkpoint>, lost: &LogLost) -> Option<Checkpoint> {
        if !lost.is_mendable() {
            return None;
        }
        // Whoever comes first makes the new log.
        let log = self.open(None).await.ok()?;
        let read = known.filter(|known| known.log == log.id).map_or(0, |known| known.sequence);
        let sequence = read.max(log.first_sequence - 1).min(log.last_sequence);
        let (done, stored) = oneshot::channel();
        let content = Content::Changed(done);
        let reading = self.read_from.borrow().reading;
        let message = Message { reading, log: Arc::new(log.id.clone()), sequence, content };
        self.messages.send(message).await.ok()?;
        stored.await.ok()?;
        Some(Checkpoint { log: log.id, sequence })
    }

    async fn follow(&mut self, checkpoint: Option<&Checkpoint>) -> Result<(), LogLost> {
        let log = self.open(checkpoint).await?;
        let mut known = Arc::new(log.id.clone());
        let mut first_sequence = log.first_sequence;
        if checkpoint.is_none() && log.first_sequence > 1 {
            return Err(LogLost::Gap { name: log.id.name, from: 1, to: log.first_sequence - 1 });
        }
        let start = checkpoint.cloned().unwrap_or(Checkpoint { log: log.id, sequence: 0 });
        if !self.remember(&start).await {
            return Ok(());
        }
        self.shared.log_is_open.send_replace(true);
        self.shared.log_is_back(self.pipeline.status().borrow().clone());
        loop {
            let from = *self.read_from.borrow_and_update();
            let mut reading =
                Reading { from, log: &mut known, first_sequence: &mut first_sequence, last: from.after };
            if !self.read(&mut reading).await? {
                return Ok(());
            }
        }
    }

    /// Stores which log it is, before anything is sent to it: should the broker lose it while this master is away, that
    /// is noticed at the next start. False if the store failed.
    async fn remember(&self, checkpoint: &Checkpoint) -> bool {
        let mut batch = Batch::new();
        persist::put_checkpoint(&mut batch, checkpoint);
        let store = self.shared.store.clone();
        let committed = tokio::task::spawn_blocking(move || store.commit(batch, Durability::Fsync)).await;
        let failure = match committed {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!(%failure, "the identity of the log cannot be stored; nothing is read or sent");
        self.shared.notify(Notification::StoreFailed { reason: failure });
        false
    }

    /// The state of the log, once it can be had. Only a replica that has read nothing yet may create it.
    async fn open(&self, checkpoint: Option<&Checkpoint>) -> Result<LogState, LogLost> {
        let mut backoff = Backoff::default();
        loop {
            let state = match checkpoint {
                None => self.pipeline.open().await,
                Some(_) => self.pipeline.state().await,
            };
            match state {
                Ok(state) => {
                    return checkpoint.map_or(Ok(()), |known| compare(known, &state)).map(|()| state);
                }
                Err(error) if error.is_retryable() => {
                    tracing::debug!(%error, "the log cannot be opened yet");
                    backoff.wait().await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads on until another reading is ordered (true) or nobody wants messages any more (false).
    async fn read(&mut self, reading: &mut Reading<'_>) -> Result<bool, LogLost> {
        let mut subscription = self.subscribe(reading.from.after).await?;
        let mut watch = tokio::time::interval(WATCH_INTERVAL);
        watch.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                changed = self.read_from.changed() => return Ok(changed.is_ok()),
                message = subscription.next() => {
                    if !self.deliver(message?, reading).await? {
                        return Ok(false);
                    }
                }
                _ = watch.tick() => self.look_for_loss(reading).await?,
            }
        }
    }

    async fn subscribe(&self, after: u64) -> Result<Box<dyn Subscription>, LogLost> {
        let mut backoff = Backoff::default();
        loop {
            match self.pipeline.subscribe(after).await {
                Ok(subscription) => return Ok(subscription),
                Err(error) if error.is_retryable() => backoff.wait().await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// False if nobody wants messages any more.
    async fn deliver(&self, incoming: Incoming, reading: &mut Reading<'_>) -> Result<bool, LogLost> {
        let sequence = incoming.sequence;
        if sequence <= reading.last {
            return Ok(true);
        }
        if sequence > reading.last + 1 {
            let name = reading.log.name.clone();
            return Err(LogLost::Gap { name, from: reading.last + 1, to: sequence - 1 });
        }
        reading.last = sequence;
        let content = self.decode(incoming);
        let message = Message { reading: reading.from.reading, log: reading.log.clone(), sequence, content };
        Ok(self.messages.send(message).await.is_ok())
    }

    fn decode(&self, incoming: Incoming) -> Content {
        let sequence = incoming.sequence;
        let skip = |reason: &dyn std::fmt::Display| {
            metrics::add(&self.shared.counters.messages_unreadable, 1);
            tracing::warn!(sequence, %reason, "a message of the log is not usable and was skipped");
            Content::Nothing
        };
        match EventBatch::decode(incoming.payload, &self.shared.limits) {
            Ok(batch) if batch.namespace != self.shared.namespace => skip(&"it is of another namespace"),
            Ok(batch) if batch.events[0].dot.actor.name() != incoming.origin => {
                skip(&"its origin is not the one that its subject names")
            }
            Ok(batch) => Content::Events(batch.events),
            Err(error @ DecodeError::UnsupportedVersion { .. })
            | Err(error @ DecodeError::Unknown { .. }) => {
                metrics::add(&self.shared.counters.messages_unreadable, 1);
                tracing::error!(sequence, %error, "a message of the log needs a newer build; it is kept for one");
                Content::Unreadable
            }
            Err(error) => skip(&error),
        }
    }

    /// A log that no longer is what was read from says nothing by itself.
    async fn look_for_loss(&self, reading: &mut Reading<'_>) -> Result<(), LogLost> {
        let state = match self.pipeline.state().await {
            Ok(state) => state,
            Err(error) if error.is_retryable() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let checkpoint = Checkpoint { log: LogId::clone(reading.log), sequence: reading.last };
        compare(&checkpoint, &state)?;
        // Also if only a message that was sent said otherwise.
        self.shared.log_is_back(self.pipeline.status().borrow().clone());
        if state.first_sequence > *reading.first_sequence {
            *reading.first_sequence = state.first_sequence;
            let (name, to) = (&state.id.name, state.first_sequence - 1);
            let reason = format!("the log {name:?} no longer holds its messages up to {to}");
            tracing::error!(%reason, "the shared log was trimmed");
            self.shared.notify(Notification::LogTrimmed { reason });
        }
        Ok(())
    }
}

/// One pass over the log.
struct Reading<'a> {
    from: ReadFrom,
    log: &'a mut Arc<LogId>,
    first_sequence: &'a mut u64,
    /// The last message delivered.
    last: u64,
}

/// Whether `state` is that of the log which `known` was read from, and still holds all that comes after it.
fn compare(known: &Checkpoint, state: &LogState) -> Result<(), LogLost> {
    if state.id != known.log {
        let (expected, found) = (known.log.clone(), state.id.clone());
        return Err(PipelineError::LogReplaced { expected, found }.into());
    }
    if state.last_sequence < known.sequence {
        let (name, after) = (state.id.name.clone(), known.sequence);
        return Err(PipelineError::LogRegressed { name, after, last_sequence: state.last_sequence }.into());
    }
    if state.first_sequence > known.sequence + 1 {
        let name = state.id.name.clone();
        return Err(LogLost::Gap { name, from: known.sequence + 1, to: state.first_sequence - 1 });
    }
    Ok(())
}
