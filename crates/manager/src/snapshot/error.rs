use archipelago_pipeline::snapshots::SnapshotStoreError;
use archipelago_proto::DecodeError;
use archipelago_store::StoreError;

use crate::StartError;

/// Why a snapshot was not made, read or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The place where snapshots are kept failed, or has no snapshot of that name, or lacks a chunk of it.
    #[error(transparent)]
    Snapshots(#[from] SnapshotStoreError),
    /// What is kept is not what was stored. Permanent for this snapshot: use another one, or make one.
    #[error("the snapshot {name:?} is damaged, in {part}: {reason}; use another one")]
    Damaged {
        /// The snapshot.
        name: String,
        /// Which part of it, for a person to read.
        part: String,
        /// What is wrong.
        reason: String,
    },
    /// The snapshot was made by a newer build, in a format that this one does not know. Upgrade this one.
    #[error("the snapshot {name:?} is of a newer build: {reason}")]
    Newer {
        /// The snapshot.
        name: String,
        /// What is unknown.
        reason: DecodeError,
    },
    /// The snapshot is of another data set.
    #[error("the snapshot {name:?} is of the namespace {found:?}, not of {expected:?}")]
    ForeignNamespace {
        /// The snapshot.
        name: String,
        /// Its namespace.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// The store that was to be filled has something already. Nothing was changed; choose an empty one.
    #[error("the store is not empty: it belongs to {owner}; choose an empty one")]
    NotEmpty {
        /// What it is of, for a person to read.
        owner: String,
    },
    /// The restoring of another snapshot into this store was interrupted. Nothing was changed; finish that one, or choose
    /// an empty store.
    #[error("the store is half restored from {found}; finish that one, or choose an empty store")]
    HalfRestored {
        /// What it is being restored from, for a person to read.
        found: String,
    },
    /// The store that was to be read is nobody's. Nothing was made.
    #[error("the store holds no master; check the path")]
    Empty,
    /// More is written than can be read: no end came in sight. Nothing was made. Worth retrying when less is written.
    #[error("more is written than a snapshot can follow; try again when less is written")]
    Endless,
    /// The store of the master cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A row of the store of the master is damaged, or the store is of another one.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The manager is closed, or its store failed.
    #[error("the manager is closed")]
    Closed,
}

impl SnapshotError {
    pub(crate) fn undecodable(name: &str, part: &str, error: DecodeError) -> Self {
        match error.is_from_the_future() {
            true => SnapshotError::Newer { name: name.to_owned(), reason: error },
            false => SnapshotError::damaged(name, part, error),
        }
    }

    pub(crate) fn damaged(name: &str, part: &str, reason: impl ToString) -> Self {
        SnapshotError::Damaged { name: name.to_owned(), part: part.to_owned(), reason: reason.to_string() }
    }
}
