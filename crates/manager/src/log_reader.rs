use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use archipelago_pipeline::{Incoming, LogId, LogState, Pipeline, PipelineError, Subscription};
use archipelago_proto::{DecodeError, Event, Floor, Limits, LogMessage};
use futures::FutureExt;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::{backoff::Backoff, error::LogLost, random::Random};

/// How often the log is looked at for having lost something.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// For how long a log may have more than it delivers before it is subscribed to anew.
pub(crate) const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads one log in order, and notices when it is no longer what was read from, or when it delivers nothing although
/// there is more.
pub(crate) struct LogReader {
    pipeline: Arc<dyn Pipeline>,
    log: Arc<LogId>,
    first_sequence: u64,
    /// The last message delivered.
    last: u64,
    /// When the broker stored it, if that is known.
    last_stored_at: Option<SystemTime>,
    subscription: Option<Box<dyn Subscription>>,
    watch: Interval,
    stall_timeout: Duration,
    random: Random,
    behind_since: Option<Instant>,
}

/// What there is to say of a log.
pub(crate) enum Read {
    /// The next message.
    Message(Incoming),
    /// Someone removed messages up to this one, which had been read.
    Trimmed { to: u64 },
    /// The log had more than was delivered for too long, and was subscribed to anew.
    Resubscribed { after: u64, last_sequence: u64 },
}

impl LogReader {
    /// A reader of this log, at no place yet: [`seek`](Self::seek) comes first.
    pub(crate) fn new(
        pipeline: Arc<dyn Pipeline>,
        log: LogState,
        stall_timeout: Duration,
        random: Random,
    ) -> Self {
        let mut watch = tokio::time::interval(WATCH_INTERVAL.min(stall_timeout / 2));
        watch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        LogReader {
            pipeline,
            log: Arc::new(log.id),
            first_sequence: log.first_sequence,
            last: 0,
            last_stored_at: None,
            subscription: None,
            watch,
            stall_timeout,
            random,
            behind_since: None,
        }
    }

    /// The log that is read.
    pub(crate) fn log(&self) -> &Arc<LogId> {
        &self.log
    }

    /// The next message is the one after `after`. If it is known when `after` was stored, that it still is the same
    /// message is checked before anything is delivered. Waits for the pipeline.
    pub(crate) async fn seek(&mut self, after: u64, stored_at: Option<SystemTime>) -> Result<(), LogLost> {
        // Of the message before one needs nothing but that it is there.
        let from = if stored_at.is_some() { after.saturating_sub(1) } else { after };
        let mut backoff = Backoff::new(self.random.clone());
        self.subscription = loop {
            match self.subscribe(from).await {
                Ok((subscription, state)) => {
                    compare(&self.log, after, &state)?;
                    break Some(subscription);
                }
                Err(error) if error.is_retryable() => backoff.wait().await,
                Err(error) => return Err(error.into()),
            }
        };
        (self.last, self.last_stored_at, self.behind_since) = (after, stored_at, None);
        self.watch.reset_immediately();
        Ok(())
    }

    /// A subscription, and the state of the log afterwards, so that no replacement slips in between.
    async fn subscribe(&mut self, after: u64) -> Result<(Box<dyn Subscription>, LogState), PipelineError> {
        let subscription = self.pipeline.subscribe(after).await?;
        Ok((subscription, self.pipeline.state().await?))
    }

    /// What comes next. Cancel safe: no message is lost.
    pub(crate) async fn next(&mut self) -> Result<Read, LogLost> {
        loop {
            let subscription = self.subscription.as_mut().expect("it was sought before it is read");
            tokio::select! {
                biased;
                message = subscription.next() => {
                    if let Some(read) = self.accept(message?)? {
                        return Ok(read);
                    }
                }
                _ = self.watch.tick() => {
                    if let Some(read) = self.look_for_loss().await? {
                        return Ok(read);
                    }
                }
            }
        }
    }

    /// What comes next, if it is there already.
    pub(crate) fn next_now(&mut self) -> Option<Result<Read, LogLost>> {
        loop {
            let subscription = self.subscription.as_mut().expect("it was sought before it is read");
            let message = subscription.next().now_or_never()?;
            match message.map_err(LogLost::from).and_then(|message| self.accept(message)) {
                Ok(None) => {}
                Ok(Some(read)) => return Some(Ok(read)),
                Err(lost) => return Some(Err(lost)),
            }
        }
    }

