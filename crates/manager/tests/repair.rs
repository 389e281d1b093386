//! A repair that is cut short goes on where it was, and what it ends with is what it would have been without a cut.

mod support;

use std::{
    collections::BTreeSet,
    ops::Bound,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use archipelago_clock::Dot;
use archipelago_conflict::Strategy;
use archipelago_manager::{
    Imported, MultiMasterBuilder, MultiMasterManager, Notification, Notifications, SessionToken,
};
use archipelago_pipeline::{
    Appending, ExpectedEnd, Heard, Lease, Listener, LogState, MemoryBroker, Outgoing, PendingAck, Pipeline,
    PipelineError, PipelineStatus, Subscription,
};
use archipelago_proto::{DeltaPiece, DeltaRequest, Limits};
use archipelago_store::{Batch, Durability, MemoryStore, Store, Table};
use archipelago_store_fjall::FjallStore;
use async_trait::async_trait;
use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use support::{NAMESPACE, TestClock, broker, converge, notified};
use tokio::{sync::watch, time::Instant};

const BEAT: Duration = Duration::from_millis(20);
const ANY: usize = usize::MAX;

type Rewrite = fn(&DeltaRequest, &mut DeltaPiece);

/// A pipeline that lets a number of answers through and no more, and remembers what they answered.
#[derive(Clone, Debug)]
struct Road {
    inner: Arc<dyn Pipeline>,
    left: Arc<AtomicUsize>,
    answered: Arc<Mutex<Vec<DeltaRequest>>>,
    rewrite: Rewrite,
    deaf_to: Option<&'static str>,
}

impl Road {
    fn new(broker: &MemoryBroker, answers: usize) -> Self {
        Road {
            inner: Arc::new(broker.pipeline(NAMESPACE)),
            left: Arc::new(AtomicUsize::new(answers)),
            answered: Arc::default(),
            rewrite: |_, _| {},
            deaf_to: None,
        }
    }

    fn rewriting(self, rewrite: Rewrite) -> Self {
        Road { rewrite, ..self }
    }

    /// What this master announces is not heard. It answers all the same.
    fn deaf_to(&self, name: &'static str) -> Self {
        Road { deaf_to: Some(name), ..self.clone() }
    }

    fn let_through(&self, answers: usize) {
        self.left.store(answers, Ordering::SeqCst);
    }

    fn answered(&self) -> Vec<DeltaRequest> {
        self.answered.lock().expect("no test panics with it").clone()
    }
}

#[async_trait]
impl Pipeline for Road {
    async fn open_above(&self, sequence: u64) -> Result<LogState, PipelineError> {
        self.inner.open_above(sequence).await
    }

    async fn state(&self) -> Result<LogState, PipelineError> {
        self.inner.state().await
    }

    async fn trim(&self, up_to: u64) -> Result<(), PipelineError> {
        self.inner.trim(up_to).await
    }

    async fn publish(&self, message: Outgoing) -> Result<PendingAck, PipelineError> {
        self.inner.publish(message).await
    }

    async fn append(
        &self,
        origin: &str,
        payload: Bytes,
        expected: ExpectedEnd,
    ) -> Result<Appending, PipelineError> {
        self.inner.append(origin, payload, expected).await
    }
    async fn lease(&self, ttl: Duration) -> Result<Arc<dyn Lease>, PipelineError> {
        self.inner.lease(ttl).await
    }
    async fn subscribe(&self, after: u64) -> Result<Box<dyn Subscription>, PipelineError> {
        self.inner.subscribe(after).await
    }

    async fn announce(&self, from: &str, payload: Bytes) -> Result<(), PipelineError> {
        self.inner.announce(from, payload).await
    }

    async fn ask(&self, to: &str, payload: Bytes, deadline: Duration) -> Result<Bytes, PipelineError> {
        if self.left.load(Ordering::SeqCst) == 0 {
            return Err(PipelineError::Unavailable { reason: "the road is closed".into() });
        }
        let request = DeltaRequest::decode(payload.clone(), &Limits::default()).expect("a question");
        let answer = self.inner.ask(to, payload, deadline).await?;
        let mut piece = DeltaPiece::decode(answer, &Limits::default(), usize::MAX).expect("an answer");
        // A question without an answer does not count.
        let pass = |left: usize| if left == ANY { Some(ANY) } else { left.checked_sub(1) };
        let passed = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, pass);
        passed.map_err(|_| PipelineError::Unavailable { reason: "the road is closed".into() })?;
        (self.rewrite)(&request, &mut piece);
        self.answered.lock().expect("no test panics with it").push(request);
        Ok(piece.encode())
    }

    async fn listen(&self, name: &str) -> Result<Box<dyn Listener>, PipelineError> {
        let inner = self.inner.listen(name).await?;
        Ok(Box::new(Deaf { inner, to: self.deaf_to }))
    }

    fn status(&self) -> watch::Receiver<PipelineStatus> {
        self.inner.status()
    }

    fn payload_bytes_max(&self) -> Option<usize> {
        self.inner.payload_bytes_max()
    }
}

