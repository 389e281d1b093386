use archipelago_clock::{Dot, Hlc, ReplicaId};
use archipelago_proto::EntityId;

use crate::{Reached, SessionToken};

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
