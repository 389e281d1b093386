//! A token covers what was shown to whoever takes it.

mod support;

use std::{
    ops::Bound,
    pin::pin,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use archipelago_conflict::Strategy;
use archipelago_manager::MultiMasterManager;
use archipelago_store::{Batch, Durability, MemoryStore, Row, Store, StoreError, Table};
use bytes::Bytes;
use support::options;

/// A disk whose commits take as long as a test wants.
#[derive(Clone, Debug, Default)]
struct Slow {
    inner: MemoryStore,
    held: Arc<(Mutex<Option<Moment>>, Condvar)>,
    is_reached: Arc<AtomicBool>,
}

/// When a commit is held.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    BeforeItIsStored,
    /// It can be read, and its master does not know.
    AfterItIsStored,
}

impl Slow {
    fn hold(&self, moment: Option<Moment>) {
        *self.held.0.lock().expect("no panic") = moment;
        self.held.1.notify_all();
    }

    fn pass(&self, moment: Moment) {
        let held = self.held.0.lock().expect("no panic");
        self.is_reached.fetch_or(*held == Some(moment), Ordering::SeqCst);
        drop(self.held.1.wait_while(held, |held| *held == Some(moment)).expect("no panic"));
    }

    /// Returns once a commit is held.
    async fn reached(&self) {
        while !self.is_reached.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
    }
}

impl Store for Slow {
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
        self.pass(Moment::BeforeItIsStored);
        self.inner.commit(batch, durability)?;
        self.pass(Moment::AfterItIsStored);
        Ok(())
    }

    fn strongest_durability(&self) -> Durability {
        Durability::Fsync
    }

    fn close(&self) -> Result<(), StoreError> {
        self.inner.close()
    }
}

/// A master that has written, and whose next commit is held.
async fn held(moment: Moment) -> (MultiMasterManager, Slow) {
    let store = Slow::default();
    let options = options("us-east", Strategy::VersionVector);
    let master = options.store(store.clone()).start().await.expect("a sound store");
    master.write("before", &1).await.expect("a write");
    store.hold(Some(moment));
    (master, store)
}

/// What came of a future that was looked at early.
async fn outcome<T>(early: Poll<T>, late: impl Future<Output = T>) -> T {
    match early {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => late.await,
    }
}

#[tokio::test]
async fn a_token_taken_after_a_read_covers_what_was_shown() {
    let (master, store) = held(Moment::AfterItIsStored).await;
    let writer = master.clone();
    let write = tokio::spawn(async move { writer.write("x", &1).await });
    store.reached().await;

    // Both look at a version that is not acknowledged yet.
    let mut view = pin!(async {
        let view = master.entity("x").await.expect("open").expect("it is stored");
        (view, master.session_token())
    });
    let mut read = pin!(async {
        let value = master.read::<i32>("x").await.expect("open");
        (value, master.session_token())
    });
    let early = (futures::poll!(&mut view), futures::poll!(&mut read));
    store.hold(None);
    let receipt = write.await.expect("no panic").expect("a write");
    let (view, after_view) = outcome(early.0, view).await;
    let (value, after_read) = outcome(early.1, read).await;
    assert_eq!((view.versions[0].dot.clone(), value), (receipt.dot.clone(), Some(1)));
    for token in [&view.token, &after_view, &after_read] {
        assert!(token.vector().contains(&receipt.dot), "{token:?} was taken after {} was shown", receipt.dot);
    }
    let resolved = master.resolve_conflict(&view, Some(&2)).await.expect("a write");
    let view = master.entity("x").await.expect("open").expect("it is stored");
    assert_eq!(view.versions.len(), 1, "it superseded what was shown: {view:?}");
    assert_eq!(view.versions[0].dot, resolved.dot);
}

#[tokio::test]
async fn the_digest_of_a_state_is_told_once_the_state_can_be_read() {
    let (master, store) = held(Moment::BeforeItIsStored).await;
    // One commit stands for the write and the look.
    let (mut write, mut told) = (pin!(master.write("x", &1)), pin!(master.state_digest()));
    let early = (futures::poll!(&mut write), futures::poll!(&mut told));
    store.reached().await;
    let told_early = futures::poll!(&mut told);
    let is_early = told_early.is_ready();
    let value = master.read::<i32>("x").await.expect("open");
    store.hold(None);
    let (vector, _) = outcome(told_early, told).await.expect("open");
    let receipt = outcome(early.0, write).await.expect("a write");
    assert!(early.1.is_pending() && value.is_none());
    assert!(!(is_early && vector.contains(&receipt.dot)), "{vector} is told of before it is stored");
    assert_eq!(master.state_digest().await.expect("open").0, master.vector_clock());
}
