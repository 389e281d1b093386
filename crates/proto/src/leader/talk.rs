use archipelago_clock::NAME_BYTES_MAX;
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    DecodeError, EntityId, Limits, check_value,
    envelope::{self, EnvelopeKind},
    leader::entry::{ADDRESS_BYTES_MAX, PutKind, check_key},
    reader::{malformed, within},
};

/// What one node asks of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NodeQuestion {
    /// The leader: which is the last entry that was acknowledged to anyone?
    Head,
    /// The leader: the same, once it is certain that nobody else leads.
    ReadIndex,
    /// The leader: write this.
    Write(ForwardedWrite),
    /// Anyone: has this entry been applied and stored? The answer tells how far it is, once it has, or after some time.
    Reach {
        /// The entry.
        index: u64,
        /// How long it may wait with the answer, in milliseconds.
        patience_ms: u64,
    },
    /// Anyone: the entries behind this index, as batches, as many as fit into so many bytes (at least one).
    Tail {
        /// The last entry that the asking node has.
        after: u64,
        /// How many bytes the answer may have.
        bytes_max: u64,
    },
    /// Anyone: a page of the state, behind this key.
    State {
        /// The last key of the page before; `None` for the first page.
        after: Option<EntityId>,
        /// How many bytes the page may have, if it has more than one row.
        bytes_max: u64,
    },
    /// The leader: let this node lead.
    HandOver {
        /// The node.
        to: String,
    },
    /// A follower: take the whole state anew.
    Resync,
}

/// What a node answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NodeAnswer {
    /// To [`Head`](NodeQuestion::Head), [`ReadIndex`](NodeQuestion::ReadIndex) and [`Reach`](NodeQuestion::Reach).
    Index {
        /// The term of the leader.
        term: u64,
        /// The index.
        index: u64,
    },
    /// The write is an entry of the log.
    Written {
        /// The term.
        term: u64,
        /// Its index.
        index: u64,
    },
    /// The write was refused.
    Refused(WriteRefusal),
    /// To [`Tail`](NodeQuestion::Tail): [batches](crate::EntryBatch) of consecutive entries, the first of which holds the
    /// one that was asked for. None if there is nothing behind it.
    Tail(Vec<Bytes>),
    /// The entries that were asked for are not kept any more: take the state.
    Gone,
    /// To [`State`](NodeQuestion::State).
    State(StatePage),
    /// Done.
    Done,
    /// Only a leader can answer that.
    NotLeader {
        /// Who leads, as far as is known.
        leader: Option<String>,
        /// Where clients reach it.
        address: Option<String>,
    },
    /// It cannot be answered now.
    Unable {
        /// Why, for a person to read.
        reason: String,
    },
}

/// A write that a follower passes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardedWrite {
    /// The key.
    pub key: EntityId,
    /// The value; `None` removes the key.
    pub value: Option<Bytes>,
    /// What is demanded of the key if there is a value.
    pub kind: PutKind,
    /// The version that the key must have; 0 for none.
    #[serde(default)]
    pub expected_version: Option<u64>,
}

/// Why a write that was passed on was not done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WriteRefusal {
    /// There is such a key.
    Exists {
        /// Its version.
        version: u64,
    },
    /// There is no such key.
    Missing,
    /// The key has another version.
    Version {
        /// The one that it has; `None` if there is no such key.
        found: Option<u64>,
    },
    /// It may or may not be written.
    Unknown,
    /// It was not written.
    NotWritten {
        /// Why, for a person to read.
        reason: String,
    },
}

/// Some rows of a node's state, in order of key, as they were when the page was read. Pages of one state are read at
/// different moments: whoever has them all applies the entries from the first page's index on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatePage {
    /// The last entry that was applied before the page was read.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// The digest of the history up to there.
    pub chain: u128,
    /// The last entry that was applied after the page was read.
    pub index_after: u64,
    /// Where the entry `index` stands: the name of the log, when it was created in nanoseconds since the Unix epoch, and
    /// the sequence of the message.
    #[serde(default)]
    pub place: Option<(String, u64, u64)>,
    /// Key, version and value of each row.
    pub rows: Vec<(EntityId, u64, Bytes)>,
    /// True if nothing comes behind.
    pub is_last: bool,
    /// How many rows there are in all.
    pub rows_total: u64,
    /// The nodes that follow, with the first page.
    #[serde(default)]
    pub followers: Vec<String>,
}

impl NodeQuestion {
    /// The message, of a node of this namespace.
    pub fn encode(&self, namespace: &str, from: &str) -> Bytes {
        envelope::seal(EnvelopeKind::NodeQuestion, &to_named(&(namespace, from, self)))
    }

