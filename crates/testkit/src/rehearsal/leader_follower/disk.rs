use std::{
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use archipelago_store::{Batch, Durability, MemoryStore, Row, Store, StoreError, Table};
use bytes::Bytes;

/// A store as one life of a node has it: what it holds outlives the node, which cannot use it any more once it is dead.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    inner: Arc<MemoryStore>,
    state: Arc<AtomicU8>,
}

const WORKS: u8 = 0;
const FAILS: u8 = 1;
const FAILS_LATE: u8 = 2;
const HAS_FAILED: u8 = 3;
const IS_DEAD: u8 = 4;

/// How a commit fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Nothing of it is stored.
    Nothing,
    /// All of it is stored, and only the word of it is lost.
    Late,
}

impl Disk {
    pub(super) fn new(inner: Arc<MemoryStore>) -> Disk {
        Disk { inner, state: Arc::new(AtomicU8::new(WORKS)) }
    }

    /// The process is gone: nothing it still does reaches the disk.
    pub(super) fn kill(&self) {
        self.state.store(IS_DEAD, Ordering::Release);
    }

    /// The next commit fails, and with it all that follow, until the store is opened again.
    pub(super) fn fail(&self, failure: Failure) {
        let state = if failure == Failure::Late { FAILS_LATE } else { FAILS };
        let _ = self.state.compare_exchange(WORKS, state, Ordering::AcqRel, Ordering::Acquire);
    }

    /// It is alive, and its commits succeed.
    pub(super) fn works(&self) -> bool {
        self.state.load(Ordering::Acquire) == WORKS
    }

    fn alive(&self) -> Result<&MemoryStore, StoreError> {
        match self.state.load(Ordering::Acquire) {
            IS_DEAD => Err(StoreError::Closed),
            _ => Ok(&self.inner),
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
        let store = self.alive()?;
        let reason = "an injected fault";
        match self.state.load(Ordering::Acquire) {
            WORKS => return store.commit(batch, durability),
            HAS_FAILED => return Err(StoreError::Poisoned { reason: reason.into() }),
            FAILS_LATE => store.commit(batch, durability)?,
            _ => {}
        }
        self.state.store(HAS_FAILED, Ordering::Release);
        Err(StoreError::Io { action: "commit", source: reason.into() })
    }

    fn strongest_durability(&self) -> Durability {
        Durability::Memory
    }

    fn close(&self) -> Result<(), StoreError> {
        self.kill();
        Ok(())
    }
}
