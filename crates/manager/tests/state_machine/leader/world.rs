use std::{sync::Arc, time::Duration};

use archipelago_manager::leader_follower::{
    Found, LeaderFollowerManager, OnFollower, ReadConsistency, SessionToken, Write, WriteError,
};
use archipelago_pipeline::{MemoryBroker, MemoryConfig, Switch};
use archipelago_store::MemoryStore;
use tokio::{
    runtime::Runtime,
    time::{Instant, sleep, timeout},
};

use super::{
    book::{Asked, Book},
    plan::{Demand, How, KEYS, Kind, NODES, Step},
};
use crate::{runtime, wall::Wall};

const NAMES: [&str; NODES] = ["a", "b", "c"];
const NAMESPACE: &str = "orders";
/// In virtual time: long enough for an election, or for a write that is under way to be done or never.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);
/// Whoever is linked and has a leader is as fresh as that.
const FRESH: Duration = Duration::from_secs(2);

/// Nodes, and what their clients know.
pub(crate) struct World {
    runtime: Runtime,
    namespace: Namespace,
}

struct Namespace {
    broker: MemoryBroker,
    wall: Wall,
    stores: Vec<MemoryStore>,
    lives: Vec<Option<Life>>,
    book: Book,
    /// What the last answers stood for.
    token: SessionToken,
    values: u64,
    starts: u64,
}

/// A process.
struct Life {
    manager: LeaderFollowerManager,
    link: Switch,
}

impl Life {
    fn is_linked(&self) -> bool {
        !self.link.is_cut()
    }
}

impl World {
    pub(crate) fn start() -> World {
        let runtime = runtime();
        let namespace = runtime.block_on(async {
            let mut namespace = Namespace {
                broker: MemoryBroker::new(MemoryConfig::default()),
                wall: Wall::new(),
                stores: (0..NODES).map(|_| MemoryStore::new()).collect(),
                lives: (0..NODES).map(|_| None).collect(),
                book: Book::default(),
                token: SessionToken::default(),
                values: 0,
                starts: 0,
            };
            for node in 0..NODES {
                namespace.start(node).await;
            }
            namespace
        });
        World { runtime, namespace }
    }

    pub(crate) fn after(mut self, step: Step) -> World {
        self.runtime.block_on(self.namespace.take(step));
        self
    }

    /// Once all run, all come to have what the book says.
    pub(crate) fn end(mut self) {
        self.runtime.block_on(async {
            for node in 0..NODES {
                match &self.namespace.lives[node] {
                    Some(life) => life.link.heal(),
                    None => self.namespace.start(node).await,
                }
            }
            for key in KEYS {
                for node in 0..NODES {
                    self.namespace.read(node, key, How::Linearizable).await;
                }
            }
            let managers: Vec<_> = self.namespace.lives.iter().flatten().map(|life| &life.manager).collect();
            let equal = async {
                while managers.iter().any(|manager| manager.history_digest() != managers[0].history_digest())
                {
                    sleep(PAUSE).await;
                }
            };
            timeout(PATIENCE, equal).await.expect("all apply the same entries");
            assert!(managers.iter().all(|manager| manager.digest() == managers[0].digest()));
        });
    }
}

impl Namespace {
    async fn start(&mut self, node: usize) {
        self.starts += 1;
        let link = Switch::new(Arc::new(self.broker.pipeline(NAMESPACE)));
        let manager = LeaderFollowerManager::builder()
            .node_id(NAMES[node])
            .namespace(NAMESPACE)
            .store(self.stores[node].clone())
            .pipeline(link.clone())
            .clock(self.wall)
            .seed(self.starts)
            .on_follower(OnFollower::Forward)
            .lease(Duration::from_secs(1))
            .heartbeat_interval(Duration::from_millis(250))
            .heartbeat_timeout(Duration::from_millis(1_250))
            .reconnect_backoff(PAUSE, Duration::from_secs(1))
            .start()
            .await
            .expect("a sound store");
        self.lives[node] = Some(Life { manager, link });
    }

    fn life(&self, node: usize) -> &Life {
        self.lives[node].as_ref().expect("it runs")
    }

    fn manager(&self, node: usize) -> &LeaderFollowerManager {
        &self.life(node).manager
    }

