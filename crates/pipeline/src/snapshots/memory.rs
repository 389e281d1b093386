use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{SnapshotStore, SnapshotStoreError, SnapshotWriter};

/// In memory.
#[derive(Clone, Debug, Default)]
pub struct MemorySnapshots(Arc<Mutex<BTreeMap<String, (Bytes, Vec<Bytes>)>>>);

#[async_trait]
impl SnapshotStore for MemorySnapshots {
    async fn list(&self) -> Result<Vec<String>, SnapshotStoreError> {
        Ok(self.0.lock().expect("lock").keys().cloned().collect())
    }
    async fn manifest(&self, name: &str) -> Result<Bytes, SnapshotStoreError> {
        let map = self.0.lock().expect("lock");
        map.get(name)
            .map(|x| x.0.clone())
            .ok_or(SnapshotStoreError::Missing { name: name.into(), what: "manifest".into() })
    }
    async fn chunk(&self, name: &str, index: u64) -> Result<Bytes, SnapshotStoreError> {
        let map = self.0.lock().expect("lock");
        map.get(name)
            .and_then(|x| x.1.get(index as usize).cloned())
            .ok_or(SnapshotStoreError::Missing { name: name.into(), what: "chunk".into() })
    }
    async fn remove(&self, name: &str) -> Result<(), SnapshotStoreError> {
        self.0.lock().expect("lock").remove(name);
        Ok(())
    }
    async fn begin(&self, name: &str) -> Result<Box<dyn SnapshotWriter>, SnapshotStoreError> {
        Ok(Box::new(W(self.clone(), name.into(), vec![])))
    }
}
struct W(MemorySnapshots, String, Vec<Bytes>);
#[async_trait]
impl SnapshotWriter for W {
    async fn chunk(&mut self, bytes: Bytes) -> Result<(), SnapshotStoreError> {
        self.2.push(bytes);
        Ok(())
    }
    async fn finish(self: Box<Self>, manifest: Bytes) -> Result<(), SnapshotStoreError> {
        self.0.0.lock().expect("lock").insert(self.1, (manifest, self.2));
        Ok(())
    }
}
