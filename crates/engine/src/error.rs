use archipelago_clock::{ClockError, Dot};
use archipelago_proto::{DecodeError, EncodeError, EntityId};

/// The stored state of an entity could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the state of {entity:?}: {source}")]
pub struct ReadError {
    /// The entity.
    pub entity: EntityId,
    /// What the store said, or what is wrong with the bytes it gave.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Why a local write was refused. The state is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The entity id is empty or over `entity_id_bytes_max`. Permanent.
    #[error("an entity id has 1 to {bytes_max} bytes, not {bytes}")]
    EntityId {
        /// The length of the id.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The value is over a limit. Permanent for this value.
    #[error(transparent)]
    Value(#[from] EncodeError),
    /// The value is not MessagePack, or has a field twice. Permanent for this value.
    #[error("the value is not usable: {0}")]
    Malformed(#[from] DecodeError),
    /// The author has seen writes that this replica has not. Worth retrying once it has.
    #[error("the context of the write is ahead of this replica; wait until it has caught up")]
    ContextAhead,
    /// The clock or the sequence is exhausted. Permanent.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// Another writer uses the identity of this replica, which has not taken [another](crate::Engine::reincarnate) yet.
    #[error(
        "the write {dot} carries this replica's identity but is not its own: another process runs on a copy of its store, or the store was restored from an old copy; it must take another identity first"
    )]
    Fenced {
        /// The foreign write.
        dot: Dot,
    },
    /// The state of the entity cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}
