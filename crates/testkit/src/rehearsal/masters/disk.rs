use std::{
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use archipelago_store::{Batch, Durability, Row, Store, StoreError, Table};
use bytes::Bytes;

/// A store as one life of a node has it: what it holds outlives the node, which cannot use it any more once it is dead.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    inner: Arc<dyn Store>,
    is_dead: Arc<AtomicBool>,
}

impl Disk {
    pub(super) fn new(inner: Arc<dyn Store>) -> Disk {
        Disk { inner, is_dead: Arc::default() }
    }

    /// The process is gone: nothing it still does reaches the disk.
    pub(super) fn kill(&self) {
        self.is_dead.store(true, Ordering::Release);
    }

    fn alive(&self) -> Result<&dyn Store, StoreError> {
        match self.is_dead.load(Ordering::Acquire) {
            true => Err(StoreError::Closed),
            false => Ok(&*self.inner),
        }
    }
}

impl Store for Disk {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.alive()?.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.alive()?.scan(table, from, to, limit)
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        self.alive()?.commit(batch, durability)
    }

    fn strongest_durability(&self) -> Durability {
        self.inner.strongest_durability()
    }

    fn close(&self) -> Result<(), StoreError> {
        self.kill();
        Ok(())
    }
}