struct Deaf {
    inner: Box<dyn Listener>,
    to: Option<&'static str>,
}

#[async_trait]
impl Listener for Deaf {
    async fn next(&mut self) -> Result<Heard, PipelineError> {
        loop {
            match self.inner.next().await? {
                Heard::Announcement { from, .. } if self.to == Some(&*from) => {}
                heard => return Ok(heard),
            }
        }
    }
}

fn options(name: &str) -> MultiMasterBuilder {
    support::options(name, Strategy::FieldMerge).heartbeat_interval(BEAT)
}

async fn start(options: MultiMasterBuilder, road: &Road, store: &MemoryStore) -> MultiMasterManager {
    options.pipeline(road.clone()).store(store.clone()).start().await.expect("a sound store")
}

/// A master that nobody cuts off.
async fn giver(broker: &MemoryBroker, name: &str, store: &MemoryStore) -> MultiMasterManager {
    start(options(name), &Road::new(broker, ANY), store).await
}

async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(support::DEADLINE, waiting).await.expect("it comes true");
}

/// Writes this many entities of about 50 KB, five of which make a piece, and takes them out of the log: only a repair
/// brings them.
async fn fill(master: &MultiMasterManager, broker: &MemoryBroker, prefix: &str, entities: usize) {
    for number in 0..entities {
        master.write(format!("{prefix}/{number}"), &"x".repeat(50_000)).await.expect("a write");
    }
    lose(master, broker).await;
}

async fn lose(master: &MultiMasterManager, broker: &MemoryBroker) {
    until(|| master.metrics().outbox_len == 0).await;
    broker.purge(NAMESPACE);
}

async fn failure(told: &mut Notifications) -> String {
    notified(told, |notification| match notification {
        Notification::RepairFailed { reason, .. } => Some(reason),
        _ => None,
    })
    .await
}

async fn repaired(told: &mut Notifications) -> u64 {
    notified(told, |notification| match notification {
        Notification::Repaired { entities, .. } => Some(entities),
        _ => None,
    })
    .await
}

fn staged_rows(store: &MemoryStore) -> usize {
    store.scan(Table::Staged, Bound::Unbounded, Bound::Unbounded, usize::MAX).expect("open").len()
}

/// Nothing is staged any more. It is removed after it was taken in.
async fn nothing_is_staged(store: &MemoryStore, master: &MultiMasterManager) {
    until(|| staged_rows(store) == 0 && master.metrics().repair_bytes_staged == 0).await;
}

async fn same_state(left: &MultiMasterManager, right: &MultiMasterManager) {
    let [left, right] = [left, right].map(MultiMasterManager::state_digest);
    assert_eq!(left.await.expect("open"), right.await.expect("open"));
}

/// What was asked for, and from where on.
fn places(questions: &[DeltaRequest]) -> Vec<(String, Option<Dot>)> {
    questions.iter().map(|question| (format!("{:?}", question.since), question.from.clone())).collect()
}

