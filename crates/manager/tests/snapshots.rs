//! Snapshots: made while writes go on, checked, restored, joined by, and the log trimmed below them.

mod support;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use archipelago_conflict::Strategy;
use archipelago_manager::{
    MultiMasterManager, Notification, SnapshotError, SnapshotProgress, StartError,
    snapshot::{SnapshotRestore, restore_snapshot, snapshot_at_rest, verify_snapshot},
};
use archipelago_pipeline::{
    MemoryBroker, Pipeline,
    snapshots::{MemorySnapshots, SnapshotStore, SnapshotStoreError, SnapshotWriter},
};
use archipelago_proto::{Limits, MemberState};
use archipelago_store::{MemoryStore, Store};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use support::{DEADLINE, Island, NAMESPACE, broker, converge, notified, options};
use tokio::sync::Semaphore;

const BEAT: Duration = Duration::from_millis(20);
const ENTITIES: u64 = 20_000;

/// What happens to one chunk on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Harm {
    Flipped,
    Truncated,
    Missing,
    Exchanged,
}

/// A place for snapshots that a test watches, holds up and harms.
#[derive(Clone, Debug)]
struct Watched {
    kept: MemorySnapshots,
    /// How often each chunk was given.
    given: Arc<Mutex<BTreeMap<u64, u64>>>,
    harm: Arc<Mutex<Option<(u64, Harm)>>>,
    /// One permit a chunk; without limit unless a test takes them away.
    permits: Arc<Semaphore>,
    /// Counts the chunks that are stored.
    stored: Arc<AtomicU64>,
    /// One permit a chunk that is stored.
    writes: Arc<Semaphore>,
}

impl Watched {
    fn new() -> Self {
        Watched {
            kept: MemorySnapshots::default(),
            given: Arc::default(),
            harm: Arc::default(),
            permits: Arc::new(Semaphore::new(1 << 20)),
            stored: Arc::default(),
            writes: Arc::new(Semaphore::new(1 << 20)),
        }
    }

    fn harm(&self, chunk: u64, harm: Harm) {
        *self.harm.lock().expect("no panic") = Some((chunk, harm));
    }

    fn given(&self) -> BTreeMap<u64, u64> {
        self.given.lock().expect("no panic").clone()
    }
}

#[async_trait]
impl SnapshotStore for Watched {
    async fn list(&self) -> Result<Vec<String>, SnapshotStoreError> {
        self.kept.list().await
    }

    async fn manifest(&self, name: &str) -> Result<Bytes, SnapshotStoreError> {
        self.kept.manifest(name).await
    }

    async fn chunk(&self, name: &str, index: u64) -> Result<Bytes, SnapshotStoreError> {
        self.permits.acquire().await.expect("never closed").forget();
        let chunk = self.kept.chunk(name, index).await?;
        let harm = self.harm.lock().expect("no panic").filter(|(harmed, _)| *harmed == index);
        let harmed = match harm.map(|(_, harm)| harm) {
            None => chunk,
            Some(Harm::Flipped) => {
                let mut bytes = chunk.to_vec();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                bytes.into()
            }
            Some(Harm::Truncated) => chunk.slice(..chunk.len() - 1),
            Some(Harm::Missing) => self.kept.chunk("people-000000000000-none-0", index).await?,
            Some(Harm::Exchanged) => self.kept.chunk(name, if index == 0 { 1 } else { 0 }).await?,
        };
        *self.given.lock().expect("no panic").entry(index).or_default() += 1;
        Ok(harmed)
    }

    async fn remove(&self, name: &str) -> Result<(), SnapshotStoreError> {
        self.kept.remove(name).await
    }

    async fn begin(&self, name: &str) -> Result<Box<dyn SnapshotWriter>, SnapshotStoreError> {
        Ok(Box::new(Slow { writer: self.kept.begin(name).await?, watched: self.clone() }))
    }
}

/// Gives others a turn with each chunk.
#[derive(Debug)]
struct Slow {
    writer: Box<dyn SnapshotWriter>,
    watched: Watched,
}

