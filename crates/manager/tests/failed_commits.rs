//! A store that fails at any of its commits, before or after it has applied it, costs nothing that was acknowledged: the
//! master refuses what comes after, shows nothing that is not stored, and started again it is consistent.

mod support;
mod voyage;

use std::{
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use archipelago_manager::WriteError;
use archipelago_store::{Batch, Durability, MemoryStore, Row, Store, StoreError, Table};
use archipelago_testkit::StoredMaster;
use bytes::Bytes;
use voyage::{STEPS, Step, StoreFailed, Voyage, strategies};

/// What becomes of the commit that fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Batches {
    /// Nothing of it is there.
    Lost,
    /// All of it is there, though the store says that it failed.
    Kept,
}

/// A store that fails at one commit, and is poisoned from then on.
#[derive(Clone, Debug)]
struct Failing {
    inner: MemoryStore,
    commits_left: Arc<AtomicU64>,
    has_failed: Arc<AtomicBool>,
    batch: Batches,
}

impl Failing {
    fn at(commit: u64, batch: Batches) -> Self {
        let (commits_left, has_failed) = (Arc::new(AtomicU64::new(commit)), Arc::default());
        Failing { inner: MemoryStore::new(), commits_left, has_failed, batch }
    }
}

impl Store for Failing {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.inner.get(table, key)
    }

    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.inner.scan(table, from, to, limit)
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        if self.has_failed.load(Ordering::SeqCst) {
            return Err(StoreError::Poisoned { reason: "the disk is full".into() });
        }
        if self.commits_left.fetch_sub(1, Ordering::SeqCst) > 1 {
            return self.inner.commit(batch, durability);
        }
        self.has_failed.store(true, Ordering::SeqCst);
        if self.batch == Batches::Kept {
            self.inner.commit(batch, durability)?;
        }
        Err(StoreError::Io { action: "commit a batch", source: "the disk is full".into() })
    }

    fn strongest_durability(&self) -> Durability {
        self.inner.strongest_durability()
    }

    fn close(&self) -> Result<(), StoreError> {
        // What was opened for this one goes on with it.
        Ok(())
    }
}

/// How many commits there are before one fails at `commit`; `None` if the voyage ends before.
async fn fail_at(commit: u64, batch: Batches) -> Option<()> {
    let store = Failing::at(commit, batch);
    let open = store.clone();
    let started = Voyage::start(Box::new(move || Arc::new(open.clone())), Durability::Fsync).await;
    let Ok(mut voyage) = started else {
        // The first commit of all: there is no master yet, or there is one, and nothing was promised.
        let left = Arc::new(store.inner.copy());
        Voyage::start(Box::new(move || left.clone()), Durability::Fsync).await.expect("a sound store");
        return Some(());
    };
    let mut failed_in = None;
    for (number, step) in STEPS.iter().enumerate() {
        if let Err(StoreFailed) = voyage.take(step).await {
            failed_in = Some((number, step));
            break;
        }
    }
    let (number, step) = failed_in?;
    let what = format!("{batch:?} at commit {commit}, in step {number}, {step:?}");
    assert!(store.has_failed.load(Ordering::SeqCst), "{what}: the store said so");
    let left = store.inner.copy();
    // It was not started again after a restart failed.
    if !matches!(step, Step::Restart) {
        let refused = voyage.master.write("refused", &1).await;
        assert!(matches!(refused, Err(WriteError::StoreFailed { .. })), "{what}: {refused:?}");
        let stored = StoredMaster::read(&left, &strategies()).expect("consistent").expect("not empty");
        let shown = voyage.master.vector_clock();
        // With the identity, the names of writes change.
        let is_stored = stored.vector.dominates(&shown) || matches!(step, Step::Foreign);
        assert!(is_stored, "{what}: {shown} shows, {} is stored", stored.vector);
    }
    // An import takes several commits.
    let may_have_more = batch == Batches::Kept || matches!(step, Step::Import);
    voyage.check_after_failure(Arc::new(left), may_have_more, &what).await;
    Some(())
}

async fn fail_everywhere(batch: Batches) {
    let mut commit = 1;
    while fail_at(commit, batch).await.is_some() {
        commit += 1;
    }
    assert!(commit > 40, "{commit} commits");
}

#[tokio::test]
async fn a_commit_that_fails_and_is_lost_costs_nothing_that_was_acknowledged() {
    fail_everywhere(Batches::Lost).await;
}

#[tokio::test]
async fn a_commit_that_fails_and_is_kept_is_whole_after_a_restart() {
    fail_everywhere(Batches::Kept).await;
}
