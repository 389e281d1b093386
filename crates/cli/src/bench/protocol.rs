//! What is asked of a node and what it answers: the same in this process and over the pipes of a child.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::server::Server;

/// What a node is started with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NodeOptions {
    pub(crate) name: String,
    pub(crate) namespace: String,
    /// Where its store is; `None` for memory.
    pub(crate) folder: Option<PathBuf>,
    pub(crate) lease_ms: u64,
    /// How many entries the log keeps.
    pub(crate) log_entries_max: u64,
    pub(crate) seed: u64,
    /// `None` for the broker inside the process.
    pub(crate) server: Option<Server>,
    pub(crate) replicas: u8,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// The first one to a child.
    Start(NodeOptions),
    /// Creates a key.
    Create {
        key: String,
        value: String,
    },
    Standing,
    /// Waits until it has applied so much.
    Reach {
        sequence: u64,
        deadline_ms: u64,
    },
    /// The next keys, in order, with their values.
    Rows {
        after: Option<String>,
        count: usize,
    },
    Close,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Done,
    Written {
        sequence: u64,
        term: u64,
    },
    /// Nothing was written, and may be elsewhere or later.
    NotWritten {
        reason: String,
    },
    /// Whether it was written is not known.
    Unknown {
        reason: String,
    },
    /// The key exists, although nobody else creates it.
    Exists {
        version: u64,
    },
    Standing(Standing),
    Rows(Vec<(String, String)>),
    Failed {
        reason: String,
    },
}

/// How a node is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Standing {
    pub(crate) leads: bool,
    pub(crate) term: u64,
    pub(crate) sequence: u64,
    /// The digest of the state, and that of the history.
    pub(crate) digest: String,
    pub(crate) history: String,
    pub(crate) keys: u64,
}
