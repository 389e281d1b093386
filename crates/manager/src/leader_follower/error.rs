use std::time::Duration;

use archipelago_pipeline::PipelineError;
use archipelago_proto::{DecodeError, EncodeError, WriteRefusal};
use archipelago_store::StoreError;
use serde::Serialize;

/// Who leads, as far as a node knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LeaderInfo {
    /// The node.
    pub id: String,
    /// Where clients reach it, if it told.
    pub address: Option<String>,
}

impl std::fmt::Display for LeaderInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.address {
            Some(address) => write!(f, "{} at {address}", self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

fn shown(leader: Option<&LeaderInfo>) -> String {
    leader
        .map_or_else(|| "nobody leads just now".to_owned(), |leader| format!("write to the leader, {leader}"))
}

/// Why a write was refused or not acknowledged.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// This node follows. Nothing was written: write to the leader, if one is named.
    #[error("FOLLOWER_READ_ONLY: {}", shown(.leader.as_ref()))]
    FollowerReadOnly {
        /// Who leads.
        leader: Option<LeaderInfo>,
    },
    /// The key was to be created, and exists. Nothing was written.
    #[error("{key:?} exists already, with version {version}; update it, or use upsert")]
    AlreadyExists {
        /// The key.
        key: String,
        /// Its version.
        version: u64,
    },
    /// The key was to be updated or deleted, and does not exist. Nothing was written.
    #[error("{key:?} does not exist; create it, or use upsert")]
    NotFound {
        /// The key.
        key: String,
    },
    /// The key has another version than was expected. Nothing was written: read it again, and decide anew.
    #[error("{key:?} has version {}, not {expected}; read it again", found.unwrap_or(0))]
    VersionMismatch {
        /// The key.
        key: String,
        /// What was expected; 0 for a key that does not exist.
        expected: u64,
        /// What it has; `None` if it does not exist.
        found: Option<u64>,
    },
    /// The value or the key is over a limit or cannot be encoded. Permanent for this value; nothing was written.
    #[error(transparent)]
    Value(#[from] EncodeError),
    /// The leader stepped down before the write was in the log, or has too many requests of other nodes under way. Nothing
    /// was written: try again.
    #[error("not written: {reason}; try again")]
    NotWritten {
        /// What happened.
        reason: String,
    },
    /// It is not known whether the write is in the log, or will be. Read before writing again.
    #[error(
        "no acknowledgement within {deadline:?}: the write may or may not be done; read before writing again"
    )]
    OutcomeUnknown {
        /// How long was waited.
        deadline: Duration,
    },
    /// The store failed. The node takes no more writes until it is started again; this one may be in the log.
    #[error("the store failed, and the node stops until it is started again: {reason}")]
    StoreFailed {
        /// What the store said.
        reason: String,
    },
    /// The manager is closed. Nothing was written.
    #[error("the manager is closed")]
    Closed,
}

impl WriteError {
    /// A name for programs, the same in every release.
    pub fn code(&self) -> &'static str {
        match self {
            WriteError::FollowerReadOnly { .. } => "FOLLOWER_READ_ONLY",
            WriteError::AlreadyExists { .. } => "ALREADY_EXISTS",
            WriteError::NotFound { .. } => "NOT_FOUND",
            WriteError::VersionMismatch { .. } => "VERSION_MISMATCH",
            WriteError::Value(_) => "INVALID_VALUE",
            WriteError::NotWritten { .. } => "NOT_WRITTEN",
            WriteError::OutcomeUnknown { .. } => "OUTCOME_UNKNOWN",
            WriteError::StoreFailed { .. } => "STORE_FAILED",
            WriteError::Closed => "CLOSED",
        }
    }

    /// True if the same write, tried again, may succeed without anyone changing anything, and cannot be done twice by it.
    pub fn is_retryable(&self) -> bool {
        match self {
            WriteError::NotWritten { .. } => true,
            WriteError::FollowerReadOnly { leader } => leader.is_none(),
            _ => false,
        }
    }

    /// What the leader said about a write of this key.
    pub(crate) fn refused(key: &str, expected: Option<u64>, refusal: WriteRefusal, waited: Duration) -> Self {
        let key = key.to_owned();
        match refusal {
            WriteRefusal::Exists { version } => WriteError::AlreadyExists { key, version },
            WriteRefusal::Missing => WriteError::NotFound { key },
            WriteRefusal::Version { found } => {
                WriteError::VersionMismatch { key, expected: expected.unwrap_or_default(), found }
            }
            WriteRefusal::NotWritten { reason } => WriteError::NotWritten { reason },
            _ => WriteError::OutcomeUnknown { deadline: waited },
        }
    }

    /// The same for another node.
    pub(crate) fn refusal(&self) -> Option<WriteRefusal> {
        Some(match self {
            WriteError::AlreadyExists { version, .. } => WriteRefusal::Exists { version: *version },
            WriteError::NotFound { .. } => WriteRefusal::Missing,
            WriteError::VersionMismatch { found, .. } => WriteRefusal::Version { found: *found },
            WriteError::FollowerReadOnly { .. } => return None,
            WriteError::OutcomeUnknown { .. } | WriteError::StoreFailed { .. } => WriteRefusal::Unknown,
            other => WriteRefusal::NotWritten { reason: other.to_string() },
        })
    }
}