    /// Reads a message that came from outside: nothing about it is trusted. Gives the namespace and the node that asks with
    /// it. A write within it is within the limits, so that it can become an entry.
    ///
    /// # Errors
    /// Every [`DecodeError`]. A question that only a newer build knows is [`Malformed`](DecodeError::Malformed), for a
    /// reason that names it: nobody keeps questions, so that there is no use in telling it apart.
    pub fn decode(message: Bytes, limits: &Limits) -> Result<(String, String, NodeQuestion), DecodeError> {
        let body = envelope::open_as(EnvelopeKind::NodeQuestion, message, limits.batch_bytes_max)?;
        let (namespace, from, question): (String, String, NodeQuestion) = from_named("node question", &body)?;
        check_names([&namespace, &from])?;
        match &question {
            NodeQuestion::Write(write) => {
                check_key(&write.key, limits)?;
                write.value.as_ref().map_or(Ok(()), |value| check_value(value, limits))?;
            }
            NodeQuestion::HandOver { to } => check_names([to])?,
            // Nothing is stored under this key, and it need not be one that is.
            NodeQuestion::State { .. }
            | NodeQuestion::Head
            | NodeQuestion::ReadIndex
            | NodeQuestion::Reach { .. }
            | NodeQuestion::Tail { .. }
            | NodeQuestion::Resync => {}
        }
        Ok((namespace, from, question))
    }
}

impl NodeAnswer {
    /// The message.
    pub fn encode(&self) -> Bytes {
        envelope::seal(EnvelopeKind::NodeAnswer, &to_named(self))
    }

    /// Reads a message of at most so many bytes that came from outside: nothing about it is trusted. The rows of a state
    /// are within the limits and in order of key. The batches of a tail are yet to be decoded.
    ///
    /// # Errors
    /// Every [`DecodeError`]. An answer that only a newer build knows is [`Malformed`](DecodeError::Malformed), for a
    /// reason that names it.
    pub fn decode(message: Bytes, limits: &Limits, bytes_max: usize) -> Result<NodeAnswer, DecodeError> {
        let body = envelope::open_as(EnvelopeKind::NodeAnswer, message, bytes_max)?;
        let answer: NodeAnswer = from_named("node answer", &body)?;
        match &answer {
            NodeAnswer::State(page) => page.check(limits)?,
            NodeAnswer::NotLeader { leader, address } => {
                check_names(leader)?;
                check_address(address.as_ref())?;
            }
            NodeAnswer::Index { .. }
            | NodeAnswer::Written { .. }
            | NodeAnswer::Refused(_)
            | NodeAnswer::Tail(_)
            | NodeAnswer::Gone
            | NodeAnswer::Done
            | NodeAnswer::Unable { .. } => {}
        }
        Ok(answer)
    }
}

impl StatePage {
    fn check(&self, limits: &Limits) -> Result<(), DecodeError> {
        for (key, version, value) in &self.rows {
            check_key(key, limits)?;
            check_value(value, limits)?;
            if *version == 0 {
                return Err(malformed("state page", "a row has no version"));
            }
        }
        if self.rows.windows(2).any(|two| two[0].0 >= two[1].0) {
            return Err(malformed("state page", "its rows are not in order of key"));
        }
        check_names(&self.followers)
    }
}

pub(super) fn check_names<'a>(names: impl IntoIterator<Item = &'a String>) -> Result<(), DecodeError> {
    names.into_iter().try_for_each(|name| within("name bytes", name.len(), NAME_BYTES_MAX))
}

pub(super) fn check_address(address: Option<&String>) -> Result<(), DecodeError> {
    address.map_or(Ok(()), |address| within("address bytes", address.len(), ADDRESS_BYTES_MAX))
}

pub(super) fn to_named<T: Serialize>(message: &T) -> Vec<u8> {
    rmp_serde::to_vec_named(message).expect("plain data is written to memory")
}

/// The types here nest to a fixed depth, so that reading them is no recursion that bytes from outside could drive.
pub(super) fn from_named<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, DecodeError> {
    let mut reader = rmp_serde::Deserializer::new(bytes);
    reader.set_max_depth(DEPTH_MAX);
    let message = T::deserialize(&mut reader).map_err(|error| malformed(what, error))?;
    match reader.get_ref().is_empty() {
        true => Ok(message),
        false => Err(malformed(what, "bytes follow its end")),
    }
}

/// Unknown fields are skipped to this depth.
const DEPTH_MAX: usize = 32;
