//! What is asked of a node and what it answers, over the pipes of its process.

use std::path::PathBuf;

use archipelago_testkit::history::{KvOp, KvResult};
use serde::{Deserialize, Serialize};

/// What a node is started with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NodeOptions {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) folder: PathBuf,
    pub(crate) servers: String,
    pub(crate) replicas: usize,
    pub(crate) lease_ms: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// The first one to a child.
    Start(NodeOptions),
    /// A write or a read.
    Do(KvOp),
    /// Sets the clock this far ahead of the system's, or behind it.
    SetClock {
        offset_ms: i64,
    },
    /// The node shall lead.
    Promote,
    Status,
    Close,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Done,
    /// The operation was answered; a write that was done has the term of who led.
    Did {
        result: KvResult,
        term: Option<u64>,
    },
    /// It had no effect and never will.
    NotDone {
        leader: Option<String>,
        reason: String,
    },
    /// Nobody knows whether it has or will have an effect.
    Unknown,
    Status(Box<Status>),
    Refused {
        reason: String,
    },
    /// Not asked for.
    Told(Told),
}

/// How a node is doing, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) role: String,
    pub(crate) leader: Option<String>,
    pub(crate) term: u64,
    /// The last entry that is applied, and the digest of the state and of the history with it.
    pub(crate) index: u64,
    pub(crate) digest: String,
    pub(crate) history: String,
    pub(crate) trouble: Option<String>,
}

/// What a node tells when it happens, by the monotonic clock that all processes of a machine share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Told {
    Promoted {
        term: u64,
        at_ns: u64,
    },
    Demoted {
        term: u64,
        at_ns: u64,
        reason: String,
    },
    Mended {
        from: u64,
        to: u64,
    },
    /// Entries that were told of are nowhere to be had.
    Missing {
        have: u64,
        told: u64,
    },
    Orphaned {
        from: u64,
        to: u64,
    },
    StoreFailed {
        reason: String,
    },
    /// So many notifications came too fast.
    Missed(u64),
}
