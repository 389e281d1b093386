use std::{
    ops::Bound,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use archipelago_manager::leader_follower::{
    Found, LeaderFollowerManager, NodeStatus, ReadConsistency, ReadError, ReadRouter, RouteError, RoutedNode,
    Routing, SessionClient, SessionToken, Write, WriteError, WriteReceipt,
};
use archipelago_pipeline::MemoryBroker;
use archipelago_proto::EntityId;
use archipelago_store::{Batch, Durability, MemoryStore, Row, Store, StoreError, Table};
use archipelago_testkit::history::{
    Consistency, KvOp, KvResult, Recorder, SessionScope, check_session, check_staleness,
};
use async_trait::async_trait;
use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_session_reads_what_it_wrote_though_all_followers_lag() {
    let broker = MemoryBroker::default();
    let (nodes, switches, leader) = three_switched(&broker).await;
    let client = SessionClient::new(ReadRouter::new(nodes.clone()));
    for number in 0..30_u64 {
        let at = (leader + 1 + usize::from(number % 2 == 0)) % 3;
        switches[at].cut();
        client.write(Write::upsert("k", &number)).await.expect("written");
        for _ in 0..4 {
            let found = client.read::<u64>("k").await.expect("read");
            assert_eq!(found.value, Some(number));
        }
        switches[at].heal();
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_handed_over_goes_on_where_it_was_and_waits_if_it_must() {
    let broker = MemoryBroker::default();
    let (nodes, switches, leader) = three_switched(&broker).await;
    let cut = (leader + 1) % 3;
    let here = SessionClient::new(ReadRouter::new(nodes.clone()));
    here.write(Write::upsert("k", &1)).await.expect("written");
    expect_equal(&nodes).await;
    switches[cut].cut();
    here.write(Write::upsert("k", &2)).await.expect("written");

    let far = ReadRouter::new([nodes[cut].clone()]).deadline(Duration::from_secs(1));
    let there = SessionClient::new(far);
    assert_eq!(there.read::<u64>("k").await.expect("it has seen nothing").value, Some(1));
    let token: SessionToken = here.token().to_string().parse().expect("a token");
    there.resume(token);
    let refused = there.read::<u64>("k").await;
    assert!(matches!(refused, Err(RouteError::NoneCould { .. })), "{refused:?}");
    // What was seen stays seen.
    there.resume(SessionToken::default());
    assert_eq!(there.token(), token);
    let waiting = tokio::spawn({
        let there = there.clone();
        async move {
            loop {
                if let Ok(found) = there.read::<u64>("k").await {
                    return found;
                }
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    switches[cut].heal();
    assert_eq!(within("it is healed", waiting).await.expect("read").value, Some(2));
}

#[tokio::test(start_paused = true)]
async fn clones_are_one_session() {
    let broker = MemoryBroker::default();
    let (nodes, _switches, _leader) = three_switched(&broker).await;
    let first = SessionClient::new(ReadRouter::new(nodes.clone()));
    let second = first.clone();
    let receipt = first.write(Write::upsert("k", &1)).await.expect("written");
    assert_eq!(second.token(), receipt.token);
    assert_eq!(second.read::<u64>("k").await.expect("read").value, Some(1));
    let other = SessionClient::new(first.router().clone());
    assert_eq!(other.token(), SessionToken::default());
}

#[tokio::test(start_paused = true)]
async fn writes_go_on_through_a_change_of_leaders() {
    let broker = MemoryBroker::default();
    let (nodes, _switches, leader) = three_switched(&broker).await;
    let client = SessionClient::new(ReadRouter::new(nodes.clone()));
    for number in 0..6 {
        client.write(Write::create(format!("k{number}"), &number)).await.expect("written");
        let at = (leader + 1 + number) % 3;
        nodes[at].promote().await.expect("promoted");
    }
    nodes[leader_of(&nodes).await].close().await.expect("closed");
    client.write(Write::create("after", &1)).await.expect("the next leader is found");
    assert_eq!(client.read_linearizable::<u64>("after").await.expect("read").value, Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_the_router_does_not_have_is_named_at_once_and_no_leader_after_the_deadline() {
    let broker = MemoryBroker::default();
    let (nodes, switches, leader) = three_switched(&broker).await;
    let follower = nodes[(leader + 1) % 3].clone();
    let client = SessionClient::new(ReadRouter::new([follower.clone()]));
    let began = Instant::now();
    let refused = client.write(Write::upsert("k", &1)).await;
    let Err(WriteError::FollowerReadOnly { leader: Some(named) }) = refused else { panic!("{refused:?}") };
    assert_eq!((&*named.id, began.elapsed()), (nodes[leader].node_id(), Duration::ZERO));
    for switch in &switches {
        switch.cut();
    }
    until("it knows of no leader", || follower.leader().is_none()).await;
    let began = Instant::now();
    let refused = client.write(Write::upsert("k", &1).within(Duration::from_secs(2))).await;
    assert!(matches!(refused, Err(WriteError::FollowerReadOnly { leader: None })), "{refused:?}");
    assert!((Duration::from_millis(1_500)..=Duration::from_secs(2)).contains(&began.elapsed()));
    assert_eq!(client.token(), SessionToken::default());
}

/// A node that answers its first writes so, whatever became of them.
#[derive(Debug)]
struct Answering {
    inner: LeaderFollowerManager,
    answers: Mutex<Vec<WriteError>>,
    asked: AtomicU64,
}

#[async_trait]
impl RoutedNode for Answering {
    fn id(&self) -> &str {
        self.inner.node_id()
    }

    fn status(&self) -> NodeStatus {
        self.inner.status()
    }

    async fn read_encoded(
        &self,
        key: &EntityId,
        consistency: ReadConsistency,
        patience: Duration,
    ) -> Result<Found<Bytes>, ReadError> {
        RoutedNode::read_encoded(&self.inner, key, consistency, patience).await
    }

    async fn write(&self, write: Write) -> Result<WriteReceipt, WriteError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.answers.lock().expect("nobody panicked").pop();
        match answer {
            Some(answer) => Err(answer),
            None => self.inner.write(write).await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_not_written_is_tried_again_and_what_may_have_been_is_not() {
    let broker = MemoryBroker::default();
    let node = node(&broker, "a").await;
    until("it leads", || node.is_leader()).await;
    let reason = || "it stepped down".to_owned();
    for (answers, asked, is_written) in [
        (vec![WriteError::NotWritten { reason: reason() }, WriteError::Closed], 3, true),
        (vec![WriteError::FollowerReadOnly { leader: None }], 2, true),
        (vec![WriteError::OutcomeUnknown { deadline: Duration::ZERO }], 1, false),
        (vec![WriteError::StoreFailed { reason: reason() }], 1, false),
        (vec![WriteError::NotFound { key: "k".into() }], 1, false),
    ] {
        let answering =
            Answering { inner: node.clone(), answers: Mutex::new(answers), asked: AtomicU64::new(0) };
        let answering = Arc::new(answering);
        let client = SessionClient::new(ReadRouter::new([answering.clone()]));
        let written = client.write(Write::upsert("k", &1)).await;
        assert_eq!(written.is_ok(), is_written, "{written:?}");
        assert_eq!(answering.asked.load(Ordering::SeqCst), asked, "{written:?}");
    }
}

/// A store whose commits are to be seen before those who made them know of it, while it is held.
#[derive(Clone, Debug)]
struct Held {
    inner: MemoryStore,
    held: Arc<(Mutex<bool>, Condvar)>,
}

impl Held {
    fn hold(&self, holds: bool) {
        *self.held.0.lock().expect("nobody panicked") = holds;
        self.held.1.notify_all();
    }
}

impl Store for Held {
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
        self.inner.commit(batch, durability)?;
        let held = self.held.0.lock().expect("nobody panicked");
        drop(self.held.1.wait_while(held, |held| *held).expect("nobody panicked"));
        Ok(())
    }

    fn strongest_durability(&self) -> Durability {
        Durability::Fsync
    }

    fn close(&self) -> Result<(), StoreError> {
        self.inner.close()
    }
}

#[tokio::test]
async fn who_saw_that_a_key_is_gone_has_seen_its_removal() {
    let store = Held { inner: MemoryStore::new(), held: Arc::default() };
    let node = builder(&MemoryBroker::default(), "a").store(store.clone()).start().await.expect("a node");
    node.promote().await.expect("promoted");
    node.write(Write::create("k", &1)).await.expect("written");
    store.hold(true);
    let removal = tokio::spawn({
        let node = node.clone();
        async move { node.write(Write::delete("k")).await }
    });
    until("the removal is in the store", || matches!(store.get(Table::Entities, b"k"), Ok(None))).await;
    let found = node.read::<u64>("k", ReadConsistency::Eventual).await.expect("read");
    let applied = node.last_applied_sequence();
    store.hold(false);
    let removed = removal.await.expect("it ran").expect("removed");
    assert!(applied < removed.sequence, "it is known to be applied already");
    assert_eq!((found.value, found.token), (None, removed.token));
}

/// What one session does for a while.
async fn live(client: SessionClient, recorder: Recorder, process: u64, seed: u64) -> SessionToken {
    let mut random = StdRng::seed_from_u64(seed);
    for number in 0..40 {
        let key = format!("k{}", random.random_range(0..3));
        match random.random_range(0..10) {
            0..4 => {
                let value = format!("{seed}/{number}");
                let (op, write) = match random.random_range(0..4) {
                    0 => (KvOp::delete(&*key), Write::delete(&*key)),
                    _ => (KvOp::upsert(&*key, &*value), Write::upsert(&*key, &value)),
                };
                let pending = recorder.begin(process, op);
                match client.write(write.within(Duration::from_secs(1))).await {
                    Ok(receipt) => pending.ok(KvResult::Written(receipt.version)),
                    Err(WriteError::NotFound { .. }) => pending.ok(KvResult::Refused),
                    Err(WriteError::OutcomeUnknown { .. }) => drop(pending),
                    Err(_) => pending.failed(),
                }
            }
            kind => {
                let consistency = if kind < 9 { Consistency::Session } else { Consistency::Linearizable };
                let pending = recorder.begin(process, KvOp::read_at(consistency, &*key));
                let found = match consistency {
                    Consistency::Session => client.read::<String>(&*key).await,
                    _ => client.read_linearizable::<String>(&*key).await,
                };
                match found {
                    Ok(found) => pending.ok(KvResult::Value(found.value.map(|value| (value, found.version)))),
                    Err(_) => pending.failed(),
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(0..120))).await;
    }
    client.token()
}

#[tokio::test(start_paused = true)]
async fn sessions_read_their_writes_and_never_go_back_whatever_is_cut_off_and_whoever_leads() {
    let (mut writes, mut reads, mut fallbacks, mut terms) = (0, 0, 0, 0);
    for seed in 0..20 {
        let broker = MemoryBroker::default();
        let (nodes, switches, _) = three_switched(&broker).await;
        let (recorder, stop) = (recorder(), CancellationToken::new());
        let trouble = tokio::spawn(make_trouble(nodes.clone(), switches, seed, stop.clone()));
        let router = ReadRouter::new(nodes.clone()).deadline(Duration::from_secs(1));
        let mut sessions = JoinSet::new();
        for session in 0..3_u64 {
            let (router, recorder, seed) = (router.clone(), recorder.clone(), (seed * 10 + session) * 10);
            sessions.spawn(async move {
                let client = SessionClient::new(router.clone());
                // Twice at the same time, and then somewhere else.
                let (one, other) = tokio::join!(
                    live(client.clone(), recorder.clone(), session, seed),
                    live(client, recorder.clone(), session, seed + 1),
                );
                let client = SessionClient::new(router.routing(Routing::LeastLag));
                client.resume(one.max(other).to_string().parse().expect("a token"));
                live(client, recorder, session, seed + 2).await;
            });
        }
        while let Some(done) = sessions.join_next().await {
            done.expect("a session");
        }
        stop.cancel();
        trouble.await.expect("the trouble");
        let history = recorder.history();
        check_session(&history, SessionScope::Log).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        check_staleness(&history).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        for operation in history.operations() {
            match operation.result() {
                Some(KvResult::Written(_)) => writes += 1,
                Some(KvResult::Value(_)) => reads += 1,
                _ => {}
            }
        }
        fallbacks += router.metrics().fallbacks;
        terms += nodes[leader_of(&nodes).await].term();
    }
    assert!(writes > 1_000 && reads > 2_500, "{writes} writes and {reads} reads");
    assert!(fallbacks > 20 && terms > 60, "{fallbacks} fallbacks, {terms} terms");
}
