use archipelago_clock::{Dot, Hlc, ReplicaId, VersionVector};
use archipelago_proto::EntityId;
use serde::{Deserialize, Serialize};

use crate::Reached;

/// What a reader or writer has seen: a replica whose vector covers it has seen at least as much.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionToken(pub(crate) VersionVector);

impl SessionToken {
    /// The token as a vector.
    pub fn vector(&self) -> &VersionVector {
        &self.0
    }
}

/// A write that was acknowledged: it is in the local store and will reach every other master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteReceipt {
    /// The unique name of the write.
    pub dot: Dot,
    /// The record written to.
    pub entity_id: EntityId,
    /// The master that admitted the write.
    pub master_id: ReplicaId,
    /// When it was written.
    pub hlc: Hlc,
    /// All that the master had applied, with the write.
    pub token: SessionToken,
    /// True while the pipeline is away: the write waits in the outbox.
    pub queued: bool,
    /// How far it had come beyond the local store, if that was waited for.
    pub reached: Reached,
}
