//! What goes on, and what does not, where nodes or the broker are out of reach.

use std::{pin::Pin, sync::Arc, time::Duration};

use archipelago_manager::{
    WallClock,
    leader_follower::{LeaderFollowerManager, OnFollower, ReadConsistency, Role, Write, WriteError},
};
use archipelago_pipeline::{MemoryBroker, Switch};
use tokio::time::Instant;

use crate::support::*;

async fn three(broker: &MemoryBroker) -> (Vec<LeaderFollowerManager>, Vec<Switch>, usize) {
    let (mut nodes, mut switches) = (Vec::new(), Vec::new());
    for name in ["a", "b", "c"] {
        let (node, switch) = switched(broker, name).await;
        nodes.push(node);
        switches.push(switch);
    }
    let leader = leader_of(&nodes).await;
    (nodes, switches, leader)
}

#[tokio::test(start_paused = true)]
async fn of_two_sides_of_a_partition_only_one_acknowledges_writes() {
    let broker = MemoryBroker::default();
    let (nodes, switches, old) = three(&broker).await;
    nodes[old].write(Write::create("k", &0)).await.expect("written");
    switches[old].cut();
    // While it still believes that it leads, and after.
    let short = Duration::from_millis(500);
    for number in 1..20 {
        let refused = nodes[old].write(Write::upsert("k", &number).within(short)).await;
        assert!(
            matches!(
                refused,
                Err(WriteError::OutcomeUnknown { .. }
                    | WriteError::NotWritten { .. }
                    | WriteError::FollowerReadOnly { .. })
            ),
            "{refused:?}"
        );
        tokio::time::sleep(short).await;
    }
    let others = [nodes[(old + 1) % 3].clone(), nodes[(old + 2) % 3].clone()];
    let new = leader_of(&others).await;
    let receipt = others[new].write(Write::update("k", &100)).await.expect("written");
    switches[old].heal();
    expect_equal(&nodes).await;
    let found = nodes[old].read::<u64>("k", ReadConsistency::Linearizable).await.expect("read");
    assert_eq!((found.value, found.version), (Some(100), receipt.version));
}

