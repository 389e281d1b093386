use std::time::Duration;

use crate::LogId;

/// Why the pipeline could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The broker cannot be reached. Nothing was stored. Worth retrying.
    #[error("the broker cannot be reached: {reason}")]
    Unavailable {
        /// What the connection said.
        reason: String,
    },
    /// No acknowledgement came in time: whether the message was stored is unknown. Worth retrying with the same
    /// message id.
    #[error("no acknowledgement within {deadline:?}; the message may or may not be stored")]
    AckTimeout {
        /// The deadline that passed.
        deadline: Duration,
    },
    /// A replica that was asked did not answer in time, or is not there. Worth asking again, or asking another one.
    #[error("the replica {name:?} did not answer within {deadline:?}")]
    NoAnswer {
        /// Who was asked.
        name: String,
        /// The deadline.
        deadline: Duration,
    },
    /// The broker refused the credentials or the action. Permanent until someone mends the permissions.
    #[error("the broker refused access: {reason}; check user, password, token or credentials file")]
    Unauthorized {
        /// What the broker said.
        reason: String,
    },
    /// The payload is larger than the pipeline takes. Permanent for this payload; nothing was sent.
    #[error(
        "a payload of {bytes} bytes is over the limit of {bytes_max}; raise payload_bytes_max for all replicas"
    )]
    TooLarge {
        /// The size of the payload.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The log does not exist (any more). Permanent until it is opened again.
    #[error("the log {name:?} does not exist on the broker")]
    LogMissing {
        /// The name of the log.
        name: String,
    },
    /// A log of that name exists, but it is another one. Permanent.
    #[error("the log {:?} was deleted and made again: expected the one created at {}, found {}",
        found.name, expected.created_unix_ns, found.created_unix_ns)]
    LogReplaced {
        /// The log that was known.
        expected: LogId,
        /// The log that is there now.
        found: LogId,
    },
    /// The log is still the same one but ends before what was already delivered: the broker lost acknowledged
    /// messages and will give their sequences to others. Permanent for this position; what is missing comes by
    /// repair from other replicas, never from the log.
    #[error(
        "the log {name:?} ends at {last_sequence}, before {after} which was already delivered: it lost its tail"
    )]
    LogRegressed {
        /// The name of the log.
        name: String,
        /// The sequence the reader had reached.
        after: u64,
        /// The newest sequence that the log knows now.
        last_sequence: u64,
    },
    /// The log does not end where the append expects it to: somebody else appended, or the log lost its tail. Permanent
    /// for this append; nothing was stored, except some messages of a payload that takes several.
    #[error("the log {name:?} does not end at {expected}{}", ends_at(*last_sequence))]
    WrongLastSequence {
        /// The name of the log.
        name: String,
        /// The last sequence that was expected.
        expected: u64,
        /// The last sequence at that moment, if the broker said it.
        last_sequence: Option<u64>,
    },
    /// A namespace, an origin or a message id has characters or a length that do not travel. Permanent; nothing was
    /// sent.
    #[error(
        "{name:?} is no valid name: namespaces and origins are 1 to 64 of A-Z a-z 0-9 _ -, message ids 1 to \
        256 visible ASCII characters"
    )]
    InvalidName {
        /// The name that was given.
        name: String,
    },
    /// The broker cannot do what is needed, for example because JetStream is off. Permanent until someone
    /// reconfigures it.
    #[error("the broker is not usable: {reason}")]
    Misconfigured {
        /// What is wrong and what to change.
        reason: String,
    },
    /// The broker refused for a reason of its own. Worth retrying with backoff.
    #[error("the broker answered with an error: {reason}")]
    Refused {
        /// What the broker said.
        reason: String,
    },
    /// The pipeline was closed. Permanent for this handle.
    #[error("the pipeline is closed")]
    Closed,
}

fn ends_at(last_sequence: Option<u64>) -> String {
    last_sequence.map_or_else(String::new, |last| format!(" but at {last}"))
}

impl PipelineError {
    /// True if the log is not what it was: gone, replaced, or shorter.
    pub fn is_loss(&self) -> bool {
        matches!(
            self,
            PipelineError::LogMissing { .. }
                | PipelineError::LogReplaced { .. }
                | PipelineError::LogRegressed { .. }
        )
    }

    /// True if the same call may succeed later without anyone changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            PipelineError::Unavailable { .. }
                | PipelineError::AckTimeout { .. }
                | PipelineError::NoAnswer { .. }
                | PipelineError::Refused { .. }
        )
    }
}
