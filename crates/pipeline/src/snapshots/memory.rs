use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{SnapshotStore, SnapshotStoreError, SnapshotWriter, check_snapshot_chunk, check_snapshot_name};

/// Snapshots in memory, gone with the process. Clones are the same place.
#[derive(Clone, Debug, Default)]
pub struct MemorySnapshots {
    complete: Arc<Mutex<BTreeMap<String, Snapshot>>>,
}

#[derive(Debug)]
struct Snapshot {
    chunks: Vec<Bytes>,
    manifest: Bytes,
}

impl MemorySnapshots {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Snapshot>> {
        // Each change is one call of the map, so a poisoned lock guards a whole state.
        self.complete.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(
        &self,
        name: &str,
        what: String,
        of: impl FnOnce(&Snapshot) -> Option<Bytes>,
    ) -> Result<Bytes, SnapshotStoreError> {
        check_snapshot_name(name)?;
        self.lock().get(name).and_then(of).ok_or(SnapshotStoreError::NotFound { what })
    }
}

#[async_trait]
impl SnapshotStore for MemorySnapshots {
    async fn list(&self) -> Result<Vec<String>, SnapshotStoreError> {
        Ok(self.lock().keys().cloned().collect())
    }

    async fn manifest(&self, name: &str) -> Result<Bytes, SnapshotStoreError> {
        self.read(name, format!("snapshot {name:?}"), |snapshot| Some(snapshot.manifest.clone()))
    }

    async fn chunk(&self, name: &str, index: u64) -> Result<Bytes, SnapshotStoreError> {
        let of = |snapshot: &Snapshot| snapshot.chunks.get(usize::try_from(index).ok()?).cloned();
        self.read(name, format!("chunk {index} of the snapshot {name:?}"), of)
    }

    async fn remove(&self, name: &str) -> Result<(), SnapshotStoreError> {
        check_snapshot_name(name)?;
        self.lock().remove(name);
        Ok(())
    }

    async fn begin(&self, name: &str) -> Result<Box<dyn SnapshotWriter>, SnapshotStoreError> {
        check_snapshot_name(name)?;
        if self.lock().contains_key(name) {
            return Err(SnapshotStoreError::AlreadyExists { name: name.to_owned() });
        }
        Ok(Box::new(MemoryWriter { store: self.clone(), name: name.to_owned(), chunks: Vec::new() }))
    }
}

#[derive(Debug)]
struct MemoryWriter {
    store: MemorySnapshots,
    name: String,
    chunks: Vec<Bytes>,
}

#[async_trait]
impl SnapshotWriter for MemoryWriter {
    async fn chunk(&mut self, bytes: Bytes) -> Result<(), SnapshotStoreError> {
        check_snapshot_chunk(&bytes)?;
        self.chunks.push(bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>, manifest: Bytes) -> Result<(), SnapshotStoreError> {
        check_snapshot_chunk(&manifest)?;
        let MemoryWriter { store, name, chunks } = *self;
        let mut complete = store.lock();
        if complete.contains_key(&name) {
            return Err(SnapshotStoreError::AlreadyExists { name });
        }
        complete.insert(name, Snapshot { chunks, manifest });
        Ok(())
    }
}
