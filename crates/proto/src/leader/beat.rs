use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    DecodeError, Limits,
    envelope::{self, EnvelopeKind},
    leader::talk::{check_address, check_names, from_named, to_named},
};

/// What a node is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeRole {
    /// It takes writes.
    Leader,
    /// It is to lead, and reads the log to its end before it does.
    Candidate,
    /// It applies what the leader writes.
    Follower,
}

/// What a node of a leader–follower namespace says of itself, to everyone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeBeat {
    /// The namespace.
    pub namespace: String,
    /// Who says it.
    pub node: String,
    /// Drawn at random at each start of the node: two sessions of one name at once are two nodes.
    pub session: u64,
    /// What it is.
    pub role: NodeRole,
    /// The newest term that it knows of.
    pub term: u64,
    /// The last entry that it has applied and stored.
    pub index: u64,
    /// The digest of its history up to there.
    pub chain: u128,
    /// Where clients reach it.
    #[serde(default)]
    pub address: Option<String>,
    /// Who leads, as far as it knows.
    #[serde(default)]
    pub leader: Option<String>,
    /// True if it would lead.
    #[serde(default)]
    pub is_eligible: bool,
    /// True if it lacks entries that the log no longer holds, and takes a whole state.
    #[serde(default)]
    pub is_desynced: bool,
    /// The furthest sequence of the log that it knows of, be it of one that is gone; 0 if it knows of none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub furthest_sequence: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl NodeBeat {
    /// The message.
    pub fn encode(&self) -> Bytes {
        envelope::seal(EnvelopeKind::NodeBeat, &to_named(self))
    }

    /// Reads a message that came from outside: nothing about it is trusted. Fields that this build does not know are
    /// ignored.
    ///
    /// # Errors
    /// Every [`DecodeError`].
    pub fn decode(message: Bytes, limits: &Limits) -> Result<NodeBeat, DecodeError> {
        let body = envelope::open_as(EnvelopeKind::NodeBeat, message, limits.batch_bytes_max)?;
        let beat: NodeBeat = from_named("node beat", &body)?;
        check_names([&beat.namespace, &beat.node].into_iter().chain(&beat.leader))?;
        check_address(beat.address.as_ref())?;
        Ok(beat)
    }
}