fn assert_nothing_came_twice(questions: &[DeltaRequest]) {
    let places = places(questions);
    assert_eq!(places.iter().collect::<BTreeSet<_>>().len(), places.len(), "{places:?}");
}

#[tokio::test]
async fn a_killed_master_goes_on_with_the_piece_after_the_last_that_it_has() {
    let broker = broker();
    let us = giver(&broker, "us-east", &MemoryStore::new()).await;
    fill(&us, &broker, "n", 30).await;
    let (mut store, road) = (MemoryStore::new(), Road::new(&broker, 0));
    for killed in 1..=3 {
        let eu = start(options("eu-west"), &road, &store).await;
        let mut told = eu.subscribe();
        road.let_through(1);
        until(|| road.answered().len() == killed).await;
        failure(&mut told).await;
        assert_eq!(staged_rows(&store), 1 + killed, "a head and the pieces");
        assert!(eu.metrics().repair_bytes_staged > killed as u64 * 200_000);
        assert!(eu.vector_clock().is_empty(), "half of it is not applied");
        assert_eq!(eu.read::<String>("n/0").await.unwrap(), None, "nor visible");
        drop(eu);
        store = store.reopen();
    }
    let eu = start(options("eu-west"), &road, &store).await;
    let mut told = eu.subscribe();
    road.let_through(ANY);
    assert_eq!(repaired(&mut told).await, 30);
    let questions = road.answered();
    assert_nothing_came_twice(&questions);
    assert_eq!(questions.iter().filter(|question| question.from.is_none()).count(), 2, "one for each round");
    same_state(&us, &eu).await;
    nothing_is_staged(&store, &eu).await;
}

#[tokio::test]
async fn what_is_staged_on_a_disk_is_there_when_the_store_is_opened_again() {
    let broker = broker();
    let us = giver(&broker, "us-east", &MemoryStore::new()).await;
    fill(&us, &broker, "n", 20).await;
    let (folder, road) = (tempfile::tempdir().unwrap(), Road::new(&broker, 2));
    let eu = || {
        let store = FjallStore::open(folder.path()).expect("an own folder");
        options("eu-west").pipeline(road.clone()).store(store).start()
    };
    let first = eu().await.unwrap();
    failure(&mut first.subscribe()).await;
    first.close().await.unwrap();
    road.let_through(ANY);
    let second = eu().await.unwrap();
    assert_eq!(repaired(&mut second.subscribe()).await, 20);
    second.close().await.unwrap();
    assert_nothing_came_twice(&road.answered());
    let store = FjallStore::open(folder.path()).unwrap();
    assert!(store.scan(Table::Staged, Bound::Unbounded, Bound::Unbounded, 1).unwrap().is_empty());
}

#[tokio::test]
async fn a_repair_goes_on_with_the_next_session_of_the_giver() {
    let broker = broker();
    let us_store = MemoryStore::new();
    let us = giver(&broker, "us-east", &us_store).await;
    fill(&us, &broker, "n", 20).await;
    let (store, road) = (MemoryStore::new(), Road::new(&broker, 2));
    let eu = start(options("eu-west"), &road, &store).await;
    let mut told = eu.subscribe();
    failure(&mut told).await;
    us.close().await.unwrap();
    let us = giver(&broker, "us-east", &us_store.reopen()).await;
    // What came already, and what did not, changes.
    us.write("n/0", &"newer").await.unwrap();
    us.delete("n/1").await.unwrap();
    us.delete("n/19").await.unwrap();
    lose(&us, &broker).await;
    road.let_through(ANY);
    repaired(&mut told).await;
    assert_nothing_came_twice(&road.answered());
    converge(&[&us, &eu]).await;
    assert_eq!(eu.read::<String>("n/0").await.unwrap().as_deref(), Some("newer"));
    assert_eq!(eu.read::<String>("n/1").await.unwrap(), None);
    nothing_is_staged(&store, &eu).await;
}

