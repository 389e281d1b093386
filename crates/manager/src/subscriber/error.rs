use std::time::Duration;

use archipelago_clock::Dot;
use archipelago_pipeline::PipelineError;

use super::DeadLetterId;

/// What a handler, or a store of checkpoints that is not of this crate, says of its failure.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// Why a subscriber did not start, or stopped. Events that were not handled are not lost by it: a subscriber started
/// again goes on from its checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubscriberError {
    /// An option is missing or not usable. Permanent; nothing was changed.
    #[error("{option}: {reason}")]
    Option {
        /// The name of the option.
        option: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The checkpoint cannot be loaded or saved. What was handled since the last one is delivered again after the next
    /// start.
    #[error("the checkpoint cannot be {action}: {reason}; mend the checkpoint store and start again")]
    CheckpointStore {
        /// `loaded` or `saved`.
        action: &'static str,
        /// What the store said.
        reason: String,
    },
    /// The store of dead letters failed. The event that was to go there was not handled.
    #[error("the store of dead letters failed: {reason}; mend it and start again")]
    DeadLetterStore {
        /// What the store said.
        reason: String,
    },
    /// The log was deleted, made again, trimmed or shortened under the subscriber: events may be missing for ever.
    #[error(
        "the log is lost: {reason}; compare with a replica's state, then start with on_gap that resumes, or with \
        an empty checkpoint store"
    )]
    LogLost {
        /// What happened to it.
        reason: String,
    },
    /// The broker refuses for good.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// `start_from` names a place where the log cannot be read.
    #[error("start_from: {0}")]
    StartFrom(ReplayError),
    /// The handler failed too often on an event, and there is no store of dead letters to put it aside.
    #[error(
        "the handler failed {attempts} times on event {event} in message {sequence}: {reason}; mend it and start \
        again, or set dead_letter_store"
    )]
    HandlerFailed {
        /// The event.
        event: Dot,
        /// The message of the log that brought it.
        sequence: u64,
        /// How often it was tried.
        attempts: u32,
        /// What the handler said last.
        reason: String,
    },
    /// The store of dead letters is full. The event that was to go there was not handled.
    #[error(
        "{dead_letters} dead letters are stored, the limit dead_letters_max; retry or discard some, or raise it, and \
        start again"
    )]
    DeadLettersFull {
        /// How many there are.
        dead_letters: u64,
    },
    /// The log has events of more masters than a checkpoint can name.
    #[error("the log has events of more than {origins_max} masters, the limit of a checkpoint")]
    TooManyOrigins {
        /// The limit.
        origins_max: usize,
    },
    /// Too many events came out of order within the idempotency window.
    #[error(
        "{events_max} events are remembered beyond what the checkpoint holds, the limit idempotency_events_max; raise \
        it or checkpoint_gaps_max"
    )]
    WindowFull {
        /// The limit.
        events_max: usize,
    },
    /// The task of the subscriber ended without a reason of its own: a panic outside of the handler, or the end of the
    /// runtime.
    #[error("the task of the subscriber was ended from outside")]
    Aborted,
}

/// Why nothing is replayed. Delivery goes on as it was.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The log no longer has that message.
    #[error("the log begins at message {first_sequence}: {asked} is gone")]
    Gone {
        /// The message asked for.
        asked: u64,
        /// The oldest one that is there.
        first_sequence: u64,
    },
    /// That message is yet to be delivered anyway. A replay goes back; it cannot skip anything.
    #[error("message {asked} is yet to come: the next one is {next_sequence}")]
    Ahead {
        /// The message asked for.
        asked: u64,
        /// The one that is delivered next.
        next_sequence: u64,
    },
    /// The log cannot be read now. Worth retrying if the inner error is.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The log did not deliver a message that it has, within this time. Worth retrying.
    #[error("the log did not deliver a message within {waited:?}")]
    Silent {
        /// How long it was waited for.
        waited: Duration,
    },
    /// Called from within a handler, which the replay would have to wait for. Send yourself a message instead.
    #[error("a replay cannot be asked for from within the handler; do it from another task")]
    WithinHandler,
    /// The subscriber is stopped or closed; its status says why.
    #[error("the subscriber does not run")]
    Stopped,
}

/// Why a dead letter was not listed, retried or discarded. It is where it was.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeadLetterError {
    /// The subscriber was started without `dead_letter_store`.
    #[error("there is no store of dead letters: set dead_letter_store")]
    NoStore,
    /// There is no such dead letter (any more).
    #[error("there is no dead letter {id}")]
    Unknown {
        /// The one asked for.
        id: DeadLetterId,
    },
    /// The handler failed on it again. It stays, with the new reason.
    #[error("the handler failed again: {reason}")]
    Failed {
        /// What the handler said.
        reason: String,
    },
    /// The store failed, or a row of it is damaged.
    #[error("the store of dead letters failed: {reason}")]
    Store {
        /// What is wrong.
        reason: String,
    },
    /// Called from within a handler, which the retry would have to wait for.
    #[error("a dead letter cannot be retried from within the handler; do it from another task")]
    WithinHandler,
    /// The subscriber is stopped or closed; its status says why.
    #[error("the subscriber does not run")]
    Stopped,
}
