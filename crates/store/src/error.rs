use std::path::PathBuf;

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process, or another handle in this one, has the store open. Worth retrying once that one closes.
    #[error(
        "the store {path:?} is already open; close the other process that uses it, or choose another folder"
    )]
    Locked {
        /// The folder of the store.
        path: PathBuf,
    },
    /// The store's folder cannot be created, read or written. Permanent until someone mends the folder.
    #[error("cannot open the store in {path:?}: {reason}; check that the folder exists and may be written")]
    Open {
        /// The folder of the store.
        path: PathBuf,
        /// What the operating system or the backend said.
        reason: String,
    },
    /// A read or write failed. After a failed commit nothing of the batch may be assumed, see
    /// [`StoreError::Poisoned`].
    #[error("the store failed to {action}: {source}")]
    Io {
        /// What was being done, as a verb phrase.
        action: &'static str,
        /// What the backend said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An earlier commit failed, so what is on the disk is unknown: reads still answer, commits are refused.
    /// Permanent until the store is opened again.
    #[error("the store refuses writes because an earlier commit failed ({reason}); open it again to go on")]
    Poisoned {
        /// The failure of the earlier commit.
        reason: String,
    },
    /// The store was closed. Permanent for this handle.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// True if the same call may succeed later without anyone changing anything else.
    pub fn is_retryable(&self) -> bool {
        matches!(self, StoreError::Locked { .. })
    }
}
