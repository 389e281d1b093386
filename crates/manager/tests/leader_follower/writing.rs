use std::time::Duration;

use archipelago_manager::leader_follower::{
    Ack, LeaderFollowerManager, OnFollower, ReadConsistency, Role, Write, WriteError,
};
use archipelago_pipeline::{Fault, FaultRates, MemoryBroker, MemoryConfig};

use crate::support::*;

async fn three(broker: &MemoryBroker) -> (Vec<LeaderFollowerManager>, usize) {
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(node(broker, name).await);
    }
    let leader = leader_of(&nodes).await;
    (nodes, leader)
}

#[tokio::test(start_paused = true)]
async fn what_is_demanded_of_a_key_is_checked() {
    let broker = MemoryBroker::default();
    let (nodes, leader) = three(&broker).await;
    let leader = &nodes[leader];
    let missing = leader.write(Write::update("k", &1)).await;
    assert!(matches!(missing, Err(WriteError::NotFound { .. })), "{missing:?}");
    let missing = leader.write(Write::delete("k")).await;
    assert!(matches!(missing, Err(WriteError::NotFound { .. })), "{missing:?}");
    let created = leader.write(Write::create("k", &1)).await.expect("created");
    let exists = leader.write(Write::create("k", &2)).await;
    assert!(matches!(exists, Err(WriteError::AlreadyExists { version, .. }) if version == created.version));
    let updated = leader.write(Write::update("k", &3).expecting(created.version)).await.expect("updated");
    let stale = leader.write(Write::update("k", &4).expecting(created.version)).await;
    assert!(
        matches!(stale, Err(WriteError::VersionMismatch { found: Some(found), .. }) if found == updated.version)
    );
    let absent = leader.write(Write::upsert("new", &1).expecting(0)).await.expect("it does not exist");
    assert_eq!(absent.version, updated.version + 1);
    leader.write(Write::delete("k").expecting(updated.version)).await.expect("deleted");
    let found = leader.read::<u64>("k", ReadConsistency::Linearizable).await.expect("read");
    assert_eq!((found.value, found.version), (None, 0));
    expect_equal(&nodes).await;
}

#[tokio::test(start_paused = true)]
async fn writes_of_one_key_at_once_are_judged_one_after_the_other() {
    let broker = MemoryBroker::default();
    let (nodes, leader) = three(&broker).await;
    let leader = nodes[leader].clone();
    let writes = (0..200_u64).map(|number| {
        let leader = leader.clone();
        tokio::spawn(async move { leader.write(Write::create(format!("k{}", number % 10), &number)).await })
    });
    let outcomes = futures::future::join_all(writes).await;
    let created = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Ok(_)))).count();
    let existed =
        outcomes.iter().filter(|it| matches!(it, Ok(Err(WriteError::AlreadyExists { .. })))).count();
    assert_eq!((created, existed), (10, 190));
    expect_equal(&nodes).await;
}

