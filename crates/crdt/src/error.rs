use archipelago_clock::MintError;
use thiserror::Error;

/// Why an update of a counter was refused. The counter is unchanged. Permanent unless the variant says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CounterError {
    /// What this actor has counted would exceed `u64::MAX`.
    #[error("the actor's count of {count} cannot grow by {by}: it would exceed 64 bits")]
    Overflow {
        /// What the actor has counted so far.
        count: u64,
        /// By how much it was to grow.
        by: u64,
    },
    /// The actor has not the rights to take that much from a bounded counter. Worth trying again once others have
    /// transferred rights to it.
    #[error("the actor has rights to take {rights}, which is less than {by}")]
    InsufficientRights {
        /// What the actor may take.
        rights: u128,
        /// What was to be taken or transferred.
        by: u64,
    },
    /// Rights were to be transferred from an actor to itself.
    #[error("an actor cannot transfer rights to itself")]
    TransferToSelf,
    /// The counter lies in a map, and the actor could not be given a dot there.
    #[error(transparent)]
    Mint(#[from] MintError),
}

/// Why a write to a register was refused. The register is unchanged. Permanent for this stamp: take a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The stamp is not greater than that of the value it was to replace, so the write would be lost, or would
    /// give two values one stamp.
    #[error("the stamp of a write must be greater than the stamp of the value it replaces")]
    StaleStamp,
    /// The register lies in a map, and the actor could not be given a dot there.
    #[error(transparent)]
    Mint(#[from] MintError),
}

/// Why an update of a two-phase set was refused. The set is unchanged. Permanent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TwoPhaseError {
    /// The element was removed, and what is removed from a two-phase set never comes back.
    #[error("the element was removed, and a two-phase set never takes one back")]
    Removed,
    /// The element to remove was never seen here.
    #[error("an element can only be removed where it has been seen")]
    NeverInserted,
}

/// Why an update of a list was refused. The list is unchanged. Permanent for this state of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ListError {
    /// There is no such place in the list.
    #[error("index {index} is out of the bounds of a list of {len}")]
    OutOfBounds {
        /// The index that was given.
        index: usize,
        /// The number of items in the list.
        len: usize,
    },
    /// No item has that id: it was removed, or has not arrived yet.
    #[error("no item in the list has that id")]
    NoSuchItem,
    /// The actor could not be given a dot.
    #[error(transparent)]
    Mint(#[from] MintError),
}