#[tokio::test]
async fn what_came_from_a_master_that_lost_its_store_is_dropped() {
    let broker = broker();
    let us = giver(&broker, "us-east", &MemoryStore::new()).await;
    fill(&us, &broker, "old", 100).await;
    let (store, road) = (MemoryStore::new(), Road::new(&broker, 18));
    let eu = start(options("eu-west"), &road, &store).await;
    failure(&mut eu.subscribe()).await;
    assert_eq!(staged_rows(&store), 19);
    eu.close().await.unwrap();
    us.close().await.unwrap();
    let us = giver(&broker, "us-east", &MemoryStore::new()).await;
    fill(&us, &broker, "new", 10).await;
    let store = store.reopen();
    let (before, road) = (road.answered().len(), Road::new(&broker, ANY));
    let eu = start(options("eu-west"), &road, &store).await;
    let mut told = eu.subscribe();
    let entities = notified(&mut told, |notification| match notification {
        Notification::Repaired { entities, .. } => Some(entities),
        Notification::RepairFailed { from, reason } => panic!("{from} is asked: {reason}"),
        _ => None,
    });
    assert_eq!(entities.await, 10);
    assert_eq!((before, road.answered()[0].from.clone()), (18, None));
    same_state(&us, &eu).await;
    nothing_is_staged(&store, &eu).await;
}

/// Two givers with the same 100 entities. Of the first 17 pieces are staged at a third master, which does not run.
async fn much_is_staged(
    broker: &MemoryBroker,
) -> (MultiMasterManager, MultiMasterManager, MemoryStore, Road) {
    let ap_store = MemoryStore::new();
    let us = giver(broker, "us-east", &MemoryStore::new()).await;
    let ap = giver(broker, "ap", &ap_store).await;
    for number in 0..100 {
        us.write(format!("n/{number}"), &"x".repeat(50_000)).await.expect("a write");
    }
    converge(&[&us, &ap]).await;
    lose(&us, broker).await;
    ap.close().await.expect("a sound store");
    let (store, road) = (MemoryStore::new(), Road::new(broker, 17));
    let eu = start(options("eu-west"), &road, &store).await;
    failure(&mut eu.subscribe()).await;
    eu.close().await.expect("a sound store");
    assert_eq!(staged_rows(&store.reopen()), 18);
    let ap = giver(broker, "ap", &ap_store.reopen()).await;
    (us, ap, store.reopen(), road)
}

#[tokio::test]
async fn a_giver_of_which_much_is_staged_is_preferred() {
    let broker = broker();
    let (us, ap, store, road) = much_is_staged(&broker).await;
    road.let_through(ANY);
    // Only the other one is named, by its heartbeats.
    let eu = start(options("eu-west"), &road.deaf_to("us-east"), &store).await;
    repaired(&mut eu.subscribe()).await;
    assert_nothing_came_twice(&road.answered());
    converge(&[&us, &ap, &eu]).await;
    nothing_is_staged(&store, &eu).await;
}

#[tokio::test]
async fn a_giver_of_which_much_is_staged_gives_way_to_another_one_when_it_is_gone() {
    let broker = broker();
    let (us, ap, store, road) = much_is_staged(&broker).await;
    us.close().await.unwrap();
    road.let_through(ANY);
    let eu = start(options("eu-west"), &road, &store).await;
    repaired(&mut eu.subscribe()).await;
    assert_eq!(road.answered()[17].from, None, "begun anew");
    same_state(&ap, &eu).await;
    nothing_is_staged(&store, &eu).await;
}

