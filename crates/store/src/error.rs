use std::path::PathBuf;

use crate::{
    Table,
    limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX},
};

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
    /// A row of the batch has an empty or too long key. Nothing of the batch was stored and the store goes on;
    /// permanent for this batch.
    #[error("a key of {bytes} bytes in table {table:?} is refused: keys have 1 to {KEY_BYTES_MAX} bytes")]
    KeyLength {
        /// The table of the row.
        table: Table,
        /// The length of the key, in bytes.
        bytes: usize,
    },
    /// A row of the batch has a too long value. Nothing of the batch was stored and the store goes on; permanent
    /// for this batch.
    #[error(
        "a value of {bytes} bytes in table {table:?} is refused: values have at most {VALUE_BYTES_MAX} bytes"
    )]
    ValueLength {
        /// The table of the row.
        table: Table,
        /// The length of the value, in bytes.
        bytes: usize,
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
