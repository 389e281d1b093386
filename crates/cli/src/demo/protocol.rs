//! What is asked of a master and what it answers: the same in this process and over the pipes of a child.

use std::{collections::BTreeMap, path::PathBuf};

use archipelago::{
    Strategy, Value,
    clock::{Dot, Hlc, ReplicaId, VersionVector},
};
use serde::{Deserialize, Serialize};

use crate::server::Server;

/// What a master is started with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MasterOptions {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) folder: PathBuf,
    pub(crate) strategy: Strategy,
    /// `None` for the broker inside the process.
    pub(crate) server: Option<Server>,
    /// The largest message that the broker takes, in bytes.
    pub(crate) payload_bytes_max: Option<usize>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// The first one to a child.
    Start(MasterOptions),
    Put {
        entity: String,
        value: Value,
    },
    Patch {
        entity: String,
        fields: BTreeMap<String, Value>,
    },
    /// Cut off from the pipeline.
    Cut,
    Heal,
    Status,
    Digest,
    /// The next ids, in order, of entities with a value.
    Ids {
        after: Option<String>,
        count: usize,
    },
    /// What is held of these entities.
    Holdings {
        entities: Vec<String>,
    },
    /// The most recent conflicts.
    Conflicts {
        count: usize,
    },
    Close,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Done,
    Written(Written),
    Status(Status),
    Digest { vector: VersionVector, digest: String },
    Ids(Vec<String>),
    Holdings(Vec<Vec<Holding>>),
    Conflicts(Vec<Conflict>),
    Refused { reason: String, retryable: bool },
}

/// A write was acknowledged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Written {
    pub(crate) dot: Dot,
    pub(crate) hlc: Hlc,
    pub(crate) queued: bool,
}

/// How a master is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) replica: ReplicaId,
    pub(crate) vector: VersionVector,
    pub(crate) conflicts: u64,
    pub(crate) messages_unreadable: u64,
    pub(crate) logs_lost: u64,
    pub(crate) repairs: u64,
    pub(crate) outbox: u64,
    /// Why the pipeline is away, if it is.
    pub(crate) down: Option<String>,
    /// What the master cannot mend by itself.
    pub(crate) trouble: Option<String>,
}

/// One live version of an entity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Holding {
    pub(crate) dot: Dot,
    pub(crate) hlc: Hlc,
    /// The fields that this version holds, each with the [fingerprint] of its value.
    pub(crate) fields: BTreeMap<String, u64>,
}

/// Two values that did not know of each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Conflict {
    pub(crate) entity: String,
    pub(crate) field: Option<String>,
    pub(crate) winner: Side,
    pub(crate) loser: Side,
    pub(crate) reason: String,
}

/// One side of a conflict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Side {
    pub(crate) master: String,
    pub(crate) dot: Dot,
    pub(crate) hlc: Hlc,
    pub(crate) value: Option<Value>,
}

/// A number that tells values apart, the same in each process of this program.
pub(crate) fn fingerprint(value: &Value) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}
