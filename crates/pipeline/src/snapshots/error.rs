/// Why a place where snapshots are kept could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotStoreError {
    /// There is no such snapshot, or it has no such chunk. Permanent until someone writes it.
    #[error("there is no {what}")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// The name has characters or a length that do not travel. Permanent; nothing was changed.
    #[error(
        "{name:?} is no valid name of a snapshot: 1 to 200 of A-Z a-z 0-9 _ . - with no dot at the beginning"
    )]
    InvalidName {
        /// The name that was given.
        name: String,
    },
    /// A snapshot of that name is complete. Permanent until it is removed; choose another name.
    #[error("a snapshot {name:?} exists already; choose another name or remove it")]
    AlreadyExists {
        /// The name that was given.
        name: String,
    },
    /// A chunk or a manifest is over the limit. Permanent; nothing was changed.
    #[error("{bytes} bytes are over the limit of {bytes_max} for a chunk of a snapshot; make smaller chunks")]
    TooLarge {
        /// The size that was given.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The bytes are not those that were written. Permanent; use another snapshot or another copy of it.
    #[error("the snapshot {name:?} is damaged: {reason}")]
    Damaged {
        /// Which snapshot, or which file.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The place cannot be reached, or did not answer in time. Worth retrying.
    #[error("the snapshots cannot be reached: {reason}")]
    Unavailable {
        /// What the connection said.
        reason: String,
    },
    /// The place refuses: a full disk, a missing permission, a wrong configuration. Permanent until someone mends it.
    #[error("the snapshots cannot be used: {reason}")]
    Refused {
        /// What is wrong.
        reason: String,
    },
}

impl SnapshotStoreError {
    /// True if the same call may succeed later without anyone changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self, SnapshotStoreError::Unavailable { .. })
    }
}
