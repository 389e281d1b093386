use std::time::Duration;

use archipelago_proto::{EncodeError, EntityId, ForwardedWrite, Limits, PutKind, encode_value};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::SessionToken;

/// How far a write must have come before its receipt is given out. It is in the log in any case, and never undone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ack {
    /// The broker has it in the log, and the leader has it in its store. With a replicated log, a quorum of brokers has it.
    #[default]
    Log,
    /// So many followers have it in their stores, beside the leader.
    Followers(usize),
    /// More than half of the nodes have it in their stores: of the leader and its registered followers.
    Majority,
}

/// What is done to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Gives the key a value; it must have none.
    Create,
    /// Gives the key another value; it must have one.
    Update,
    /// Gives the key a value.
    Upsert,
    /// Takes the key's value away; it must have one.
    Delete,
}

/// A write of one key, to be given to [`write`](super::LeaderFollowerManager::write).
///
/// ```
/// use archipelago_manager::leader_follower::{Ack, Write};
///
/// let plain = Write::upsert("user/7", "Alice");
/// let careful = Write::update("user/7", "Bob").expecting(41).ack(Ack::Majority);
/// let gone = Write::delete("user/7");
/// # let _ = (plain, careful, gone);
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing happens before it is given to `write`"]
pub struct Write {
    pub(crate) key: EntityId,
    pub(crate) value: Result<Option<Bytes>, EncodeError>,
    pub(crate) kind: PutKind,
    pub(crate) expected_version: Option<u64>,
    pub(crate) ack: Ack,
    pub(crate) deadline: Duration,
}

impl Write {
    /// Any of the four. The value is left out for [`Operation::Delete`], and needed for the others.
    pub fn new<T: Serialize + ?Sized>(
        key: impl Into<EntityId>,
        operation: Operation,
        value: Option<&T>,
    ) -> Write {
        let kind = match operation {
            Operation::Create => PutKind::Create,
            Operation::Update => PutKind::Update,
            Operation::Upsert | Operation::Delete => PutKind::Upsert,
        };
        let needed = || EncodeError::Unrepresentable { reason: "this operation needs a value".into() };
        let value = match (operation, value) {
            (Operation::Delete, _) => Ok(None),
            // How large it may be is up to the node.
            (_, Some(value)) => encode_value(value, &Limits::default().for_state()).map(Some),
            (_, None) => Err(needed()),
        };
        Write {
            key: key.into(),
            value,
            kind,
            expected_version: None,
            ack: Ack::Log,
            deadline: Duration::from_secs(5),
        }
    }

    /// Gives the key a value, which it must not have yet.
    pub fn create<T: Serialize + ?Sized>(key: impl Into<EntityId>, value: &T) -> Write {
        Write::new(key, Operation::Create, Some(value))
    }

    /// Gives the key another value; it must have one.
    pub fn update<T: Serialize + ?Sized>(key: impl Into<EntityId>, value: &T) -> Write {
        Write::new(key, Operation::Update, Some(value))
    }

    /// Gives the key a value, whether or not it has one.
    pub fn upsert<T: Serialize + ?Sized>(key: impl Into<EntityId>, value: &T) -> Write {
        Write::new(key, Operation::Upsert, Some(value))
    }

    /// Takes the key's value away; it must have one.
    pub fn delete(key: impl Into<EntityId>) -> Write {
        Write::new::<()>(key, Operation::Delete, None)
    }

    /// The same, if the key has this version when the write is done: that of an earlier read or receipt, or 0 if it must
    /// not exist.
    pub fn expecting(mut self, version: u64) -> Write {
        self.expected_version = Some(version);
        self
    }

    /// The same, acknowledged once it has come so far. Default [`Ack::Log`].
    pub fn ack(mut self, ack: Ack) -> Write {
        self.ack = ack;
        self
    }

    /// The same, waited for so long. Default 5 seconds.
    pub fn within(mut self, deadline: Duration) -> Write {
        self.deadline = deadline;
        self
    }

    /// How far it must come before it is acknowledged.
    pub fn acknowledgement(&self) -> Ack {
        self.ack
    }

    /// For how long it is waited for.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// As it travels to the leader.
    ///
    /// # Errors
    /// If the value cannot be encoded.
    pub fn content(&self) -> Result<ForwardedWrite, EncodeError> {
        Ok(ForwardedWrite {
            key: self.key.clone(),
            value: self.value.clone()?,
            kind: self.kind,
            expected_version: self.expected_version,
        })
    }
}

/// A write that is in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WriteReceipt {
    /// The index of the write: each entry of the namespace has one, without gaps and for ever.
    pub sequence: u64,
    /// The term of the leader who wrote it.
    pub term: u64,
    /// The version that the key has by this write, if it was not a deletion: the same number as `sequence`.
    pub version: u64,
    /// For reads that are to see the write, on any node.
    pub token: SessionToken,
    /// How many followers were known to have it.
    pub followers: usize,
    /// False if the deadline passed before it had come as far as was asked. It goes on all the same.
    pub enough: bool,
}
