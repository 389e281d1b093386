//! Whatever crash the writes of a master are to survive: what other masters know of survives a loss of power.

mod support;

use std::{
    ops::Bound,
    sync::{Arc, Mutex},
};

use archipelago_conflict::{Strategy, StrategyTable};
use archipelago_manager::{MultiMasterManager, SessionToken};
use archipelago_pipeline::MemoryBroker;
use archipelago_store::{Batch, Durability, MemoryStore, Row, Store, StoreError, Table};
use archipelago_testkit::StoredMaster;
use bytes::Bytes;
use support::{DEADLINE, Island, NAMESPACE, broker, options};

/// A store on a disk: what was committed survives a loss of power once it was synced.
#[derive(Clone, Debug)]
struct Unsynced {
    inner: MemoryStore,
    synced: Arc<Mutex<MemoryStore>>,
}

impl Unsynced {
    fn new() -> Self {
        Unsynced { inner: MemoryStore::new(), synced: Arc::new(Mutex::new(MemoryStore::new())) }
    }

    /// What a loss of power would leave of the master's own writes.
    fn own_writes(&self, master: &MultiMasterManager) -> u64 {
        let left = self.synced.lock().expect("nobody panics while it is held").copy();
        let stored = StoredMaster::read(&left, &StrategyTable::new(Strategy::Lww)).expect("consistent");
        stored.map_or(0, |stored| stored.vector.get(&master.master_id()))
    }
}

impl Store for Unsynced {
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
        let mut synced = self.synced.lock().expect("nobody panics while it is held");
        self.inner.commit(batch, durability)?;
        if durability == Durability::Fsync {
            *synced = self.inner.copy();
        }
        Ok(())
    }

    fn strongest_durability(&self) -> Durability {
        Durability::Fsync
    }

    fn close(&self) -> Result<(), StoreError> {
        self.inner.close()
    }
}

/// A master on a store of its own, whose writes are to survive that.
async fn start(broker: &MemoryBroker, durability: Durability) -> (MultiMasterManager, Unsynced) {
    let disk = Unsynced::new();
    let options = options("here", Strategy::Lww).durability(durability);
    let started = options.store(disk.clone()).pipeline(broker.pipeline(NAMESPACE)).start().await;
    (started.expect("a sound store"), disk)
}

#[tokio::test]
async fn what_others_have_from_the_log_survives_a_loss_of_power() {
    for durability in [Durability::Memory, Durability::Os, Durability::Fsync] {
        let broker = broker();
        let (here, disk) = start(&broker, durability).await;
        let there = Island::start(&broker, "there", Strategy::Lww).await;
        for number in 1..=20 {
            let receipt = here.write("entity", &number).await.expect("room");
            assert!(there.master.wait_for(&receipt.token, DEADLINE).await);
            let left = disk.own_writes(&here);
            assert!(
                left >= number,
                "{durability:?}: of {number} writes that are known elsewhere {left} are left"
            );
        }
    }
}

#[tokio::test]
async fn what_others_are_given_survives_a_loss_of_power() {
    for durability in [Durability::Memory, Durability::Os, Durability::Fsync] {
        let broker = broker();
        let (here, disk) = start(&broker, durability).await;
        broker.stop();
        for number in 1..=20 {
            here.write("entity", &number).await.expect("room");
            let given = here.changes_since(&SessionToken::default()).all().await.expect("a sound store");
            assert!(!given.is_empty());
            let left = disk.own_writes(&here);
            assert!(
                left >= number,
                "{durability:?}: of {number} writes that were given away {left} are left"
            );
        }
    }
}
