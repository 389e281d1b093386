use std::sync::Arc;

use archipelago_pipeline::snapshots::{SnapshotStore, SnapshotStoreError, SnapshotWriter};
use archipelago_proto::Said;
use async_trait::async_trait;
use bytes::Bytes;

use super::KeyRing;

/// What the manifest is called where it is signed.
pub(crate) const MANIFEST: &str = "manifest";

/// Snapshots, of which only those can be read that are signed by somebody who is believed. Whoever writes them signs them
/// before: what is signed is a part of what the manifest sums up.
#[derive(Debug)]
pub(crate) struct BelievedSnapshots {
    pub(super) inner: Arc<dyn SnapshotStore>,
    pub(super) ring: Arc<KeyRing>,
}

impl BelievedSnapshots {
    fn believed(&self, snapshot: &str, part: &str, bytes: Bytes) -> Result<Bytes, SnapshotStoreError> {
        match self.ring.believes_snapshot(Said::Kept { snapshot, part }, &bytes) {
            true => Ok(bytes),
            // Whoever signed it may come to be believed.
            false => Err(SnapshotStoreError::Unavailable {
                reason: format!("the {part} of {snapshot:?} is not believed"),
            }),
        }
    }
}

#[async_trait]
impl SnapshotStore for BelievedSnapshots {
    async fn list(&self) -> Result<Vec<String>, SnapshotStoreError> {
        self.inner.list().await
    }

    async fn manifest(&self, name: &str) -> Result<Bytes, SnapshotStoreError> {
        self.believed(name, MANIFEST, self.inner.manifest(name).await?)
    }

    async fn chunk(&self, name: &str, index: u64) -> Result<Bytes, SnapshotStoreError> {
        self.believed(name, &index.to_string(), self.inner.chunk(name, index).await?)
    }

    async fn remove(&self, name: &str) -> Result<(), SnapshotStoreError> {
        self.inner.remove(name).await
    }

    async fn begin(&self, name: &str) -> Result<Box<dyn SnapshotWriter>, SnapshotStoreError> {
        self.inner.begin(name).await
    }
}