    fn accept(&mut self, message: Incoming) -> Result<Option<Read>, LogLost> {
        let name = || self.log.name.clone();
        if message.sequence <= self.last {
            let known = self.last_stored_at.filter(|_| message.sequence == self.last);
            if known.is_some_and(|known| known != message.stored_at) {
                // Another message stands in the place of the one that was read: the log lost its tail and grew since.
                let (after, last_sequence) = (self.last, self.last - 1);
                return Err(PipelineError::LogRegressed { name: name(), after, last_sequence }.into());
            }
            return Ok(None);
        }
        if message.sequence > self.last + 1 {
            return Err(LogLost::Gap { name: name(), from: self.last + 1, to: message.sequence - 1 });
        }
        (self.last, self.last_stored_at) = (message.sequence, Some(message.stored_at));
        self.behind_since = None;
        Ok(Some(Read::Message(message)))
    }

    /// A log that no longer is what was read from says nothing by itself, and a stalled subscription neither.
    async fn look_for_loss(&mut self) -> Result<Option<Read>, LogLost> {
        let state = match self.pipeline.state().await {
            Ok(state) => state,
            Err(error) if error.is_retryable() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        compare(&self.log, self.last, &state)?;
        if state.first_sequence > self.first_sequence {
            self.first_sequence = state.first_sequence;
            return Ok(Some(Read::Trimmed { to: state.first_sequence - 1 }));
        }
        if state.last_sequence == self.last {
            self.behind_since = None;
        } else if self.behind_since.get_or_insert_with(Instant::now).elapsed() >= self.stall_timeout {
            let (after, last_sequence) = (self.last, state.last_sequence);
            tracing::warn!(log = %self.log.name, after, last_sequence, "nothing was delivered; subscribing anew");
            self.seek(after, self.last_stored_at).await?;
            return Ok(Some(Read::Resubscribed { after, last_sequence }));
        }
        Ok(None)
    }
}

/// Whether `state` is that of the log of which `last` was the last message read, and still holds all that comes after
/// it.
pub(crate) fn compare(log: &LogId, last: u64, state: &LogState) -> Result<(), LogLost> {
    if state.id != *log {
        let (expected, found) = (log.clone(), state.id.clone());
        return Err(PipelineError::LogReplaced { expected, found }.into());
    }
    let name = || state.id.name.clone();
    if state.last_sequence < last {
        let (after, last_sequence) = (last, state.last_sequence);
        return Err(PipelineError::LogRegressed { name: name(), after, last_sequence }.into());
    }
    if state.first_sequence > last + 1 {
        return Err(LogLost::Gap { name: name(), from: last + 1, to: state.first_sequence - 1 });
    }
    Ok(())
}

/// What is in a message of the log.
pub(crate) enum Decoded {
    Events(Vec<Event>),
    Floor(Floor),
    /// Nothing by itself: it is a part of a payload that comes with another message, or never does.
    Part,
    /// Nothing that anyone can use.
    Unusable {
        reason: String,
    },
    /// Something that a newer build can read.
    Newer(DecodeError),
}

/// Reads a message of the log. Anyone who may publish can have written it.
pub(crate) fn decode(incoming: Incoming, namespace: &str, limits: &Limits) -> Decoded {
    let unusable = |reason: &str| Decoded::Unusable { reason: reason.to_owned() };
    let Some(payload) = incoming.payload else { return Decoded::Part };
    let message = match LogMessage::decode(payload, limits) {
        Ok(message) => message,
        Err(error) if error.is_from_the_future() => return Decoded::Newer(error),
        Err(error) => return unusable(&error.to_string()),
    };
    let (of, by) = match &message {
        LogMessage::Events(batch) => (&batch.namespace, batch.events[0].dot.actor.name()),
        LogMessage::Floor(floor) => (&floor.namespace, floor.replica.name()),
        _ => return unusable("it is of no use here"),
    };
    if of != namespace {
        return unusable("it is of another namespace");
    }
    if by != incoming.origin {
        return unusable("its origin is not the one that its subject names");
    }
    match message {
        LogMessage::Events(batch) => Decoded::Events(batch.events),
        LogMessage::Floor(floor) => Decoded::Floor(floor),
        _ => unusable("it is of no use here"),
    }
}