#[tokio::test(start_paused = true)]
async fn a_follower_passes_writes_on_if_it_is_told_to() {
    let broker = MemoryBroker::default();
    let mut nodes = Vec::new();
    for name in ["a", "b"] {
        nodes.push(builder(&broker, name).on_follower(OnFollower::Forward).start().await.expect("a node"));
    }
    let leader = leader_of(&nodes).await;
    let follower = &nodes[1 - leader];
    let receipt = follower.write(Write::create("k", "passed on")).await.expect("written");
    let found = follower.read::<String>("k", ReadConsistency::Session(receipt.token)).await.expect("read");
    assert_eq!(found.value.as_deref(), Some("passed on"));
    let exists = follower.write(Write::create("k", "again")).await;
    assert!(matches!(exists, Err(WriteError::AlreadyExists { .. })), "{exists:?}");
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_by_followers_is_one() {
    let broker = MemoryBroker::default();
    let (mut nodes, mut switches) = (Vec::new(), Vec::new());
    for name in ["a", "b", "c"] {
        let (node, switch) = switched(&broker, name).await;
        nodes.push(node);
        switches.push(switch);
    }
    let at = leader_of(&nodes).await;
    let leader = nodes[at].clone();
    until("all are registered", || {
        leader
            .leader_state()
            .is_some_and(|state| state.followers.iter().filter(|follower| follower.registered).count() == 2)
    })
    .await;
    for ack in [Ack::Followers(1), Ack::Majority, Ack::Followers(2)] {
        let receipt = leader.write(Write::upsert("k", &1).ack(ack)).await.expect("written");
        assert!(receipt.enough, "{ack:?} {receipt:?}");
    }
    let cut = (at + 1) % 3;
    switches[cut].cut();
    let short = Duration::from_millis(500);
    let receipt =
        leader.write(Write::upsert("k", &2).ack(Ack::Majority).within(short)).await.expect("written");
    assert!(receipt.enough && receipt.followers == 1, "{receipt:?}");
    let receipt =
        leader.write(Write::upsert("k", &3).ack(Ack::Followers(2)).within(short)).await.expect("written");
    assert!(!receipt.enough && receipt.followers == 1, "{receipt:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_refused_for_what_another_leader_may_not_know_or_may_have_changed() {
    let broker = MemoryBroker::default();
    let (mut nodes, mut switches) = (Vec::new(), Vec::new());
    for name in ["paris", "lima", "oslo"] {
        let (node, switch) = switched(&broker, name).await;
        nodes.push(node);
        switches.push(switch);
    }
    let at = leader_of(&nodes).await;
    let old = nodes[at].clone();
    old.write(Write::create("here", &1)).await.expect("written");
    switches[at].cut();
    let under_way = tokio::spawn({
        let old = old.clone();
        async move { old.write(Write::create("lost", &1)).await }
    });
    tokio::task::yield_now().await;
    let about_lost = old.write(Write::create("lost", &2)).await;
    let about_here = old.write(Write::create("here", &2)).await;
    for answer in [&about_lost, &about_here] {
        let told = answer.as_ref().is_err_and(|error| matches!(error, WriteError::AlreadyExists { .. }));
        assert!(!told, "{answer:?}");
    }
    let _ = under_way.await;
    nodes.remove(at);
    let new = leader_of(&nodes).await;
    nodes[new].write(Write::delete("here")).await.expect("written");
    nodes[new].write(Write::create("lost", &3)).await.expect("it was never written");
}

#[tokio::test(start_paused = true)]
async fn whatever_the_broker_does_to_appends_each_acknowledged_write_is_there_once() {
    for seed in 0..30 {
        let broker = MemoryBroker::default();
        let (nodes, leader) = three(&broker).await;
        let leader = nodes[leader].clone();
        for number in 0..40_u64 {
            if (number + seed) % 5 == 0 {
                broker.fault_next(
                    [Fault::LoseMessage, Fault::LoseAck, Fault::Unavailable][(seed % 3) as usize],
                );
            }
            let write = Write::create(format!("k{number}"), &number).within(Duration::from_secs(60));
            match leader.write(write).await {
                Ok(receipt) => assert_eq!(receipt.term, leader.term()),
                Err(error) => panic!("seed {seed}, {number}: {error}"),
            }
        }
        broker.set_fault_rates(FaultRates::default());
        expect_equal(&nodes).await;
        assert_eq!(leader.key_count(), 40);
    }
}

#[tokio::test(start_paused = true)]
async fn keys_and_values_beyond_the_limits_are_refused() {
    let broker = MemoryBroker::default();
    let (nodes, leader) = three(&broker).await;
    let leader = &nodes[leader];
    for write in [
        Write::upsert("", &1),
        Write::upsert("k".repeat(600), &1),
        Write::upsert("k", &"v".repeat(600 * 1024)),
    ] {
        let refused = leader.write(write).await;
        assert!(matches!(refused, Err(WriteError::Value(_))), "{refused:?}");
    }
    let large = "v".repeat(500 * 1024);
    leader.write(Write::upsert("k", &large)).await.expect("within the limits");
    expect_equal(&nodes).await;
}

#[tokio::test(start_paused = true)]
async fn followers_come_and_go_while_writes_go_on() {
    let broker = MemoryBroker::default();
    let leader = node(&broker, "a").await;
    until("it leads", || leader.is_leader()).await;
    let writer = {
        let leader = leader.clone();
        tokio::spawn(async move {
            for number in 0..300_u64 {
                leader.write(Write::upsert(format!("k{}", number % 50), &number)).await.expect("written");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    };
    let mut nodes = vec![leader.clone()];
    for name in ["b", "c", "d"] {
        tokio::time::sleep(Duration::from_secs(1)).await;
        nodes.push(node(&broker, name).await);
    }
    until("all are registered", || {
        let state = leader.leader_state().expect("it leads");
        state.followers.iter().filter(|follower| follower.registered).count() == 3
    })
    .await;
    assert_eq!(leader.connected_followers(), ["b", "c", "d"]);
    let gone = nodes.pop().expect("there is one");
    gone.close().await.expect("closed");
    leader.unregister_follower("d").await.expect("unregistered");
    writer.await.expect("all were written");
    expect_equal(&nodes).await;
    let state = leader.leader_state().expect("it leads");
    assert!(state.followers.iter().all(|follower| follower.id == "d" || follower.registered));
    assert!(state.followers.iter().all(|follower| follower.id != "d" || !follower.registered));
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_is_away_counts_for_majorities_until_it_is_unregistered() {
    let broker = MemoryBroker::default();
    let (mut nodes, mut switches) = (Vec::new(), Vec::new());
    for name in ["a", "b", "c", "d", "e"] {
        let (node, switch) = switched(&broker, name).await;
        nodes.push(node);
        switches.push(switch);
    }
    let at = leader_of(&nodes).await;
    let leader = &nodes[at];
    until("all are registered", || {
        leader
            .leader_state()
            .is_some_and(|state| state.followers.iter().filter(|follower| follower.registered).count() == 4)
    })
    .await;
    let gone: Vec<usize> = (1..4).map(|by| (at + by) % 5).collect();
    for gone in &gone {
        switches[*gone].cut();
    }
    let majority = |value| Write::upsert("k", &value).ack(Ack::Majority).within(Duration::from_millis(500));
    let receipt = leader.write(majority(1)).await.expect("written");
    assert!(!receipt.enough && receipt.followers == 1, "{receipt:?}");
    for gone in &gone {
        leader.unregister_follower(nodes[*gone].node_id()).await.expect("unregistered");
    }
    let receipt = leader.write(majority(2)).await.expect("written");
    assert!(receipt.enough && receipt.followers == 1, "{receipt:?}");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_passed_on_is_acknowledged_by_followers_too() {
    let broker = MemoryBroker::default();
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(builder(&broker, name).on_follower(OnFollower::Forward).start().await.expect("a node"));
    }
    let leader = leader_of(&nodes).await;
    until("all are registered", || {
        let state = nodes[leader].leader_state();
        state.is_some_and(|state| state.followers.iter().filter(|follower| follower.registered).count() == 2)
    })
    .await;
    expect_equal(&nodes).await;
    let follower = &nodes[(leader + 1) % 3];
    for (ack, enough) in [(Ack::Majority, true), (Ack::Followers(2), true), (Ack::Followers(3), false)] {
        let write = Write::upsert("k", &1).ack(ack).within(Duration::from_secs(1));
        let receipt = follower.write(write).await.expect("written");
        assert_eq!(receipt.enough, enough, "{ack:?} {receipt:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn more_requests_of_other_nodes_than_may_be_under_way_are_refused_and_keep_nothing_else_waiting() {
    let ack_timeout = Duration::from_secs(2);
    let broker = MemoryBroker::new(MemoryConfig { ack_timeout, ..MemoryConfig::default() });
    let leader = builder(&broker, "a").role(Role::Leader).requests_max(2).start().await.expect("a node");
    let follower = builder(&broker, "b").leader_id("a").on_follower(OnFollower::Forward);
    let follower = follower.start().await.expect("a node");
    until("it leads", || leader.is_leader() && follower.leader().is_some()).await;
    until("the follower is registered", || leader.last_applied_sequence() > 1).await;
    expect_equal(&[leader.clone(), follower.clone()]).await;
    // What is written next waits until the leader has looked what became of it.
    broker.fault_next(Fault::LoseAck);
    let write = |key: u64| {
        let follower = follower.clone();
        async move { follower.write(Write::create(format!("k{key}"), &key).within(DEADLINE)).await }
    };
    let mut under_way = Vec::new();
    for key in 0..2 {
        under_way.push(tokio::spawn(write(key)));
        tokio::task::yield_now().await;
    }
    let asked = tokio::time::Instant::now();
    let refused = write(2).await.expect_err("too many are under way");
    assert!(matches!(refused, WriteError::NotWritten { .. }) && refused.is_retryable(), "{refused}");
    assert!(refused.to_string().contains("requests_max"), "{refused}");
    // What others only want to know is answered.
    let fresh = ReadConsistency::BoundedStaleness(Duration::ZERO);
    follower.read::<u64>("k", fresh).await.expect("the leader answers");
    assert!(asked.elapsed() < ack_timeout, "{:?}", asked.elapsed());
    for outcome in under_way {
        outcome.await.expect("no panic").expect("written");
    }
    write(2).await.expect("there is room again");
    expect_equal(&[leader, follower]).await;
}