#[async_trait]
impl SnapshotWriter for Slow {
    async fn chunk(&mut self, bytes: Bytes) -> Result<(), SnapshotStoreError> {
        self.writer.chunk(bytes).await?;
        self.watched.stored.fetch_add(1, Ordering::SeqCst);
        self.watched.writes.acquire().await.expect("never closed").forget();
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    async fn finish(self: Box<Self>, manifest: Bytes) -> Result<(), SnapshotStoreError> {
        self.writer.finish(manifest).await
    }
}

/// A value of about a hundred bytes that does not pack to nothing.
fn value(of: u64) -> BTreeMap<String, String> {
    let noise = |n: u64| format!("{:x}", (of * 31 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    [("name", 1), ("home", 2), ("note", 3)]
        .map(|(field, n)| (field.to_owned(), noise(n)))
        .into_iter()
        .collect()
}

async fn fill(master: &MultiMasterManager, entities: u64) {
    // Many writes at once share commits.
    let writes = futures::stream::iter(0..entities).for_each_concurrent(256, |n| async move {
        master.write(format!("user/{n}"), &value(n)).await.expect("a write");
    });
    writes.await;
}

/// Writes, and removes, without end, until it is dropped.
async fn keep_writing(master: &MultiMasterManager, entities: u64) {
    for n in 0.. {
        let id = format!("user/{}", n * 7_919 % entities);
        match n % 3 {
            0 => drop(master.delete(id).await.expect("a removal")),
            _ => drop(master.write(id, &value(n)).await.expect("a write")),
        }
        tokio::task::yield_now().await;
    }
}

async fn alone(strategy: Strategy) -> MultiMasterManager {
    options("us-east", strategy).store(MemoryStore::new()).start().await.expect("a sound store")
}

fn limits() -> Limits {
    Limits::default()
}

/// The digest as heartbeats and manifests tell it.
async fn state(master: &MultiMasterManager) -> (archipelago_clock::VersionVector, u128) {
    let (vector, digest) = master.state_digest().await.expect("open");
    (vector, digest.root())
}

#[tokio::test]
async fn a_snapshot_made_while_writes_go_on_is_the_state_at_its_vector() {
    for strategy in [Strategy::Lww, Strategy::FieldMerge, Strategy::CrdtMerge, Strategy::VersionVector] {
        let master = alone(strategy).await;
        fill(&master, ENTITIES / 4).await;
        let before = master.vector_clock();
        let snapshots = Watched::new();
        let info = tokio::select! {
            made = master.create_snapshot(&snapshots) => made.unwrap(),
            () = keep_writing(&master, ENTITIES / 4) => unreachable!("it has no end"),
        };
        assert!(info.vector.dominates(&before) && info.vector != before, "writes went on meanwhile");
        assert!(info.entities > ENTITIES / 4, "some were read twice");
        assert_eq!(verify_snapshot(&snapshots, &info.name, &limits()).await.unwrap(), info);
        // What was written after it is not in it.
        master.write("later", &1).await.unwrap();

        let store = MemoryStore::new();
        let to = ("ap-south", NAMESPACE);
        restore_snapshot(&snapshots, &info.name, Arc::new(store.clone()), to, &limits()).await.unwrap();
        let restored = options("ap-south", strategy).store(store).start().await.unwrap();
        assert_eq!(state(&restored).await, (info.vector, info.state_digest.unwrap()), "{strategy:?}");
        assert_eq!(restored.read::<u8>("later").await.unwrap(), None);
    }
}

#[tokio::test]
async fn making_a_snapshot_tells_of_it_and_leaves_one_that_is_listed() {
    let master = alone(Strategy::Lww).await;
    fill(&master, 100).await;
    let mut notifications = master.subscribe();
    let snapshots = MemorySnapshots::default();
    let info = master.create_snapshot(&snapshots).await.unwrap();
    assert_eq!(snapshots.list().await.unwrap(), std::slice::from_ref(&info.name));
    let made = |notification| match notification {
        Notification::SnapshotMade { name, entities, bytes } => Some((name, entities, bytes)),
        _ => None,
    };
    assert_eq!(notified(&mut notifications, made).await, (info.name, 100, info.bytes));
    assert!(info.bytes < info.raw_bytes);
}

#[tokio::test]
async fn every_chunk_that_is_damaged_missing_cut_or_exchanged_is_found() {
    let master = alone(Strategy::Lww).await;
    fill(&master, ENTITIES / 4).await;
    let snapshots = Watched::new();
    let info = master.create_snapshot(&snapshots).await.unwrap();
    assert!(info.chunks >= 3, "{info:?}");
    for chunk in 0..info.chunks {
        for harm in [Harm::Flipped, Harm::Truncated, Harm::Missing, Harm::Exchanged] {
            snapshots.harm(chunk, harm);
            let error = verify_snapshot(&snapshots, &info.name, &limits()).await.unwrap_err();
            match harm {
                Harm::Missing => assert!(matches!(error, SnapshotError::Snapshots(_)), "{error}"),
                _ => assert!(error.to_string().contains(&format!("chunk {chunk}")), "{harm:?}: {error}"),
            }
            let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
            let to = ("ap-south", NAMESPACE);
            restore_snapshot(&snapshots, &info.name, store.clone(), to, &limits()).await.unwrap_err();
            let half = options("ap-south", Strategy::Lww).store(store).start().await.unwrap_err();
            assert!(matches!(half, StartError::HalfRestored { .. }), "{half}");
        }
    }
    *snapshots.harm.lock().unwrap() = None;
    verify_snapshot(&snapshots, &info.name, &limits()).await.unwrap();
}

#[tokio::test]
async fn a_restore_goes_on_where_it_was_interrupted_and_nothing_starts_on_it_before_it_is_done() {
    let master = alone(Strategy::Lww).await;
    fill(&master, ENTITIES / 4).await;
    let snapshots = Watched::new();
    let info = master.create_snapshot(&snapshots).await.unwrap();
    master.write("later", &1).await.unwrap();
    let other = master.create_snapshot(&snapshots).await.unwrap();
    let (store, to, limits) = (MemoryStore::new(), ("ap-south", NAMESPACE), limits());
    for interrupted_after in 1..info.chunks {
        let into: Arc<dyn Store> = Arc::new(store.reopen());
        let mut restore = SnapshotRestore::begin(&snapshots, &info.name, into, to, &limits).await.unwrap();
        assert_eq!(restore.progress().chunks, interrupted_after - 1);
        assert!(restore.restore_next().await.unwrap());
    }
    let into: Arc<dyn Store> = Arc::new(store.reopen());
    let started = options("ap-south", Strategy::Lww).store(into.clone()).start().await;
    assert!(matches!(started, Err(StartError::HalfRestored { .. })));
    for (name, to) in [(&other.name, to), (&info.name, ("eu-west", NAMESPACE))] {
        let refused = restore_snapshot(&snapshots, name, into.clone(), to, &limits).await;
        assert!(matches!(refused, Err(SnapshotError::HalfRestored { .. })), "{refused:?}");
    }
    restore_snapshot(&snapshots, &info.name, into.clone(), to, &limits).await.unwrap();
    assert!(snapshots.given().values().all(|times| *times == 1), "{:?}", snapshots.given());
    let restored = options("ap-south", Strategy::Lww).store(into).start().await.unwrap();
    assert_eq!(state(&restored).await.1, info.state_digest.unwrap());
}

#[tokio::test]
async fn a_restore_leaves_a_store_that_has_something_alone() {
    let master = alone(Strategy::Lww).await;
    fill(&master, 10).await;
    let snapshots = MemorySnapshots::default();
    let info = master.create_snapshot(&snapshots).await.unwrap();
    let store = MemoryStore::new();
    let other = options("ap-south", Strategy::Lww).store(store.clone()).start().await.unwrap();
    other.write("mine", &1).await.unwrap();
    other.close().await.unwrap();
    let into: Arc<dyn Store> = Arc::new(store.reopen());
    let to = ("ap-south", NAMESPACE);
    let refused = restore_snapshot(&snapshots, &info.name, into.clone(), to, &limits()).await.unwrap_err();
    assert!(matches!(&refused, SnapshotError::NotEmpty { owner } if owner.contains("ap-south")), "{refused}");
    let other = options("ap-south", Strategy::Lww).store(into).start().await.unwrap();
    assert_eq!(other.read::<u8>("mine").await.unwrap(), Some(1));
    assert_eq!(other.read::<u8>("user/1").await.map(|found| found.is_some()).ok(), Some(false));
    let foreign = ("ap-south", "others");
    let empty = Arc::new(MemoryStore::new());
    let refused = restore_snapshot(&snapshots, &info.name, empty, foreign, &limits()).await.unwrap_err();
    assert!(matches!(refused, SnapshotError::ForeignNamespace { .. }), "{refused}");
}

/// A master whose heartbeats come quickly.
async fn lively(broker: &MemoryBroker, name: &str) -> Island {
    Island::on(broker, options(name, Strategy::Lww).heartbeat_interval(BEAT), MemoryStore::new()).await
}

async fn until(mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.expect("it comes true");
}

/// Removes from the log all that is in it.
async fn trim_all(broker: &MemoryBroker) {
    let pipeline = broker.pipeline(NAMESPACE);
    let last = pipeline.state().await.expect("a log").last_sequence;
    pipeline.trim(last).await.expect("a log");
}

#[tokio::test]
async fn a_restored_master_goes_on_with_the_others() {
    let broker = broker();
    let us = lively(&broker, "us-east").await;
    fill(&us.master, 1_000).await;
    let snapshots = MemorySnapshots::default();
    let info = us.master.create_snapshot(&snapshots).await.unwrap();
    us.master.delete("user/1").await.unwrap();
    us.master.write("user/2", "changed").await.unwrap();
    until(|| us.master.metrics().outbox_len == 0).await;
    let store = MemoryStore::new();
    let to = ("eu-west", NAMESPACE);
    restore_snapshot(&snapshots, &info.name, Arc::new(store.clone()), to, &limits()).await.unwrap();
    let restored = options("eu-west", Strategy::Lww).heartbeat_interval(BEAT);
    let eu = Island::on(&broker, restored, store).await;
    eu.master.write("user/3", "mine").await.unwrap();
    converge(&[&us.master, &eu.master]).await;
    assert_eq!(eu.master.read::<String>("user/2").await.unwrap().as_deref(), Some("changed"));
    assert_eq!(us.master.read::<String>("user/3").await.unwrap().as_deref(), Some("mine"));
    assert!(eu.master.entity("user/1").await.unwrap().is_none_or(|entity| entity.value.is_none()));
}

#[tokio::test]
async fn a_join_by_snapshot_that_is_killed_twice_goes_on_and_fetches_no_chunk_again() {
    let broker = broker();
    let us = lively(&broker, "us-east").await;
    fill(&us.master, ENTITIES).await;
    until(|| us.master.metrics().outbox_len == 0).await;
    let snapshots = Watched::new();
    let info = us.master.create_snapshot(&snapshots).await.unwrap();
    assert!(info.chunks >= 6, "{info:?}");
    trim_all(&broker).await;
    snapshots.permits.forget_permits(1 << 20);
    let stop = AtomicBool::new(false);
    let writing = async {
        for n in 0..u64::MAX {
            if stop.load(Ordering::SeqCst) {
                break;
            }
            us.master.write(format!("user/{}", n % ENTITIES), &value(n)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let joining = async {
        let options =
            || options("eu-west", Strategy::Lww).heartbeat_interval(BEAT).snapshots(snapshots.clone());
        let store = MemoryStore::new();
        for killed_after in [2, 4] {
            let eu = Island::on(&broker, options(), store.reopen()).await;
            let mut notifications = eu.master.subscribe();
            snapshots.permits.add_permits(2);
            let staged = || eu.master.metrics().snapshot_bytes_staged;
            until(|| snapshots.given().len() == killed_after).await;
            // Killed with the last of them in the store, and the next one on its way.
            until(|| staged() > killed_after as u64 * info.raw_bytes / info.chunks * 9 / 10).await;
            assert_eq!(eu.master.entity_ids("", None, 1).await.unwrap(), [], "nothing of it is visible");
            drop(eu);
            // Nothing of the killed one may run on into the life of the next.
            while notifications.next().await.is_some() {}
        }
        snapshots.permits.add_permits(1 << 20);
        let eu = Island::on(&broker, options(), store.reopen()).await;
        let mut notifications = eu.master.subscribe();
        let taken = |notification| match notification {
            Notification::SnapshotTaken { name, .. } => Some(name),
            _ => None,
        };
        assert_eq!(notified(&mut notifications, taken).await, info.name);
        stop.store(true, Ordering::SeqCst);
        eu
    };
    let (eu, ()) = tokio::join!(joining, writing);
    let given = snapshots.given();
    assert_eq!(given.len() as u64, info.chunks);
    assert!(given.values().all(|times| *times == 1), "{given:?}");
    converge(&[&us.master, &eu.master]).await;
    assert_eq!(eu.master.metrics().snapshots_taken, 1);
    assert_eq!(eu.master.metrics().snapshot_bytes_staged, 0);
    assert_eq!(eu.master.metrics().logs_lost, 0, "a new master has lost nothing");
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_used_is_skipped_for_the_next_and_at_last_for_another_master() {
    let broker = broker();
    let us = lively(&broker, "us-east").await;
    fill(&us.master, ENTITIES / 4).await;
    let (good, damaged, foreign) = (MemorySnapshots::default(), Watched::new(), MemorySnapshots::default());
    let old = us.master.create_snapshot(&good).await.unwrap();
    us.master.write("after", &1).await.unwrap();
    until(|| us.master.metrics().outbox_len == 0).await;
    let new = us.master.create_snapshot(&damaged).await.unwrap();
    damaged.harm(1, Harm::Flipped);
    let stranger = options("us-east", Strategy::FieldMerge).store(MemoryStore::new()).start().await.unwrap();
    stranger.write("x", &1).await.unwrap();
    let other_rules = stranger.create_snapshot(&foreign).await.unwrap();
    trim_all(&broker).await;

    let joins = options("eu-west", Strategy::Lww).heartbeat_interval(BEAT);
    let joins = joins.snapshots(foreign.clone()).snapshots(damaged.clone()).snapshots(good);
    let store = MemoryStore::new();
    let link = archipelago_pipeline::Switch::new(Arc::new(broker.pipeline(NAMESPACE)));
    link.cut();
    let eu = joins.store(store).pipeline(link.clone()).start().await.unwrap();
    let mut notifications = eu.subscribe();
    link.heal();
    let mut skipped = BTreeMap::new();
    let taken = notified(&mut notifications, |notification| match notification {
        Notification::SnapshotSkipped { name, reason } => {
            skipped.insert(name, reason);
            None
        }
        Notification::SnapshotTaken { name, .. } => Some(name),
        _ => None,
    });
    assert_eq!(taken.await, old.name);
    assert!(skipped[&new.name].contains("chunk 1"), "{skipped:?}");
    assert!(skipped[&other_rules.name].contains("other rules"), "{skipped:?}");
    converge(&[&us.master, &eu]).await;

    let joins = options("ap-south", Strategy::Lww).heartbeat_interval(BEAT).snapshots(damaged);
    let ap = Island::on(&broker, joins, MemoryStore::new()).await;
    converge(&[&us.master, &eu, &ap.master]).await;
    until(|| ap.master.metrics().repairs >= 1).await;
    assert_eq!(ap.master.metrics().snapshots_taken, 0);
}

#[tokio::test]
async fn a_master_whose_log_was_trimmed_joins_by_a_snapshot_when_nobody_else_is_there() {
    let broker = broker();
    let us = lively(&broker, "us-east").await;
    fill(&us.master, 1_000).await;
    until(|| us.master.metrics().outbox_len == 0).await;
    let snapshots = MemorySnapshots::default();
    us.master.create_snapshot(&snapshots).await.unwrap();
    trim_all(&broker).await;
    us.master.write("after", &1).await.unwrap();
    until(|| us.master.metrics().outbox_len == 0).await;
    us.master.close().await.unwrap();
    let joins = options("eu-west", Strategy::Lww).heartbeat_interval(BEAT).snapshots(snapshots);
    let eu = Island::on(&broker, joins, MemoryStore::new()).await;
    let token = us.master.session_token();
    assert!(eu.master.wait_for(&token, DEADLINE).await);
    assert_eq!(eu.master.read::<u8>("after").await.unwrap(), Some(1));
    until(|| eu.master.metrics().snapshots_taken == 1).await;
}

/// A master that makes snapshots again and again.
async fn keeping(
    broker: &MemoryBroker,
    name: &str,
    store: MemoryStore,
    snapshots: &MemorySnapshots,
) -> Island {
    keeping_at(BEAT, broker, name, store, snapshots).await
}

/// It is taken to be away once it was silent for ten of these intervals.
async fn keeping_at(
    beat: Duration,
    broker: &MemoryBroker,
    name: &str,
    store: MemoryStore,
    snapshots: &MemorySnapshots,
) -> Island {
    let options = options(name, Strategy::Lww).heartbeat_interval(beat).snapshots(snapshots.clone());
    Island::on(broker, options.snapshot_every(Duration::from_millis(50)), store).await
}

fn made(notification: Notification) -> Option<String> {
    match notification {
        Notification::SnapshotMade { name, .. } => Some(name),
        _ => None,
    }
}

async fn first_sequence(broker: &MemoryBroker) -> u64 {
    broker.pipeline(NAMESPACE).state().await.expect("a log").first_sequence
}

async fn last_sequence(broker: &MemoryBroker) -> u64 {
    broker.pipeline(NAMESPACE).state().await.expect("a log").last_sequence
}

async fn until_first_sequence_is_above(broker: &MemoryBroker, sequence: u64) {
    let waiting = async {
        while first_sequence(broker).await <= sequence {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.expect("the log is trimmed");
}

/// Waits until each knows that all are active.
async fn until_active(masters: &[&MultiMasterManager]) {
    let waiting = async {
        for master in masters {
            loop {
                let members = master.members().await.expect("open");
                if members.iter().filter(|member| member.state == MemberState::Active).count()
                    == masters.len()
                {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.expect("they become active");
}

#[tokio::test]
async fn the_log_is_trimmed_as_far_as_the_slowest_member_has_read_it_and_no_further() {
    let (broker, snapshots) = (broker(), MemorySnapshots::default());
    let us = keeping(&broker, "us-east", MemoryStore::new(), &snapshots).await;
    let eu = lively(&broker, "zz-west").await;
    fill(&us.master, 50).await;
    converge(&[&us.master, &eu.master]).await;
    // Both are members, and known to have read something.
    until_first_sequence_is_above(&broker, 1).await;
    eu.link.cut();
    let read = last_sequence(&broker).await;
    let mut notifications = us.master.subscribe();
    for n in 0..5 {
        us.master.write(format!("while/{n}"), &n).await.unwrap();
        until(|| us.master.metrics().outbox_len == 0).await;
        notified(&mut notifications, made).await;
        notified(&mut notifications, made).await;
        assert!(first_sequence(&broker).await <= read + 1, "what the slow one has not read stays");
    }
    eu.link.heal();
    until_first_sequence_is_above(&broker, read + 5).await;
    converge(&[&us.master, &eu.master]).await;
    assert_eq!((eu.master.metrics().logs_lost, eu.master.metrics().repairs), (0, 0), "the log brought it");
}

#[tokio::test]
async fn the_log_is_not_trimmed_while_a_member_was_not_heard() {
    let (broker, snapshots) = (broker(), MemorySnapshots::default());
    let us = lively(&broker, "us-east").await;
    let eu = lively(&broker, "zz-west").await;
    fill(&us.master, 50).await;
    converge(&[&us.master, &eu.master]).await;
    until_active(&[&us.master, &eu.master]).await;
    us.master.close().await.unwrap();
    eu.master.close().await.unwrap();
    let us = keeping(&broker, "us-east", us.store.reopen(), &snapshots).await;
    let mut notifications = us.master.subscribe();
    for _ in 0..4 {
        notified(&mut notifications, made).await;
    }
    assert_eq!(first_sequence(&broker).await, 1);
    us.master.retire("zz-west").await.unwrap();
    until_first_sequence_is_above(&broker, 1).await;
}

#[tokio::test]
async fn the_master_with_the_least_name_makes_the_snapshots_and_old_ones_go() {
    let (broker, snapshots) = (broker(), MemorySnapshots::default());
    // On a busy machine, too, nobody is to be taken to be away who is not.
    let beat = Duration::from_millis(400);
    let ap = keeping_at(beat, &broker, "ap-south", MemoryStore::new(), &snapshots).await;
    let us = keeping_at(beat, &broker, "us-east", MemoryStore::new(), &snapshots).await;
    converge(&[&us.master, &ap.master]).await;
    until_active(&[&us.master, &ap.master]).await;
    let (mut of_us, mut of_ap) = (us.master.subscribe(), ap.master.subscribe());
    let mut last = String::new();
    for _ in 0..4 {
        last = notified(&mut of_ap, made).await;
    }
    let waiting = async {
        while snapshots.list().await.unwrap().len() > 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.expect("old ones go");
    assert!(snapshots.list().await.unwrap().last() >= Some(&last), "the newest stay");
    // When it goes, the next one takes over; until then that one made none.
    ap.master.close().await.unwrap();
    let first_of_us = notified(&mut of_us, made).await;
    assert!(first_of_us > last && first_of_us.contains("us-east"), "{first_of_us}");
}

#[tokio::test]
async fn a_store_at_rest_gives_the_snapshot_that_its_master_would_have_given() {
    for strategy in [Strategy::FieldMerge, Strategy::Manual] {
        let (store, snapshots) = (MemoryStore::new(), MemorySnapshots::default());
        let master = options("us-east", strategy).store(store.clone()).start().await.unwrap();
        fill(&master, ENTITIES / 4).await;
        master.delete("user/7").await.unwrap();
        let state_there = state(&master).await;
        master.close().await.unwrap();
        let at_rest: Arc<dyn Store> = Arc::new(store.reopen());
        let mut chunks = 0;
        let of = (Some("us-east"), Some(NAMESPACE));
        let count = |progress: SnapshotProgress| chunks = progress.chunks;
        let info = snapshot_at_rest(at_rest.clone(), &snapshots, of, &limits(), count).await.unwrap();
        assert_eq!((info.chunks, info.entities), (chunks, ENTITIES / 4));
        assert_eq!(verify_snapshot(&snapshots, &info.name, &limits()).await.unwrap(), info);
        let foreign = (Some("eu-west"), None);
        let refused = snapshot_at_rest(at_rest, &snapshots, foreign, &limits(), |_| {}).await.unwrap_err();
        assert!(matches!(refused, SnapshotError::Start(StartError::ForeignStore { .. })), "{refused}");

        let restored = MemoryStore::new();
        let to = ("ap-south", NAMESPACE);
        restore_snapshot(&snapshots, &info.name, Arc::new(restored.clone()), to, &limits()).await.unwrap();
        let restored = options("ap-south", strategy).store(restored).start().await.unwrap();
        assert_eq!(state(&restored).await, state_there);
    }
    let nobody = Arc::new(MemoryStore::new());
    let kept = MemorySnapshots::default();
    let refused = snapshot_at_rest(nobody, &kept, (None, None), &limits(), |_| {}).await;
    assert!(matches!(refused, Err(SnapshotError::Empty)));
    assert!(kept.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn conflicts_that_wait_for_someone_wait_in_a_restored_master_too() {
    let broker = broker();
    let us = Island::start(&broker, "us-east", Strategy::Manual).await;
    let eu = Island::start(&broker, "eu-west", Strategy::Manual).await;
    us.link.cut();
    us.master.write("contested", "ours").await.unwrap();
    eu.master.write("contested", "theirs").await.unwrap();
    us.link.heal();
    converge(&[&us.master, &eu.master]).await;
    assert_eq!(us.master.pending_conflicts(None, 9).await.unwrap().len(), 1);
    let snapshots = MemorySnapshots::default();
    let info = us.master.create_snapshot(&snapshots).await.unwrap();
    let store = MemoryStore::new();
    let to = ("ap-south", NAMESPACE);
    restore_snapshot(&snapshots, &info.name, Arc::new(store.clone()), to, &limits()).await.unwrap();
    let restored = options("ap-south", Strategy::Manual).store(store).start().await.unwrap();
    let pending = restored.pending_conflicts(None, 9).await.unwrap();
    assert_eq!(pending.iter().map(|entity| entity.versions.len()).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn what_is_removed_and_forgotten_everywhere_while_a_snapshot_is_made_is_not_in_it() {
    let broker = broker();
    let us = lively(&broker, "us-east").await;
    let eu = lively(&broker, "zz-west").await;
    fill(&us.master, ENTITIES / 4).await;
    converge(&[&us.master, &eu.master]).await;
    until_active(&[&us.master, &eu.master]).await;
    let snapshots = Watched::new();
    snapshots.writes.forget_permits(1 << 20);
    let removing = async {
        // The first chunk is written, with some of these in it.
        until(|| snapshots.stored.load(Ordering::SeqCst) == 1).await;
        for n in 0..200 {
            us.master.delete(format!("user/{n}")).await.unwrap();
        }
        // The other master has forgotten them; this one may not yet.
        until(|| eu.master.metrics().tombstones_reclaimed >= 200).await;
        assert_eq!(us.master.metrics().tombstones, 200);
        snapshots.writes.add_permits(1 << 20);
    };
    let (made, ()) = tokio::join!(us.master.create_snapshot(&snapshots), removing);
    let info = made.unwrap();
    let store = MemoryStore::new();
    let to = ("ap-south", NAMESPACE);
    restore_snapshot(&snapshots, &info.name, Arc::new(store.clone()), to, &limits()).await.unwrap();
    let restored = options("ap-south", Strategy::Lww).store(store).start().await.unwrap();
    assert_eq!(restored.read::<BTreeMap<String, String>>("user/1").await.unwrap(), None);
    assert_eq!(state(&restored).await, (info.vector, info.state_digest.unwrap()));
}
