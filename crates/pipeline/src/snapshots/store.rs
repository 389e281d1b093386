use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;

/// Why a place for snapshots could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotStoreError {
    /// There is no such snapshot, or it lacks this part.
    #[error("there is no {what} of a snapshot {name:?}")]
    Missing {
        /// The snapshot.
        name: String,
        /// The part.
        what: String,
    },
}

/// A place where snapshots are kept.
#[async_trait]
pub trait SnapshotStore: Debug + Send + Sync + 'static {
    /// The names of all whole snapshots, in order.
    async fn list(&self) -> Result<Vec<String>, SnapshotStoreError>;
    /// The manifest.
    async fn manifest(&self, name: &str) -> Result<Bytes, SnapshotStoreError>;
    /// A chunk.
    async fn chunk(&self, name: &str, index: u64) -> Result<Bytes, SnapshotStoreError>;
    /// Removes it.
    async fn remove(&self, name: &str) -> Result<(), SnapshotStoreError>;
    /// Begins to write.
    async fn begin(&self, name: &str) -> Result<Box<dyn SnapshotWriter>, SnapshotStoreError>;
}

/// Writes one snapshot.
#[async_trait]
pub trait SnapshotWriter: Send {
    /// The next chunk.
    async fn chunk(&mut self, bytes: Bytes) -> Result<(), SnapshotStoreError>;
    /// The end.
    async fn finish(self: Box<Self>, manifest: Bytes) -> Result<(), SnapshotStoreError>;
}
