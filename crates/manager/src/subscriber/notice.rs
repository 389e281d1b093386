use std::{sync::Arc, time::Duration};

use archipelago_clock::Dot;
use serde::Serialize;
use tokio::sync::broadcast;

use super::{Checkpoint, SubscriberError};

/// How a subscriber is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SubscriberStatus {
    /// It waits for the broker, or for a first master to make the log.
    Connecting,
    /// It delivers what comes.
    Following,
    /// It delivers messages again.
    Replaying {
        /// The last one of them.
        until: u64,
    },
    /// It ended by itself. Start a new one once the reason is mended.
    Stopped {
        /// Why.
        error: Arc<SubscriberError>,
    },
    /// It was closed, or its last handle dropped.
    Closed,
}

/// A handler failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeliveryFailure {
    /// The events that it was called with.
    pub events: Vec<Dot>,
    /// The message of the log that brought the first of them.
    pub sequence: u64,
    /// The how-manieth attempt this was.
    pub attempt: u32,
    /// What the handler said, or why it panicked.
    pub reason: String,
    /// What happens now.
    pub next: NextStep,
}

/// What happens after a handler failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NextStep {
    /// It is called again with the same events. Later ones wait.
    Retry {
        /// After this time.
        after: Duration,
    },
    /// Its retries are used up. It is called with each event of the batch by itself, so that only those are put aside
    /// that fail by themselves.
    OneByOne,
    /// The event is put into the store of dead letters, and later ones go on.
    DeadLetter,
    /// The subscriber stops.
    Stop,
}

/// The log is no longer what was read from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Gap {
    /// What happened to the log, for people.
    pub reason: String,
    /// How far the subscriber was. All that it has as handled is handled; what came after it may be missing.
    pub checkpoint: Checkpoint,
}

/// What to do about a [`Gap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapAction {
    /// Stop with [`SubscriberError::LogLost`].
    Stop,
    /// Go on from the first message that the log has. Events that were handled are not delivered again. Whoever says
    /// this has made up for what is missing, from a replica's state for example, or can do without it.
    Resume,
}

/// Something that happened to a subscriber.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SubscriberNotice {
    /// The log was deleted, made again, trimmed or shortened: `on_gap` decides what happens.
    Gap {
        /// What a person should read about it.
        reason: String,
    },
    /// Delivery goes on after a gap.
    Resumed {
        /// The message after which.
        after: u64,
    },
    /// Someone removed old messages, which had been read here. A replay cannot reach them any more.
    Trimmed {
        /// The last one that is gone.
        to: u64,
    },
    /// The log had messages and delivered none for `stall_timeout`; it was subscribed to anew.
    Resubscribed {
        /// The last message delivered.
        after: u64,
        /// The newest message of the log.
        last_sequence: u64,
    },
    /// The handler has been busy with one call for longer than `stall_timeout`. It is not interrupted.
    HandlerStalled {
        /// The first event of the call.
        event: Dot,
        /// For how long by now.
        busy: Duration,
    },
    /// An event was put into the store of dead letters.
    DeadLettered {
        /// The event.
        event: Dot,
        /// What the handler said last.
        reason: String,
    },
    /// A message is not usable by anyone (it was skipped), or only by a newer build (then the checkpoint stays before
    /// it, so that a newer build finds it).
    Unreadable {
        /// The message.
        sequence: u64,
        /// What is wrong with it.
        reason: String,
        /// True if a newer build can read it.
        newer_build: bool,
    },
    /// All that was to be delivered again is.
    ReplayFinished {
        /// The last message of it.
        until: u64,
    },
    /// The listener was too slow for so many notices; they are gone.
    Missed(u64),
}

/// How many notices wait for a slow listener.
pub const SUBSCRIBER_NOTICES_MAX: usize = 1_024;

/// What happens to a subscriber, from the call of [`notices`](super::EventSubscriber::notices) on. Up to
/// [`SUBSCRIBER_NOTICES_MAX`] wait; beyond that the oldest are dropped and [`SubscriberNotice::Missed`] tells how many.
#[derive(Debug)]
pub struct SubscriberNotices(pub(super) broadcast::Receiver<SubscriberNotice>);

impl SubscriberNotices {
    /// The next notice; `None` once the subscriber has ended. Cancel safe.
    pub async fn next(&mut self) -> Option<SubscriberNotice> {
        match self.0.recv().await {
            Ok(notice) => Some(notice),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(SubscriberNotice::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// Counts since the subscriber was started, and gauges as of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SubscriberMetrics {
    /// Events that the handler handled.
    pub events_handled: u64,
    /// Calls of the handler that failed.
    pub failures: u64,
    /// Events that were not delivered because they had been.
    pub duplicates_skipped: u64,
    /// Events put into the store of dead letters.
    pub events_dead_lettered: u64,
    /// Messages that were skipped because nobody can use them, or that wait for a newer build.
    pub messages_unreadable: u64,
    /// Checkpoints saved by the subscriber itself.
    pub checkpoints_saved: u64,
    /// Times that a silent log was subscribed to anew.
    pub resubscribed: u64,
    /// Gauge: the last message of the log of which every event is handled.
    pub sequence: u64,
    /// Gauge: dead letters in the store.
    pub dead_letters: u64,
    /// Gauge: handled events that only the idempotency window remembers.
    pub window_events: u64,
}
