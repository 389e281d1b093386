use thiserror::Error;

/// Why an update of a counter was refused. The counter is unchanged. Permanent: trying again gives the same.
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
}

/// Why a write to a register was refused. The register is unchanged. Permanent for this stamp: take a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The stamp is not greater than that of the value it was to replace, so the write would be lost, or would
    /// give two values one stamp.
    #[error("the stamp of a write must be greater than the stamp of the value it replaces")]
    StaleStamp,
}
