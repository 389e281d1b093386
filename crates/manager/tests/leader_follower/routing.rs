use std::{collections::BTreeMap, time::Duration};

use archipelago_manager::leader_follower::{
    Found, Health, LeaderFollowerManager, LeaderReads, NodeStatus, ReadConsistency, ReadError, ReadRouter,
    RouteError, RoutedNode, Routing, Write, WriteError, WriteReceipt,
};
use archipelago_pipeline::MemoryBroker;
use archipelago_proto::EntityId;
use archipelago_testkit::history::{Consistency, KvOp, KvResult, check_staleness};
use async_trait::async_trait;
use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::support::*;

fn reads(router: &ReadRouter, nodes: &[LeaderFollowerManager]) -> Vec<u64> {
    let reads = router.metrics().reads;
    nodes.iter().map(|node| reads[node.node_id()]).collect()
}

/// All have the key, and know that they are fresh.
async fn settled(nodes: &[LeaderFollowerManager], leader: usize) {
    nodes[leader].write(Write::upsert("k", &1)).await.expect("written");
    expect_equal(nodes).await;
    until("all know that they are fresh", || {
        nodes.iter().all(|node| node.staleness().is_some() && node.health() == Health::Healthy)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn round_robin_gives_each_follower_as_many_reads_and_the_leader_none() {
    let broker = MemoryBroker::default();
    let (nodes, _switches, leader) = three_switched(&broker).await;
    settled(&nodes, leader).await;
    let token = nodes[leader].write(Write::upsert("k", &2)).await.expect("written").token;
    expect_equal(&nodes).await;
    let consistencies = [ReadConsistency::Eventual, ReadConsistency::Session(token)];
    for (leader_reads, followers, by_leader) in
        [(LeaderReads::Fallback, 150, 0), (LeaderReads::TakesPart, 100, 100)]
    {
        let router = ReadRouter::new(nodes.clone()).leader_reads(leader_reads);
        for turn in 0..300 {
            router.read::<u64>("k", consistencies[turn % 2]).await.expect("read");
        }
        let mut expected = vec![followers; 3];
        expected[leader] = by_leader;
        assert_eq!(reads(&router, &nodes), expected);
        assert_eq!(router.metrics().fallbacks, 0);
    }
    // Those as well for which something must be found out first.
    let router = ReadRouter::new(nodes.clone());
    for _ in 0..100 {
        router.read::<u64>("k", ReadConsistency::Linearizable).await.expect("read");
    }
    let mut expected = vec![50; 3];
    expected[leader] = 0;
    assert_eq!(reads(&router, &nodes), expected);
}

#[tokio::test(start_paused = true)]
async fn least_lag_reads_from_the_most_advanced() {
    let broker = MemoryBroker::default();
    let (nodes, switches, leader) = three_switched(&broker).await;
    settled(&nodes, leader).await;
    let (lagging, advanced) = ((leader + 1) % 3, (leader + 2) % 3);
    let router = ReadRouter::new(nodes.clone()).routing(Routing::LeastLag);
    for _ in 0..10 {
        router.read::<u64>("k", ReadConsistency::Eventual).await.expect("read");
    }
    assert_eq!(reads(&router, &nodes)[lagging], 5, "equals take turns");
    switches[lagging].cut();
    nodes[leader].write(Write::upsert("k", &2)).await.expect("written");
    expect_equal(&[nodes[leader].clone(), nodes[advanced].clone()]).await;
    assert_eq!(nodes[lagging].health(), Health::Healthy, "it does not know yet");
    for _ in 0..10 {
        let found = router.read::<u64>("k", ReadConsistency::Eventual).await.expect("read");
        assert_eq!(found.value, Some(2));
    }
    assert_eq!((reads(&router, &nodes)[lagging], reads(&router, &nodes)[advanced]), (5, 15));
}

#[tokio::test(start_paused = true)]
async fn the_leader_answers_only_what_no_follower_can() {
    let broker = MemoryBroker::default();
    let (nodes, switches, leader) = three_switched(&broker).await;
    settled(&nodes, leader).await;
    let followers = [(leader + 1) % 3, (leader + 2) % 3];
    let router = ReadRouter::new(nodes.clone());
    followers.iter().for_each(|at| switches[*at].cut());
    let token = nodes[leader].write(Write::upsert("k", &2)).await.expect("written").token;
    let began = Instant::now();
    let found = router.read::<u64>("k", ReadConsistency::Session(token)).await.expect("read");
    assert_eq!((found.value, began.elapsed()), (Some(2), Duration::ZERO), "nobody is waited for");
    router.read::<u64>("k", ReadConsistency::Eventual).await.expect("read");
    assert_eq!((reads(&router, &nodes)[leader], router.metrics().fallbacks), (1, 1));
    followers.iter().for_each(|at| switches[*at].heal());
    expect_equal(&nodes).await;
    router.read::<u64>("k", ReadConsistency::Session(token)).await.expect("read");
    assert_eq!((reads(&router, &nodes)[leader], router.metrics().fallbacks), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn followers_answer_bounded_reads_though_nobody_keeps_them_that_fresh() {
    let broker = MemoryBroker::default();
    let (nodes, _switches, leader) = three_switched(&broker).await;
    settled(&nodes, leader).await;
    let router = ReadRouter::new(nodes.clone());
    let bound = ReadConsistency::BoundedStaleness(Duration::from_millis(100));
    for _ in 0..200 {
        router.read::<u64>("k", bound).await.expect("read");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(router.metrics().fallbacks < 100, "{:?}", router.metrics());
}

#[tokio::test(start_paused = true)]
async fn a_closed_node_is_passed_over_and_at_the_end_each_says_why() {
    let broker = MemoryBroker::default();
    let (nodes, _switches, leader) = three_switched(&broker).await;
    settled(&nodes, leader).await;
    let router = ReadRouter::new(nodes.clone()).deadline(Duration::from_secs(2));
    let (closed, open) = ((leader + 1) % 3, (leader + 2) % 3);
    nodes[closed].close().await.expect("closed");
    for consistency in [ReadConsistency::Eventual, ReadConsistency::Linearizable] {
        for _ in 0..10 {
            router.read::<u64>("k", consistency).await.expect("read");
        }
    }
    let mut expected = vec![0; 3];
    expected[open] = 20;
    assert_eq!(reads(&router, &nodes), expected);
    for at in [open, leader] {
        nodes[at].close().await.expect("closed");
    }
    let Err(error) = router.read::<u64>("k", ReadConsistency::Eventual).await else {
        panic!("all are closed")
    };
    let text = error.to_string();
    for name in ["a: the manager is closed", "b: the manager is closed", "c: the manager is closed"] {
        assert!(text.contains(name), "{text}");
    }
    assert!(!error.is_retryable());
    assert_eq!(router.metrics().failures, 1);
}

#[tokio::test(start_paused = true)]
async fn nodes_that_are_all_cut_off_show_what_they_have_but_nothing_newer_and_within_the_deadline() {
    let broker = MemoryBroker::default();
    let (nodes, switches, leader) = three_switched(&broker).await;
    settled(&nodes, leader).await;
    let deadline = Duration::from_secs(2);
    let router = ReadRouter::new(nodes.clone()).deadline(deadline);
    let token = "lf1.1.1000".parse().expect("a token");
    for switch in &switches {
        switch.cut();
    }
    until("nobody hears anything", || nodes.iter().all(|node| node.health() == Health::Unknown)).await;
    for (consistency, is_what) in [
        (ReadConsistency::Linearizable, "could confirm"),
        (ReadConsistency::Session(token), "the session has seen 1000"),
        (ReadConsistency::BoundedStaleness(Duration::from_millis(50)), "known to be fresh"),
    ] {
        let began = Instant::now();
        let error = router.read::<u64>("k", consistency).await.expect_err("nobody can");
        assert!(began.elapsed() <= deadline + Duration::from_millis(10), "{:?}", began.elapsed());
        assert!(error.is_retryable());
        let RouteError::NoneCould { said, .. } = &error else { panic!("{error}") };
        assert_eq!(said.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(error.to_string().matches(is_what).count(), 3, "{error}");
    }
    router.read::<u64>("k", ReadConsistency::Eventual).await.expect("read");
}

#[tokio::test(start_paused = true)]
async fn nodes_come_and_go_while_reads_go_on() {
    let broker = MemoryBroker::default();
    let (nodes, _switches, leader) = three_switched(&broker).await;
    settled(&nodes, leader).await;
    let router = ReadRouter::new(nodes[leader..=leader].to_vec());
    let mut readers = JoinSet::new();
    for _ in 0..3 {
        let router = router.clone();
        readers.spawn(async move {
            for turn in 0..300 {
                let consistency = [ReadConsistency::Eventual, ReadConsistency::Linearizable][turn % 2];
                let found = router.read::<u64>("k", consistency).await.expect("read");
                assert_eq!(found.value, Some(1));
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        });
    }
    for turn in 0..60 {
        let node = &nodes[(leader + 1 + turn % 2) % 3];
        match router.nodes().iter().any(|(id, _)| id == node.node_id()) {
            true => assert!(router.remove(node.node_id())),
            false => router.add(node.clone()),
        }
        tokio::time::sleep(Duration::from_millis(7)).await;
    }
    while let Some(done) = readers.join_next().await {
        done.expect("all were read");
    }
    assert_eq!(router.metrics().failures, 0);
    for (id, _) in router.nodes() {
        router.remove(&id);
    }
    let none = router.read::<u64>("k", ReadConsistency::Eventual).await;
    assert!(matches!(none, Err(RouteError::NoNodes)), "{none:?}");
}

#[tokio::test(start_paused = true)]
async fn a_value_of_another_type_is_an_error_at_once() {
    let broker = MemoryBroker::default();
    let (nodes, _switches, leader) = three_switched(&broker).await;
    settled(&nodes, leader).await;
    let router = ReadRouter::new(nodes.clone());
    let refused = router.read::<String>("k", ReadConsistency::Eventual).await;
    assert!(matches!(refused, Err(RouteError::Value(_))), "{refused:?}");
    assert_eq!(router.metrics().passed_over, 0);
}

/// A node that is said to be well and never answers.
#[derive(Debug)]
struct Mute;

#[async_trait]
impl RoutedNode for Mute {
    fn id(&self) -> &str {
        "mute"
    }

    fn status(&self) -> NodeStatus {
        NodeStatus { health: Health::Healthy, applied_sequence: u64::MAX, ..NodeStatus::default() }
    }

    async fn read_encoded(
        &self,
        _: &EntityId,
        _: ReadConsistency,
        _: Duration,
    ) -> Result<Found<Bytes>, ReadError> {
        std::future::pending().await
    }

    async fn write(&self, _: Write) -> Result<WriteReceipt, WriteError> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_answer_costs_a_moment_and_alone_the_deadline() {
    let broker = MemoryBroker::default();
    let (nodes, _switches, leader) = three_switched(&broker).await;
    settled(&nodes, leader).await;
    let router = ReadRouter::new(nodes.clone()).routing(Routing::LeastLag);
    router.add(Mute);
    let began = Instant::now();
    let found = router.read::<u64>("k", ReadConsistency::Eventual).await.expect("read");
    assert_eq!((found.value, began.elapsed()), (Some(1), Duration::from_millis(100)));
    let alone = ReadRouter::new([Mute]).deadline(Duration::from_secs(3));
    let began = Instant::now();
    let error = alone.read::<u64>("k", ReadConsistency::Linearizable).await.expect_err("it is mute");
    assert_eq!(began.elapsed(), Duration::from_secs(3));
    let RouteError::NoneCould { said, .. } = error else { panic!("{error}") };
    assert!(matches!(said["mute"], ReadError::Unreachable { .. }), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn a_bounded_read_is_never_older_than_asked_for_whatever_is_cut_off() {
    let (mut answered, mut by_followers) = (0, 0);
    for seed in 0..20 {
        let broker = MemoryBroker::default();
        let (nodes, switches, leader) = three_switched(&broker).await;
        settled(&nodes, leader).await;
        let (recorder, stop) = (recorder(), CancellationToken::new());
        let trouble = tokio::spawn(make_trouble(nodes.clone(), switches, seed, stop.clone()));
        let mut clients = JoinSet::new();
        let router = ReadRouter::new(nodes.clone()).deadline(Duration::from_secs(2));
        for number in 0..3_u64 {
            let (recorder, router) = (recorder.clone(), router.clone());
            let mut random = StdRng::seed_from_u64(seed * 100 + number);
            clients.spawn(async move {
                for _ in 0..100 {
                    let bound = Duration::from_millis([20, 200, 1_000, 4_000][random.random_range(0..4)]);
                    let bound_ns = u64::try_from(bound.as_nanos()).expect("it is short");
                    let op = KvOp::read_at(Consistency::BoundedStaleness { bound_ns }, "x");
                    let pending = recorder.begin(number, op);
                    match router.read::<String>("x", ReadConsistency::BoundedStaleness(bound)).await {
                        Ok(found) => {
                            pending.ok(KvResult::Value(found.value.map(|value| (value, found.version))));
                        }
                        Err(_) => pending.failed(),
                    }
                    tokio::time::sleep(Duration::from_millis(random.random_range(0..150))).await;
                }
            });
        }
        let (writers, recorder_of_writer) = (nodes.clone(), recorder.clone());
        let mut random = StdRng::seed_from_u64(seed + 1_000);
        let writer = tokio::spawn(async move {
            let mut acknowledged = 0;
            for number in 0..200_u64 {
                let value = number.to_string();
                let pending = recorder_of_writer.begin(1_000, KvOp::upsert("x", &*value));
                let node = writers.iter().find(|node| node.is_leader()).unwrap_or(&writers[0]);
                match node.write(Write::upsert("x", &value).within(Duration::from_millis(300))).await {
                    Ok(receipt) => {
                        acknowledged += 1;
                        pending.ok(KvResult::Written(receipt.version));
                    }
                    Err(WriteError::OutcomeUnknown { .. }) => drop(pending),
                    Err(_) => pending.failed(),
                }
                tokio::time::sleep(Duration::from_millis(random.random_range(0..60))).await;
            }
            acknowledged
        });
        while let Some(done) = clients.join_next().await {
            done.expect("a client");
        }
        let acknowledged = writer.await.expect("the writer");
        stop.cancel();
        trouble.await.expect("the trouble");
        assert!(acknowledged > 20, "seed {seed}: {acknowledged}");
        check_staleness(&recorder.history()).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        let metrics = router.metrics();
        let all: BTreeMap<String, u64> = metrics.reads;
        answered += all.values().sum::<u64>();
        by_followers += all.values().sum::<u64>() - metrics.fallbacks;
    }
    assert!(
        answered > 3_000 && by_followers > 1_000,
        "{answered} were answered, {by_followers} by followers"
    );
}
