//! Islands on one memory broker.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use archipelago_conflict::Strategy;
use archipelago_manager::{MultiMasterBuilder, MultiMasterManager, Notification, Notifications, WallClock};
use archipelago_pipeline::{MemoryBroker, MemoryConfig, Switch};
use archipelago_store::MemoryStore;

/// Longer than anything here takes, so that only a hang runs into it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
pub(crate) const NAMESPACE: &str = "people";

/// A wall clock that moves when a test says so.
#[derive(Clone, Debug)]
pub(crate) struct TestClock(Arc<AtomicU64>);

impl TestClock {
    pub(crate) fn at(unix_ms: u64) -> Self {
        TestClock(Arc::new(AtomicU64::new(unix_ms)))
    }

    pub(crate) fn set(&self, unix_ms: u64) {
        self.0.store(unix_ms, Ordering::SeqCst);
    }
}

impl WallClock for TestClock {
    fn now_unix_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// One master with what it stands on.
#[derive(Debug)]
pub(crate) struct Island {
    pub(crate) master: MultiMasterManager,
    pub(crate) link: Switch,
    pub(crate) store: MemoryStore,
}

pub(crate) fn broker() -> MemoryBroker {
    MemoryBroker::new(MemoryConfig::default())
}

pub(crate) fn options(name: &str, strategy: Strategy) -> MultiMasterBuilder {
    MultiMasterManager::builder().master_id(name).namespace(NAMESPACE).conflict_strategy(strategy)
}

impl Island {
    pub(crate) async fn start(broker: &MemoryBroker, name: &str, strategy: Strategy) -> Self {
        Self::on(broker, options(name, strategy), MemoryStore::new()).await
    }

    pub(crate) async fn on(broker: &MemoryBroker, options: MultiMasterBuilder, store: MemoryStore) -> Self {
        let link = Switch::new(Arc::new(broker.pipeline(NAMESPACE)));
        let master =
            options.store(store.clone()).pipeline(link.clone()).start().await.expect("a sound store");
        Island { master, link, store }
    }
}

pub(crate) async fn archipelago(broker: &MemoryBroker, strategy: Strategy) -> [Island; 3] {
    [
        Island::start(broker, "us-east", strategy).await,
        Island::start(broker, "eu-west", strategy).await,
        Island::start(broker, "ap-south", strategy).await,
    ]
}

/// Waits until every master has applied all that any of them has written, and checks that their states are equal.
pub(crate) async fn converge(masters: &[&MultiMasterManager]) {
    for writer in masters {
        let token = writer.write("fence", "converge").await.expect("a write").token;
        for reader in masters {
            assert!(reader.wait_for(&token, DEADLINE).await, "{} is missing events", reader.master_id());
        }
    }
    let mut states = Vec::new();
    for master in masters {
        states.push(master.state_digest().await.expect("open"));
    }
    for state in &states {
        assert_eq!(state.0, states[0].0, "equal vectors");
        assert_eq!(state.1, states[0].1, "equal digests");
    }
}

/// Waits for the notification that `wanted` picks.
pub(crate) async fn notified<T>(
    notifications: &mut Notifications,
    mut wanted: impl FnMut(Notification) -> Option<T>,
) -> T {
    let found = async {
        loop {
            let notification = notifications.next().await.expect("the manager is open");
            if let Some(found) = wanted(notification) {
                return found;
            }
        }
    };
    tokio::time::timeout(DEADLINE, found).await.expect("the notification comes")
}