#[tokio::test]
async fn more_than_the_limit_is_refused_by_name_and_a_greater_limit_goes_on() {
    let broker = broker();
    let us = giver(&broker, "us-east", &MemoryStore::new()).await;
    fill(&us, &broker, "n", 30).await;
    let (store, road) = (MemoryStore::new(), Road::new(&broker, ANY));
    let eu = start(options("eu-west").repair_bytes_max(600_000), &road, &store).await;
    let mut told = eu.subscribe();
    for _ in 0..2 {
        let reason = failure(&mut told).await;
        assert!(reason.contains("more than 600000 bytes, the limit repair_bytes_max"), "{reason}");
    }
    assert!(eu.metrics().repair_bytes_staged <= 600_000);
    drop(eu);
    let (store, before) = (store.reopen(), road.answered());
    let again = Road::new(&broker, 0);
    let eu = start(options("eu-west"), &again, &store).await;
    let mut told = eu.subscribe();
    again.let_through(ANY);
    assert_eq!(repaired(&mut told).await, 30);
    assert_eq!(places(&again.answered())[0], places(&before)[2], "the piece that found no room");
    same_state(&us, &eu).await;
    nothing_is_staged(&store, &eu).await;
}

#[tokio::test]
async fn what_stays_too_large_is_begun_anew_now_and_then() {
    let broker = broker();
    let us = giver(&broker, "us-east", &MemoryStore::new()).await;
    fill(&us, &broker, "n", 15).await;
    let road = Road::new(&broker, ANY);
    let eu = start(options("eu-west").repair_bytes_max(300_000), &road, &MemoryStore::new()).await;
    let begun = || road.answered().iter().filter(|question| question.from.is_none()).count();
    until(|| begun() == 2).await;
    assert!(road.answered().len() > 30, "not before long");
    assert!(eu.metrics().repair_bytes_staged <= 300_000);
}

/// The progress that is told before the next repair is done.
async fn progress(told: &mut Notifications) -> Vec<(u64, u64, Option<u64>)> {
    let mut progress = Vec::new();
    notified(told, |notification| match notification {
        Notification::RepairProgress { entities, bytes, entities_total, .. } => {
            progress.push((entities, bytes, entities_total));
            None
        }
        Notification::Repaired { .. } => Some(()),
        _ => None,
    })
    .await;
    progress
}

#[tokio::test]
async fn it_is_told_how_far_a_repair_is_now_and_then_and_when_all_is_fetched() {
    let broker = broker();
    let us = giver(&broker, "us-east", &MemoryStore::new()).await;
    fill(&us, &broker, "n", 20).await;
    let held: Rewrite = |_, piece| piece.held = 20;
    let (store, road, started) =
        (MemoryStore::new(), Road::new(&broker, ANY).rewriting(held), Instant::now());
    let eu = start(options("eu-west"), &road, &store).await;
    let told = progress(&mut eu.subscribe()).await;
    assert!(told.len() as u128 <= 1 + started.elapsed().as_millis() / 500, "{told:?}");
    let (entities, bytes, entities_total) = *told.last().unwrap();
    assert_eq!((entities, bytes > 1_000_000, entities_total), (20, true, Some(20)));
    nothing_is_staged(&store, &eu).await;
    eu.close().await.unwrap();
    fill(&us, &broker, "more", 3).await;
    let eu = start(options("eu-west"), &road, &store.reopen()).await;
    let told = progress(&mut eu.subscribe()).await;
    let (entities, _, entities_total) = *told.last().unwrap();
    assert_eq!((entities, entities_total), (3, None), "how much is lacking in all, nobody knows");
}

#[tokio::test]
async fn where_tombstones_that_are_lacking_may_be_reclaimed_everything_is_asked_for() {
    let broker = broker();
    let us = giver(&broker, "us-east", &MemoryStore::new()).await;
    let (store, road) = (MemoryStore::new(), Road::new(&broker, ANY));
    let eu = start(options("eu-west"), &road, &store).await;
    converge(&[&us, &eu]).await;
    eu.close().await.unwrap();
    fill(&us, &broker, "n", 20).await;
    // It may have reclaimed all that it had applied when the question came.
    let road = Road::new(&broker, ANY).rewriting(|_, piece| piece.floor = piece.vector.clone());
    let store = store.reopen();
    let eu = start(options("eu-west"), &road, &store).await;
    repaired(&mut eu.subscribe()).await;
    let questions = road.answered();
    assert!(!questions[0].since.is_empty(), "what is lacking is asked for first");
    assert!(questions[1].since.is_empty() && questions[1].from.is_none(), "and then everything");
    assert!(questions[2].since.is_empty() && questions[2].from.is_some());
    converge(&[&us, &eu]).await;
    nothing_is_staged(&store, &eu).await;
}