    /// A node that reaches the others.
    fn linked(&self) -> usize {
        let is_linked = |life: &Option<Life>| life.as_ref().is_some_and(Life::is_linked);
        self.lives.iter().position(is_linked).expect("two are linked")
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Write { node, key, kind, demand } => {
                self.values += 1;
                let key = KEYS[key];
                let expected = match demand {
                    Demand::None => None,
                    Demand::Known => Some(self.book.version(key)),
                    Demand::Wrong => Some(u64::MAX),
                };
                self.write(node, Asked { key, kind, value: self.values, expected }).await;
            }
            Step::Read { node, key, how } => self.read(node, KEYS[key], how).await,
            Step::Cut { node } => self.life(node).link.cut(),
            Step::Heal { node } => self.life(node).link.heal(),
            Step::Kill { node } => {
                let life = self.lives[node].take().expect("it runs");
                // Nothing that it still does reaches anything.
                self.stores[node] = self.stores[node].reopen();
                life.link.cut();
                tokio::spawn(async move { life.manager.close().await });
            }
            Step::Start { node } => self.start(node).await,
            Step::HandOver { to } => {
                if self.manager(to).promote().await.is_ok() {
                    assert!(self.manager(to).is_leader(), "it was told that it leads");
                }
            }
            Step::Pass { ms } => sleep(Duration::from_millis(ms)).await,
        }
    }

    async fn write(&mut self, node: usize, asked: Asked) {
        let Asked { key, kind, value, expected } = asked;
        let write = match kind {
            Kind::Create => Write::create(key, &value),
            Kind::Update => Write::update(key, &value),
            Kind::Upsert => Write::upsert(key, &value),
            Kind::Delete => Write::delete(key),
        };
        let write = expected.into_iter().fold(write, Write::expecting);
        let gives_up = Instant::now() + PATIENCE;
        loop {
            match self.manager(node).write(write.clone()).await {
                Ok(receipt) => {
                    self.token = self.token.max(receipt.token);
                    return self.book.written(asked, receipt.version);
                }
                // Nothing was written.
                Err(WriteError::NotWritten { .. } | WriteError::FollowerReadOnly { .. }) => {
                    if !self.life(node).is_linked() {
                        return;
                    }
                    assert!(Instant::now() < gives_up, "two of three nodes elect a leader");
                    sleep(PAUSE).await;
                }
                Err(WriteError::OutcomeUnknown { .. }) => {
                    // What is under way comes to an end.
                    sleep(PATIENCE).await;
                    let found = self.found(self.linked(), key, How::Linearizable).await;
                    let (_, found) = found.expect("who is linked shows it");
                    return self.book.found_out(asked, &found);
                }
                Err(refused) => return self.book.refused(asked, &refused),
            }
        }
    }

    async fn read(&mut self, node: usize, key: &'static str, how: How) {
        let Some((asked_at, found)) = self.found(node, key, how).await else { return };
        match how {
            How::Eventual => self.book.read_late(key, &found, asked_at, None),
            How::Bounded(bound) => self.book.read_late(key, &found, asked_at, Some(bound)),
            How::Session | How::Linearizable => self.book.read(key, &found),
        }
    }

    /// What a node shows, asked again until it does, and when that was. `None` if it cannot be as fresh as that.
    async fn found(&mut self, node: usize, key: &str, how: How) -> Option<(Instant, Found<u64>)> {
        let consistency = match how {
            How::Eventual => ReadConsistency::Eventual,
            How::Bounded(bound) => ReadConsistency::BoundedStaleness(bound),
            How::Session => ReadConsistency::Session(self.token),
            How::Linearizable => ReadConsistency::Linearizable,
        };
        let is_promised = match how {
            How::Bounded(bound) => bound >= FRESH,
            How::Eventual | How::Session | How::Linearizable => true,
        };
        let gives_up = Instant::now() + PATIENCE;
        loop {
            let asked_at = Instant::now();
            match self.manager(node).read(key, consistency).await {
                Ok(found) => {
                    self.token = self.token.max(found.token);
                    return Some((asked_at, found));
                }
                Err(_) if !is_promised || !self.life(node).is_linked() => return None,
                Err(error) => assert!(asked_at < gives_up, "nobody reads {key} {how:?}: {error}"),
            }
            sleep(PAUSE).await;
        }
    }
}
