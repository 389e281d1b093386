//! What is asked of a master and what it answers, over the pipes of its process.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use archipelago::{
    SessionToken, Value,
    clock::{Dot, Hlc, ReplicaId, VersionVector},
};
use serde::{Deserialize, Serialize};

/// Entities whose id begins so are counters and sets, under CRDT merge; all others are registers, under last writer wins.
pub(crate) const CRDTS: &str = "crdt/";

/// What a master is started with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MasterOptions {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) folder: PathBuf,
    pub(crate) servers: String,
    pub(crate) replicas: usize,
    pub(crate) heartbeat_ms: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// The first one to a child.
    Start(MasterOptions),
    Write(Write),
    Read(Read),
    /// Sets the clock this far ahead of the system's, or behind it.
    SetClock {
        offset_ms: i64,
    },
    /// Cut off from the pipeline.
    Cut,
    Heal,
    Status,
    Digest,
    /// What is held of these registers.
    Registers {
        ids: Vec<String>,
    },
    /// What is held of these counters and sets.
    Crdts {
        ids: Vec<String>,
    },
    /// Writes `count` registers `<prefix><number>`, each with the number as its value.
    Fill {
        prefix: String,
        from: u64,
        count: u64,
    },
    /// Removes them.
    Clear {
        prefix: String,
        from: u64,
        count: u64,
    },
    /// How many entities under the prefix have a value; counts up to `limit`.
    Visible {
        prefix: String,
        limit: usize,
    },
    Retire {
        name: String,
    },
    Reclaimable,
    Close,
}

/// One write of the load.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Write {
    pub(crate) id: String,
    pub(crate) op: Op,
    pub(crate) ack: AckWanted,
    /// What must be applied before: what the writer's session has seen.
    pub(crate) after: Option<SessionToken>,
}

/// One read of a session: of a register, once all is applied that the session has seen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Read {
    pub(crate) id: String,
    pub(crate) after: SessionToken,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Op {
    /// The register has the value that belongs to this number.
    Put(u64),
    Delete,
    /// Both counters move, in one write.
    Count {
        by: Amounts,
        actor: Actor,
    },
    /// The set has this element.
    Add {
        element: u64,
        actor: Actor,
    },
    /// The set has it no more.
    Take {
        element: u64,
    },
}

/// What one write counts: `hits` only grow, `balance` goes both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Amounts {
    pub(crate) hits: u64,
    pub(crate) balance: i64,
}

/// Under whose name a CRDT is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Actor {
    /// The master's identity, as applications do.
    Master,
    /// A name that each process mints when it starts: where two processes run on copies of one store, as long as
    /// neither knows, what both count under the master's name is by design the greater of the two, not the sum.
    Process,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AckWanted {
    Local,
    Pipeline,
    OnePeer,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Done,
    Written(Written),
    /// What a session read, and what it has seen with it.
    Seen {
        number: Option<u64>,
        seen: SessionToken,
    },
    Status(Box<Status>),
    Digest {
        vector: VersionVector,
        digest: String,
    },
    Registers(Vec<Option<Held>>),
    Crdts(Vec<Option<Counted>>),
    Visible(usize),
    Reclaimable(Reclaimable),
    Refused {
        reason: String,
        outcome_unknown: bool,
    },
}

/// A write was acknowledged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Written {
    pub(crate) dot: Dot,
    pub(crate) hlc: Hlc,
    /// All that the master had applied, with the write.
    pub(crate) seen: SessionToken,
    /// False if a `Take` found nothing to take.
    pub(crate) took_effect: bool,
}

/// The version of a register that wins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Held {
    pub(crate) dot: Dot,
    pub(crate) hlc: Hlc,
    pub(crate) value: HeldValue,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HeldValue {
    Removed,
    /// The number whose value it is.
    Number(u64),
    /// What nobody can have written.
    Damaged(String),
}

/// A counter and a set as they are read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub(crate) amounts: Amounts,
    pub(crate) elements: BTreeSet<u64>,
}

/// How a master is doing, as it says itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) replica: ReplicaId,
    pub(crate) vector: VersionVector,
    pub(crate) outbox: u64,
    pub(crate) buffered: u64,
    pub(crate) tombstones: u64,
    pub(crate) repairs: u64,
    pub(crate) logs_lost: u64,
    pub(crate) messages_unreadable: u64,
    pub(crate) events_below_floor: u64,
    /// `up`, or what is wrong.
    pub(crate) link: String,
    pub(crate) members: BTreeMap<String, String>,
    pub(crate) told: Told,
}

/// What a master told of since it was started.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Told {
    /// When the loss of a log was noticed.
    pub(crate) log_lost_unix_ms: Vec<u64>,
    pub(crate) fenced: u64,
    pub(crate) reincarnated: u64,
    pub(crate) names_shared: u64,
    pub(crate) returned: u64,
    pub(crate) diverged: u64,
    pub(crate) repair_failed: Option<String>,
    pub(crate) store_failed: Option<String>,
    /// Notifications that this listener was too slow for.
    pub(crate) missed: u64,
}

/// What could be reclaimed, and what holds that back.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Reclaimable {
    pub(crate) tombstones: u64,
    pub(crate) reclaimable: u64,
    pub(crate) held_back_by: Vec<String>,
}

/// How long the values of registers are, beside their number.
const FILL_BYTES: usize = 64;

/// The value that belongs to a number: whoever holds it holds all of it.
pub(crate) fn value_of(number: u64) -> Value {
    let fill: String = format!("{number:016x}").chars().cycle().take(FILL_BYTES).collect();
    Value::Map(BTreeMap::from([
        ("number".to_owned(), Value::from(number)),
        ("fill".to_owned(), Value::from(fill.as_str())),
    ]))
}

/// The number that the value belongs to, if it is the value of any.
pub(crate) fn number_of(value: &Value) -> Option<u64> {
    let number = value.get("number")?.as_uint()?;
    (value_of(number) == *value).then_some(number)
}

/// Milliseconds since 1970, by the clock of this machine, which all masters share.
pub(crate) fn now_unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