#[tokio::test]
async fn a_giver_that_never_stops_reclaiming_is_given_up_and_nothing_of_it_is_kept() {
    let broker = broker();
    let us = giver(&broker, "us-east", &MemoryStore::new()).await;
    fill(&us, &broker, "n", 20).await;
    let road = Road::new(&broker, ANY).rewriting(|_, piece| {
        piece.floor = piece.vector.clone();
        piece.floor.raise(piece.replica.clone(), u64::MAX);
    });
    let store = MemoryStore::new();
    let eu = start(options("eu-west"), &road, &store).await;
    let reason = failure(&mut eu.subscribe()).await;
    assert!(reason.contains("begun anew 3 times") && reason.contains("reclaims tombstones"), "{reason}");
    assert!(eu.vector_clock().is_empty());
}

#[tokio::test]
async fn what_is_whole_and_was_not_taken_in_is_taken_in_at_the_next_start_without_the_giver() {
    let broker = broker();
    let future = TestClock::at(u64::MAX >> 20);
    let us =
        start(options("us-east").clock(future.clone()), &Road::new(&broker, ANY), &MemoryStore::new()).await;
    fill(&us, &broker, "n", 20).await;
    let (store, road) = (MemoryStore::new(), Road::new(&broker, ANY));
    let eu = start(options("eu-west"), &road, &store).await;
    let mut told = eu.subscribe();
    let reason = failure(&mut told).await;
    assert!(reason.contains("too far ahead"), "{reason}");
    let (asked, rows) = (road.answered().len(), staged_rows(&store));
    for _ in 0..3 {
        let again = failure(&mut told).await;
        assert!(again.contains("too far ahead"), "{again}");
    }
    assert!(road.answered().len() - asked <= 4, "it is not fetched again");
    assert_eq!(staged_rows(&store), rows, "nor does it grow");
    eu.close().await.unwrap();
    let state = us.state_digest().await.unwrap();
    us.close().await.unwrap();
    let store = store.reopen();
    let eu = start(options("eu-west").clock(future), &Road::new(&broker, 0), &store).await;
    until(|| eu.vector_clock() == state.0).await;
    assert_eq!(eu.state_digest().await.unwrap(), state);
    nothing_is_staged(&store, &eu).await;
}

#[tokio::test]
async fn imports_and_repairs_do_not_touch_what_the_other_keeps_and_what_came_otherwise_is_forgotten() {
    let broker = broker();
    let us = giver(&broker, "us-east", &MemoryStore::new()).await;
    fill(&us, &broker, "n", 20).await;
    let (store, road) = (MemoryStore::new(), Road::new(&broker, 2));
    let eu = start(options("eu-west"), &road, &store).await;
    failure(&mut eu.subscribe()).await;
    assert_eq!(staged_rows(&store), 3);
    let mut parts = us.changes_since(&SessionToken::default()).all().await.unwrap();
    let last = parts.pop().unwrap();
    for part in parts {
        assert_eq!(eu.import(part).await.unwrap(), Imported::WaitsForParts);
    }
    assert!(staged_rows(&store) > 6, "of both");
    drop(eu);
    let store = store.reopen();
    let eu = start(options("eu-west"), &road, &store).await;
    assert_eq!(eu.import(last).await.unwrap(), Imported::Merged { entities: 20 });
    same_state(&us, &eu).await;
    // What was staged before is looked at anew with each start.
    drop(eu);
    let store = store.reopen();
    let eu = start(options("eu-west"), &road, &store).await;
    nothing_is_staged(&store, &eu).await;
}