#[tokio::test(start_paused = true)]
async fn whatever_a_node_out_of_reach_is_asked_it_answers_by_the_deadline() {
    // Longer than the lease, and a moment for what is done at the deadline itself.
    let (deadline, moment) = (Duration::from_secs(3), Duration::from_millis(10));
    let by = async |what: &str, deadline: Duration, asked: Pin<Box<dyn Future<Output = bool>>>| {
        let answered = tokio::time::timeout(deadline + moment, asked).await;
        assert_eq!(answered, Ok(false), "{what}: true means that it succeeded");
    };
    for reach in [Switch::cut, Switch::hold] {
        for (asked, role) in [("a", Role::Automatic), ("b", Role::Automatic), ("a", Role::Leader)] {
            let broker = MemoryBroker::default();
            let elects = role == Role::Automatic;
            let (mut nodes, mut switches) = (Vec::new(), Vec::new());
            for (name, role) in [("a", role), ("b", Role::Follower)] {
                let switch = Switch::new(Arc::new(broker.pipeline(NAMESPACE)));
                let node = builder(&broker, name).pipeline(switch.clone()).role(role);
                let node = if elects { node } else { node.leader_id("a") };
                let node = node.on_follower(OnFollower::Forward).read_timeout(deadline);
                nodes.push(node.start().await.expect("a node"));
                switches.push(switch);
            }
            leader_of(&nodes).await;
            nodes[0].write(Write::create("k", &0)).await.expect("written");
            expect_equal(&nodes).await;
            let at = usize::from(asked == "b");
            reach(&switches[at]);
            // First at once, where it thinks that all is well, then once it knows better.
            for round in 0..2 {
                let what = |question| format!("{question} of {asked}, {role:?}, round {round}");
                let node = nodes[at].clone();
                let write = async move { node.write(Write::update("k", &1).within(deadline)).await.is_ok() };
                by(&what("a write"), deadline, Box::pin(write)).await;
                let node = nodes[at].clone();
                let linearizable = ReadConsistency::Linearizable;
                let read = async move { node.read::<u64>("k", linearizable).await.is_ok() };
                by(&what("a read"), deadline, Box::pin(read)).await;
                let node = nodes[at].clone();
                let register = async move { node.register_follower("c").await.is_ok() };
                by(&what("a registration"), Duration::from_secs(5), Box::pin(register)).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_broker_is_away_no_write_is_acknowledged_and_what_is_here_can_be_read() {
    let broker = MemoryBroker::default();
    let (nodes, _switches, leader) = three(&broker).await;
    nodes[leader].write(Write::create("k", &1)).await.expect("written");
    expect_equal(&nodes).await;
    broker.stop();
    for _ in 0..3 {
        for node in &nodes {
            let refused = node.write(Write::upsert("k", &2).within(Duration::from_secs(1))).await;
            assert!(refused.is_err(), "{refused:?}");
            let found = node.read::<u64>("k", ReadConsistency::Eventual).await.expect("read");
            assert_eq!(found.value, Some(1));
        }
        // Past the lease, too.
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    broker.start();
    let leader = leader_of(&nodes).await;
    nodes[leader].write(Write::upsert("k", &3)).await.expect("written");
    expect_equal(&nodes).await;
}

#[tokio::test(start_paused = true)]
async fn reads_of_what_a_node_has_ask_nobody() {
    let broker = MemoryBroker::default();
    let (nodes, switches, leader) = three(&broker).await;
    let receipt = nodes[leader].write(Write::create("k", &1)).await.expect("written");
    expect_equal(&nodes).await;
    until("all know that they are fresh", || nodes.iter().all(|node| node.staleness().is_some())).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let follower = (leader + 1) % 3;
    switches[follower].cut();
    let began = Instant::now();
    for consistency in [
        ReadConsistency::Eventual,
        ReadConsistency::Session(receipt.token),
        ReadConsistency::BoundedStaleness(Duration::from_secs(10)),
    ] {
        let found = nodes[follower].read::<u64>("k", consistency).await.expect("read");
        assert_eq!(found.value, Some(1), "{consistency:?}");
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn with_a_lease_of_a_second_another_node_takes_writes_within_one_and_a_half() {
    for seed in 0..20 {
        let broker = MemoryBroker::default();
        let (mut nodes, mut switches) = (Vec::new(), Vec::new());
        for (place, name) in ["a", "b", "c"].into_iter().enumerate() {
            let switch = Switch::new(std::sync::Arc::new(broker.pipeline(NAMESPACE)));
            let options = builder(&broker, name).pipeline(switch.clone()).lease(Duration::from_secs(1));
            nodes.push(options.seed(seed * 3 + place as u64).start().await.expect("a node"));
            switches.push(switch);
        }
        let old = leader_of(&nodes).await;
        nodes[old].write(Write::create("k", &1)).await.expect("written");
        // Of all moments between two renewals.
        tokio::time::sleep(Duration::from_millis(17 * seed)).await;
        let began = Instant::now();
        switches[old].cut();
        let others: Vec<_> = (1..3).map(|by| nodes[(old + by) % 3].clone()).collect();
        until("another one takes writes", || others.iter().any(LeaderFollowerManager::is_leader)).await;
        let new = others.iter().find(|node| node.is_leader()).expect("it leads");
        new.write(Write::update("k", &2)).await.expect("written");
        let took = began.elapsed();
        assert!(took < Duration::from_millis(1_500), "seed {seed}: {took:?}");
    }
}

/// A clock that is wrong by years, and runs backwards.
#[derive(Debug)]
struct WrongClock {
    began: Instant,
    years: u64,
}

impl WallClock for WrongClock {
    fn now_unix_ms(&self) -> u64 {
        let past = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        (self.years * 31_557_600_000).saturating_sub(past)
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_day_decides_nothing() {
    let broker = MemoryBroker::default();
    let (mut nodes, mut switches) = (Vec::new(), Vec::new());
    for (name, years) in [("a", 0), ("b", 30), ("c", 400)] {
        let switch = Switch::new(std::sync::Arc::new(broker.pipeline(NAMESPACE)));
        let clock = WrongClock { began: Instant::now(), years };
        let options = builder(&broker, name).pipeline(switch.clone()).clock(clock);
        nodes.push(options.start().await.expect("a node"));
        switches.push(switch);
    }
    for round in 0..6_u64 {
        let leader = leader_of(&nodes).await;
        let receipt = nodes[leader].write(Write::upsert("k", &round)).await.expect("written");
        for node in &nodes {
            for consistency in
                [ReadConsistency::Linearizable, ReadConsistency::BoundedStaleness(Duration::ZERO)]
            {
                let found = node.read::<u64>("k", consistency).await.expect("read");
                assert_eq!((found.value, found.version), (Some(round), receipt.version), "{consistency:?}");
            }
        }
        // Each of them leads once or more.
        let next = usize::try_from((round + 1) % 3).expect("a place");
        switches[leader].cut();
        until("another one leads", || (1..3).any(|by| nodes[(leader + by) % 3].is_leader())).await;
        switches[leader].heal();
        nodes[next].promote().await.expect("promoted");
        expect_equal(&nodes).await;
    }
}
