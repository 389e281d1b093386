//! A master that meets all that changes its store, and what is to be found in the store afterwards.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::Arc,
};

use archipelago_clock::{Dot, Hlc, Incarnation, ReplicaId, VersionVector};
use archipelago_conflict::{Strategy, StrategyTable};
use archipelago_crdt::{OrSet, PnCounter};
use archipelago_engine::{Effect, Engine, EngineConfig, Received, Records, Restored, StateDigest};
use archipelago_manager::{
    ApplyError, ImportError, Imported, MultiMasterBuilder, MultiMasterManager, NotTaken, UpdateError,
    WriteError, WriteReceipt,
};
use archipelago_proto::{ChangesPart, EntityId, Event, Limits, Op, encode_value};
use archipelago_store::{Durability, MemoryStore, Store, Table};
use archipelago_testkit::StoredMaster;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::support::{NAMESPACE, TestClock};

const START_UNIX_MS: u64 = 1_800_000_000_000;
/// Between two steps: some of them raise the ceiling of the clock, others do not.
const STEP_MS: u64 = 700;
/// How far the clock is set back when a master is started on an image.
const BACK_MS: u64 = 30_000;

pub(crate) fn strategies() -> StrategyTable {
    StrategyTable::new(Strategy::Lww)
        .with_prefix("field/", Strategy::FieldMerge)
        .with_prefix("crdt/", Strategy::CrdtMerge)
        .with_prefix("sibling/", Strategy::Manual)
}