#[tokio::test]
async fn what_was_fetched_under_another_identity_is_dropped() {
    let broker = broker();
    let us = giver(&broker, "us-east", &MemoryStore::new()).await;
    let (store, road) = (MemoryStore::new(), Road::new(&broker, ANY));
    let eu = start(options("eu-west"), &road, &store).await;
    converge(&[&us, &eu]).await;
    eu.close().await.unwrap();
    fill(&us, &broker, "n", 20).await;
    let (store, road) = (store.reopen(), Road::new(&broker, 2));
    let eu = start(options("eu-west"), &road, &store).await;
    let mut told = eu.subscribe();
    failure(&mut told).await;
    assert_eq!(staged_rows(&store), 3);
    // A copy of its store is written to elsewhere.
    let copy = options("eu-west").store(store.copy()).start().await.unwrap();
    copy.write("elsewhere", &1).await.unwrap();
    let parts = copy.changes_since(&eu.session_token()).all().await.unwrap();
    let old = eu.master_id();
    eu.import(parts[0].clone()).await.unwrap();
    assert_ne!(eu.master_id(), old, "it has taken another identity");
    road.let_through(ANY);
    repaired(&mut told).await;
    let after = &road.answered()[2];
    assert_eq!((&after.replica, &after.from), (&eu.master_id(), &None), "begun anew");
    converge(&[&us, &eu]).await;
    nothing_is_staged(&store, &eu).await;
}

#[tokio::test]
async fn staged_rows_that_nobody_understands_are_removed() {
    let (broker, store) = (broker(), MemoryStore::new());
    let mut batch = Batch::new();
    batch.put(Table::Staged, "r", "of another build");
    for index in 0..3u64 {
        batch.put(Table::Staged, [&b"r"[..], &index.to_be_bytes()].concat(), "a piece");
    }
    store.commit(batch, Durability::Memory).unwrap();
    let eu = giver(&broker, "eu-west", &store).await;
    nothing_is_staged(&store, &eu).await;
}

/// Writes, removes and changes something of what may be staged, in the log or only in the state.
async fn go_on(master: &MultiMasterManager, dice: &mut StdRng) {
    for _ in 0..dice.random_range(0..4) {
        let entity = format!("n/{}", dice.random_range(0..40));
        match dice.random_range(0..3) {
            0 => drop(master.delete(entity).await.expect("a write")),
            _ => {
                drop(master.write(entity, &"y".repeat(dice.random_range(1..60_000))).await.expect("a write"))
            }
        }
    }
}

#[tokio::test]
async fn however_often_it_is_interrupted_while_the_giver_goes_on_writing_the_states_are_equal_in_the_end() {
    for seed in 0..12 {
        let mut dice = StdRng::seed_from_u64(seed);
        let broker = broker();
        let (mut us_store, mut store) = (MemoryStore::new(), MemoryStore::new());
        let mut us = giver(&broker, "us-east", &us_store).await;
        fill(&us, &broker, "n", 30).await;
        let road = Road::new(&broker, 0);
        let mut eu = start(options("eu-west"), &road, &store).await;
        for _ in 0..10 {
            let answered = road.answered().len();
            let more = dice.random_range(0..4);
            road.let_through(more);
            until(|| road.answered().len() >= answered + more || eu.vector_clock() == us.vector_clock())
                .await;
            go_on(&us, &mut dice).await;
            lose(&us, &broker).await;
            match dice.random_range(0..4) {
                0 => {
                    drop(eu);
                    store = store.reopen();
                    eu = start(options("eu-west"), &road, &store).await;
                }
                1 => {
                    us.close().await.unwrap();
                    us_store = us_store.reopen();
                    us = giver(&broker, "us-east", &us_store).await;
                }
                2 => drop(eu.write(format!("n/{}", dice.random_range(0..40)), &"of eu").await.unwrap()),
                _ => {}
            }
        }
        road.let_through(ANY);
        converge(&[&us, &eu]).await;
        nothing_is_staged(&store, &eu).await;
    }
}