/// Why a read was not answered. Nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// This node did not come to have what the token stands for in time. Worth trying again, or elsewhere.
    #[error(
        "this node has applied {index}, and the session has seen {wanted}; read from the leader, or later"
    )]
    Behind {
        /// What it has applied.
        index: u64,
        /// What was wanted.
        wanted: u64,
    },
    /// This node could not make sure in time that it is as fresh as was asked. Worth trying again, or elsewhere.
    #[error("this node was last known to be fresh {} ago, and {bound:?} were asked for; read from the leader",
        staleness.map_or_else(|| "never".to_owned(), |staleness| format!("{staleness:?}")))]
    TooStale {
        /// How long ago it was known to have everything; `None` if never.
        staleness: Option<Duration>,
        /// What was asked for.
        bound: Duration,
    },
    /// Nobody could make sure in time that a leader leads. Worth trying again.
    #[error("no leader could confirm the read within {deadline:?}: {}", shown(.leader.as_ref()))]
    NoLeader {
        /// Who leads, as far as is known.
        leader: Option<LeaderInfo>,
        /// How long was waited.
        deadline: Duration,
    },
    /// This node takes the whole state anew, and shows nothing until it has it. Read elsewhere, or later.
    #[error(
        "this node lacks entries that the log no longer holds, and takes the state anew; read elsewhere, or later"
    )]
    Desynced,
    /// The value is not of the type that was asked for.
    #[error(transparent)]
    Value(#[from] DecodeError),
    /// The store failed.
    #[error("the store failed: {reason}")]
    Store {
        /// What the store said.
        reason: String,
    },
    /// The node did not answer. Only said of [other nodes](super::RoutedNode). Worth trying again, or elsewhere.
    #[error("no answer: {reason}")]
    Unreachable {
        /// What happened.
        reason: String,
    },
    /// The manager is closed. Read from another node.
    #[error("the manager is closed")]
    Closed,
}

impl ReadError {
    /// True if another node may answer the same read.
    pub fn may_succeed_elsewhere(&self) -> bool {
        !matches!(self, ReadError::Value(_))
    }

    /// True if the same read may succeed later on this node.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            ReadError::Behind { .. }
                | ReadError::TooStale { .. }
                | ReadError::NoLeader { .. }
                | ReadError::Unreachable { .. }
                | ReadError::Desynced
        )
    }
}

impl From<StoreError> for ReadError {
    fn from(error: StoreError) -> Self {
        ReadError::Store { reason: error.to_string() }
    }
}

/// Why a node was not promoted, demoted, or told to take the state anew.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RoleError {
    /// This node must not lead: it is not eligible, or lacks entries. Permanent until that changes.
    #[error("this node cannot lead: {reason}")]
    NotEligible {
        /// Why.
        reason: String,
    },
    /// It does not lead.
    #[error("this node does not lead: {}", shown(.leader.as_ref()))]
    NotLeader {
        /// Who leads.
        leader: Option<LeaderInfo>,
    },
    /// It did not happen in time. It may still happen.
    #[error("not done within {deadline:?}; look at the state of the node, and try again")]
    Timeout {
        /// How long was waited.
        deadline: Duration,
    },
    /// There is no such node, or it did not answer.
    #[error("the node {node:?} did not do it: {reason}")]
    NoAnswer {
        /// The node.
        node: String,
        /// What happened.
        reason: String,
    },
    /// The pipeline refused.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The manager is closed.
    #[error("the manager is closed")]
    Closed,
}

/// Why a manager could not be closed as it should be. It is closed all the same.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// It was closed before.
    #[error("the manager is closed already")]
    Closed,
    /// The store could not be closed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