fn options(name: &str, clock: &TestClock) -> MultiMasterBuilder {
    MultiMasterManager::builder()
        .master_id(name)
        .namespace(NAMESPACE)
        .clock(clock.clone())
        .conflict_strategy(Strategy::Lww)
        .prefix_strategy("field/", Strategy::FieldMerge)
        .prefix_strategy("crdt/", Strategy::CrdtMerge)
        .prefix_strategy("sibling/", Strategy::Manual)
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Post {
    views: PnCounter,
    tags: OrSet<String>,
}

/// What is done to a master, one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Put(&'static str, u32),
    Patch(&'static str, &'static str, u32),
    /// Adds to the CRDTs of an entity.
    Count(&'static str),
    Delete(&'static str),
    /// Applies the next event of the peer, which is received.
    Receive,
    /// The next part of what the peer gave.
    Import,
    /// Closed and started again.
    Restart,
    /// Applies a write under the own identity that is somebody else's.
    Foreign,
    /// The peer does the same step by itself; nothing happens to the master.
    Peer(&'static Step),
    /// The peer takes in all that the master has.
    PeerCatchesUp,
    /// The peer makes an export for the master, and has reclaimed what the master has.
    PeerExports,
}

use Step::{Count, Delete, Foreign, Import, Patch, Peer, PeerCatchesUp, PeerExports, Put, Receive, Restart};

/// Writes under every strategy, conflicts, deletes, an import of several parts, reclaiming, a restart, and another identity.
pub(crate) const STEPS: &[Step] = &[
    Put("a", 1),
    Put("b", 2),
    Patch("field/1", "x", 1),
    Patch("field/1", "y", 2),
    Count("crdt/1"),
    Put("sibling/1", 1),
    Delete("b"),
    Delete("never written"),
    Peer(&Put("a", 100)),
    Peer(&Patch("field/1", "x", 50)),
    Peer(&Put("sibling/1", 2)),
    Peer(&Count("crdt/1")),
    Peer(&Put("p", 1)),
    Peer(&Delete("p")),
    Receive,
    Receive,
    Receive,
    Receive,
    Receive,
    Receive,
    Count("crdt/1"),
    Put("sibling/1", 3),
    Delete("field/1"),
    Put("p", 2),
    PeerCatchesUp,
    Peer(&Put("large/1", 60_000)),
    Peer(&Put("large/2", 60_000)),
    Peer(&Put("large/3", 60_000)),
    Peer(&Put("large/4", 60_000)),
    Peer(&Put("large/5", 60_000)),
    Peer(&Patch("field/1", "z", 9)),
    Peer(&Put("a", 101)),
    PeerExports,
    Import,
    Put("between", 1),
    Import,
    Import,
    Put("a", 5),
    Delete("large/1"),
    Peer(&Put("late", 1)),
    Peer(&Delete("large/2")),
    Receive,
    Receive,
    Restart,
    Put("c", 1),
    Patch("field/2", "x", 1),
    Count("crdt/1"),
    Delete("c"),
    Put("sibling/2", 1),
    Foreign,
    Put("sibling/2", 2),
    Delete("a"),
    Peer(&Put("later", 1)),
    Receive,
    Peer(&Put("sibling/2", 9)),
    Receive,
    Count("crdt/2"),
];

/// What a master was known to be after a step.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) replica: ReplicaId,
    pub(crate) vector: VersionVector,
    pub(crate) digest: StateDigest,
    pub(crate) tombstones: usize,
}

/// The store failed, so nothing is known of the step.
#[derive(Debug)]
pub(crate) struct StoreFailed;

/// Opens the store of the master again.
pub(crate) type Open = Box<dyn Fn() -> Arc<dyn Store>>;

/// A master under way, with a peer of which the store never fails.
pub(crate) struct Voyage {
    pub(crate) master: MultiMasterManager,
    pub(crate) store: Arc<dyn Store>,
    open: Open,
    durability: Durability,
    clock: TestClock,
    now_unix_ms: u64,
    peer: MultiMasterManager,
    peer_store: MemoryStore,
    parts: Vec<Bytes>,
    parts_imported: usize,
    /// Every event that either has ever had in its outbox.
    history: BTreeMap<Dot, Event>,
    /// After the start, and after each step.
    pub(crate) known: Vec<Known>,
}

impl Voyage {
    pub(crate) async fn start(open: Open, durability: Durability) -> Result<Self, StoreFailed> {
        let (clock, store) = (TestClock::at(START_UNIX_MS), open());
        let peer_store = MemoryStore::new();
        let peer =
            options("eu-west", &clock).store(peer_store.clone()).start().await.expect("an empty store");
        let options = options("us-east", &clock).durability(durability).store(store.clone());
        let master = options.start().await.map_err(|_| StoreFailed)?;
        let mut voyage = Voyage {
            master,
            store,
            open,
            durability,
            clock,
            now_unix_ms: START_UNIX_MS,
            peer,
            peer_store,
            parts: Vec::new(),
            parts_imported: 0,
            history: BTreeMap::new(),
            known: Vec::new(),
        };
        voyage.note().await?;
        Ok(voyage)
    }

    /// True if what the step does is on the disk once it is acknowledged, at [`Durability::Fsync`]; what came from others
    /// can come again.
    pub(crate) fn is_synced(step: &Step) -> bool {
        !matches!(step, Receive | Peer(_) | PeerCatchesUp | PeerExports)
    }

    pub(crate) async fn take(&mut self, step: &Step) -> Result<(), StoreFailed> {
        self.now_unix_ms += STEP_MS;
        self.clock.set(self.now_unix_ms);
        match step {
            Peer(step) => write(&self.peer, step).await.map(drop).expect("a store in memory"),
            PeerCatchesUp => give(&self.master, &self.peer).await,
            PeerExports => self.parts = self.export().await,
            Receive => {
                let event = self.next_event();
                receive(&self.master, event).await?;
            }
            Import => {
                let part = self.parts.get(self.parts_imported).expect("that many parts").clone();
                self.parts_imported += 1;
                let imported = import(&self.master, part).await?;
                let is_last = self.parts_imported == self.parts.len();
                assert_eq!(matches!(imported, Imported::Merged { .. }), is_last, "{imported:?}");
            }
            Restart => self.restart().await?,
            Foreign => self.meet_another_self().await?,
            step => {
                let receipt = write(&self.master, step).await?;
                assert!(self.master.vector_clock().contains(&receipt.dot), "what is acknowledged is visible");
            }
        }
        // What follows by itself, such as reclaiming, is over once this is answered.
        self.master.state_digest().await.map_err(|_| StoreFailed)?;
        self.note().await
    }

    async fn restart(&mut self) -> Result<(), StoreFailed> {
        // What is left to be synced was acknowledged at a weaker durability.
        let _ = self.master.close().await;
        self.store = (self.open)();
        let options = options("us-east", &self.clock).durability(self.durability).store(self.store.clone());
        self.master = options.start().await.map_err(|_| StoreFailed)?;
        Ok(())
    }

    async fn meet_another_self(&self) -> Result<(), StoreFailed> {
        let own = self.master.master_id();
        let dot = Dot::new(own.clone(), self.master.vector_clock().get(&own) + 1);
        let op = Op::Put(encode_value(&1, &Limits::default()).expect("a small value"));
        let hlc = Hlc::new(self.now_unix_ms, 0);
        let event = Event {
            dot,
            hlc,
            deps: Arc::default(),
            context: None,
            entity: "foreign".into(),
            op,
            trace: None,
        };
        match self.master.apply_remote_event(event).await {
            Err(ApplyError::ForeignIdentity) => {
                assert_ne!(self.master.master_id(), own, "another identity");
                Ok(())
            }
            Err(ApplyError::StoreFailed { .. }) => Err(StoreFailed),
            other => panic!("{other:?}"),
        }
    }

    /// The first event of the peer that the master lacks.
    fn next_event(&self) -> Event {
        let peer = self.peer.master_id();
        let sequence = self.master.vector_clock().get(&peer) + 1;
        self.outbox_of_peer().into_iter().find(|event| event.dot.sequence == sequence).expect("one is left")
    }

    fn outbox_of_peer(&self) -> Vec<Event> {
        let peer = StoredMaster::read(&self.peer_store, &strategies()).expect("sound");
        peer.expect("not empty").outbox
    }

    /// What the master lacks. The peer says that it has reclaimed all tombstones that the master had applied.
    async fn export(&self) -> Vec<Bytes> {
        let since = self.master.session_token();
        let mut parts = self.peer.changes_since(&since).all().await.expect("open");
        assert!(parts.len() > 1, "the first part waits");
        let last = parts.pop().expect("several");
        let mut last = ChangesPart::decode(last, &Limits::default(), usize::MAX).expect("just made");
        last.piece.floor.clone_from(since.vector());
        parts.push(last.encode());
        parts
    }

    /// Takes down what there is now, and that it fits together.
    async fn note(&mut self) -> Result<(), StoreFailed> {
        let stored = StoredMaster::read(&*self.store, &strategies()).expect("consistent").expect("not empty");
        self.history.extend(
            stored
                .outbox
                .iter()
                .chain(&self.outbox_of_peer())
                .map(|event| (event.dot.clone(), event.clone())),
        );
        let (vector, digest) = self.master.state_digest().await.map_err(|_| StoreFailed)?;
        let replica = self.master.master_id();
        let tombstones = rows(&*self.store, Table::Tombstones);
        self.known.push(Known { replica, vector, digest, tombstones });
        Ok(())
    }

    /// Checks what is left in a store: it is what the master was after one of these steps.
    pub(crate) async fn check(&self, left: Arc<dyn Store>, steps: RangeInclusive<usize>, what: &str) {
        let stored = self.check_rows(&*left, what);
        let is_known = |known: &Known| known.replica == stored.replica && known.vector == stored.vector;
        let found = self.known[..=*steps.end()].iter().rposition(is_known);
        let found = found
            .unwrap_or_else(|| panic!("{what}: {} with {} is of no step", stored.replica, stored.vector));
        assert!(
            found >= *steps.start(),
            "{what}: what was acknowledged in step {} is lost, {found} is left",
            steps.start()
        );
        assert_eq!(stored.digest, self.known[found].digest, "{what}: as it was after step {found}");
        self.go_on(left, &stored, what).await;
    }

    /// Checks what is left in a store after a step failed: all that was acknowledged, and possibly that step.
    pub(crate) async fn check_after_failure(&self, left: Arc<dyn Store>, may_have_more: bool, what: &str) {
        let stored = self.check_rows(&*left, what);
        let last = self.known.last().expect("after the start");
        let is_last = stored.replica == last.replica && stored.vector == last.vector;
        if is_last {
            assert_eq!(stored.digest, last.digest, "{what}");
        } else {
            assert!(may_have_more, "{what}: {} is left, {} was acknowledged", stored.vector, last.vector);
            // Under another identity, the checks of the rows have seen to it that nothing of the session is missing.
            let has_all = stored.vector.dominates(&last.vector) || stored.replica != last.replica;
            assert!(has_all, "{what}: {} is left, {} was acknowledged", stored.vector, last.vector);
        }
        self.go_on(left, &stored, what).await;
    }

    /// Checks that the rows fit together, and that the state is exactly what the writes in the vector make of it.
    fn check_rows(&self, left: &dyn Store, what: &str) -> StoredMaster {
        let stored =
            StoredMaster::read(left, &strategies()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let stored = stored.unwrap_or_else(|| panic!("{what}: nothing is left"));
        let history = self.history_of(&stored);
        let (vector, digest) = played(history.values().filter(|event| stored.vector.contains(&event.dot)));
        assert_eq!(vector, stored.vector, "{what}: every write in the vector, and no other");
        assert_eq!(digest, stored.digest, "{what}: what the writes in the vector make of the state");
        // Nothing was emitted, so every own write waits, unless it changed its name: then it comes by repair.
        let own = |dot: &&Dot| dot.actor.name() == stored.replica.name() && stored.vector.contains(dot);
        let waiting: BTreeSet<&Dot> = stored.outbox.iter().map(|event| &event.dot).collect();
        let renamed = self.renamed(&stored);
        let expected = history.keys().filter(own).filter(|dot| !renamed.contains(dot));
        assert_eq!(waiting, expected.collect(), "{what}: own writes in the outbox");
        for event in &stored.outbox {
            assert_eq!(history.get(&event.dot), Some(event), "{what}");
        }
        stored
    }

    /// Of a master that took another identity, the last sequence of the first one that is still its own.
    fn fork(&self, stored: &StoredMaster) -> Option<(ReplicaId, u64)> {
        let first = self.known.first().expect("after the start").replica.clone();
        (stored.replica != first).then(|| (first.clone(), stored.vector.get(&first)))
    }

    /// The writes that changed their name with the identity.
    fn renamed(&self, stored: &StoredMaster) -> Vec<Dot> {
        let Some((first, fork)) = self.fork(stored) else { return Vec::new() };
        let last = self.known.iter().map(|known| known.vector.get(&first)).max().unwrap_or(0);
        (fork + 1..=last).map(|sequence| Dot::new(stored.replica.clone(), sequence - fork)).collect()
    }

    /// Every write there ever was, by the name that it has in this store.
    fn history_of(&self, stored: &StoredMaster) -> BTreeMap<Dot, Event> {
        let mut history = self.history.clone();
        // Of a commit that failed and is there nobody has heard yet.
        history.extend(stored.outbox.iter().map(|event| (event.dot.clone(), event.clone())));
        let Some((first, fork)) = self.fork(stored) else { return history };
        let (stay, change): (BTreeMap<_, _>, _) =
            history.into_iter().partition(|(dot, _)| dot.actor != first || dot.sequence <= fork);
        let renamed = change.into_values().map(|mut event| {
            event.dot = Dot::new(stored.replica.clone(), event.dot.sequence - fork);
            // Of the writes that stay what they are it knew by its name.
            Arc::make_mut(&mut event.deps).raise(first.clone(), fork);
            (event.dot.clone(), event)
        });
        renamed.collect::<Vec<_>>().into_iter().chain(stay).collect()
    }

    /// Starts a master on what is left, with a clock that is behind, and lets it go on.
    async fn go_on(&self, left: Arc<dyn Store>, stored: &StoredMaster, what: &str) {
        let clock = TestClock::at(self.now_unix_ms - BACK_MS);
        let options = options("us-east", &clock).durability(Durability::Os).store(left.clone());
        let master = options.start().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(master.master_id(), stored.replica, "{what}");
        let state = (stored.vector.clone(), stored.digest.clone());
        assert_eq!(master.state_digest().await.expect("open"), state, "{what}");
        assert_eq!(master.metrics().outbox_len, stored.outbox.len() as u64, "{what}");

        let receipt = master.write("next", &1).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let next = Dot::new(stored.replica.clone(), stored.vector.get(&stored.replica) + 1);
        assert_eq!(receipt.dot, next, "{what}: the next sequence");
        let waiting = stored.outbox.iter().map(|event| event.hlc).max().unwrap_or(Hlc::ZERO);
        assert!(receipt.hlc > stored.last_stamp().max(waiting), "{what}: a later stamp than any before");
        if stored.staged > 0 {
            // Parts that are given after the last one that was missing would wait for the others once more.
            for part in &self.parts {
                let imported = import(&master, part.clone()).await;
                let imported = imported.unwrap_or_else(|_| panic!("{what}: a sound store"));
                if matches!(imported, Imported::Merged { .. } | Imported::Known) {
                    break;
                }
            }
            assert_eq!(rows(&*left, Table::Staged), 0, "{what}: what was staged is taken in");
        }
        master.state_digest().await.expect("open");
        let after =
            StoredMaster::read(&*left, &strategies()).unwrap_or_else(|error| panic!("{what}: {error}"));
        let after = after.expect("not empty");
        assert_eq!(after.outbox.len(), stored.outbox.len() + 1, "{what}");
        assert_eq!(after.outbox.iter().filter(|event| event.dot == next).count(), 1, "{what}");
        master.close().await.unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}

async fn write(master: &MultiMasterManager, step: &Step) -> Result<WriteReceipt, StoreFailed> {
    let written = match step {
        Put(entity, size @ 1_000..) => master.write(*entity, &"x".repeat(*size as usize)).await,
        Put(entity, value) => master.write(*entity, value).await,
        Patch(entity, field, value) => master.patch(*entity, &BTreeMap::from([(field, value)])).await,
        Delete(entity) => master.delete(*entity).await,
        Count(entity) => {
            let me = master.master_id();
            let count = move |post: &mut Post| {
                post.views.increment(me.clone(), 3).expect("its own state");
                post.tags.insert(me, "red".to_owned()).map(drop)
            };
            match master.update(*entity, count).await {
                Err(UpdateError::Write(error)) => Err(error),
                updated => Ok(updated.expect("a sound entity")),
            }
        }
        other => panic!("{other:?} is no write"),
    };
    written.map_err(|error| match error {
        WriteError::StoreFailed { .. } => StoreFailed,
        other => panic!("{other}"),
    })
}

async fn receive(master: &MultiMasterManager, event: Event) -> Result<(), StoreFailed> {
    match master.apply_remote_event(event).await {
        Err(ApplyError::StoreFailed { .. }) => Err(StoreFailed),
        applied => {
            applied.expect("nothing is missing");
            Ok(())
        }
    }
}

async fn import(master: &MultiMasterManager, part: Bytes) -> Result<Imported, StoreFailed> {
    match master.import(part).await {
        Err(ImportError::Store(_) | ImportError::NotTaken(NotTaken::StoreFailed { .. })) => Err(StoreFailed),
        imported => Ok(imported.expect("a sound part")),
    }
}

async fn give(giver: &MultiMasterManager, taker: &MultiMasterManager) {
    for part in giver.changes_since(&taker.session_token()).all().await.expect("open") {
        taker.import(part).await.expect("a sound part");
    }
}

/// The state that these events make of nothing: an engine of its own, which never stores anything.
fn played<'a>(events: impl Iterator<Item = &'a Event>) -> (VersionVector, StateDigest) {
    let observer = ReplicaId::new("observer", Incarnation::from_bits(1)).expect("a legal name");
    let config = EngineConfig { strategies: strategies(), ..EngineConfig::new(NAMESPACE, observer) };
    let (mut engine, mut rows) = (Engine::new(config, Restored::default()), Rows::default());
    for event in events {
        let received = engine.handle_events([event.clone()], None, u64::MAX / 2, &rows).expect("sound rows");
        assert!(
            matches!(received[..], [Received::Applied | Received::Waits]),
            "{received:?} for {}",
            event.dot
        );
        for effect in engine.flush(u64::MAX / 2) {
            if let Effect::Commit(commit) = effect {
                rows.0.extend(
                    commit.entities.into_iter().filter_map(|(entity, record)| Some((entity, record?))),
                );
            }
        }
    }
    (engine.vector().clone(), engine.digest().clone())
}

#[derive(Default)]
struct Rows(BTreeMap<EntityId, Bytes>);

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Records for Rows {
    fn record(&self, entity: &EntityId) -> Result<Option<Bytes>, Failure> {
        Ok(self.0.get(entity).cloned())
    }

    fn live_dots(&self, _: u32, _: u64, _: usize) -> Result<Vec<(u64, EntityId)>, Failure> {
        Ok(Vec::new())
    }

    fn tombstones(&self, _: u32, _: u64, _: usize) -> Result<Vec<(u64, EntityId)>, Failure> {
        Ok(Vec::new())
    }

    fn entities(&self, _: &[u8], _: usize) -> Result<Vec<(Bytes, Bytes)>, Failure> {
        Ok(Vec::new())
    }
}

fn rows(store: &dyn Store, table: Table) -> usize {
    use std::ops::Bound::Unbounded;
    store.scan(table, Unbounded, Unbounded, usize::MAX).expect("open").len()
}
