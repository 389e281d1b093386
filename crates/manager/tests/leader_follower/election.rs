use std::time::Duration;

use archipelago_manager::leader_follower::{
    LeaderFollowerManager, Notification, Role, RoleError, Write, WriteError,
};
use archipelago_pipeline::MemoryBroker;
use tokio::time::Instant;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn of_three_nodes_exactly_one_leads() {
    let broker = MemoryBroker::default();
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(node(&broker, name).await);
    }
    let leader = leader_of(&nodes).await;
    for at in 0..3 {
        let written = nodes[at].write(Write::upsert("k", &at)).await;
        match written {
            Ok(_) => assert_eq!(at, leader),
            Err(WriteError::FollowerReadOnly { leader: Some(info) }) => {
                assert_eq!(info.id, nodes[leader].node_id());
                assert_eq!(info.address, Some(format!("http://{}", info.id)));
                assert_ne!(at, leader);
            }
            Err(other) => panic!("{other}"),
        }
    }
    expect_equal(&nodes).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_closed_hands_over_at_once() {
    let broker = MemoryBroker::default();
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(node(&broker, name).await);
    }
    for round in 0..2 {
        let leader = nodes.remove(leader_of(&nodes).await);
        leader.write(Write::upsert("k", &round)).await.expect("written");
        let began = Instant::now();
        leader.close().await.expect("closed");
        let next = leader_of(&nodes).await;
        let took = began.elapsed();
        assert!(took < Duration::from_millis(300), "handing over took {took:?}");
        nodes[next].write(Write::update("k", &(round + 10))).await.expect("written");
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_leader_that_hands_over_nobody_says_that_it_failed() {
    let broker = MemoryBroker::default();
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(node(&broker, name).await);
    }
    for _ in 0..4 {
        let old = leader_of(&nodes).await;
        let mut told: Vec<_> = nodes.iter().map(LeaderFollowerManager::subscribe).collect();
        nodes[old].demote().await.expect("demoted");
        for notifications in &mut told {
            let elected = |it: &Notification| {
                assert!(!matches!(it, Notification::LeaderFailed { .. }), "{it:?}");
                matches!(it, Notification::LeaderElected { .. })
            };
            heard(notifications, "another is elected", elected).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_is_replaced_and_says_that_it_leads_no_more() {
    let broker = MemoryBroker::default();
    let (mut nodes, mut switches) = (Vec::new(), Vec::new());
    for name in ["a", "b", "c"] {
        let (node, switch) = switched(&broker, name).await;
        nodes.push(node);
        switches.push(switch);
    }
    let old = leader_of(&nodes).await;
    nodes[old].write(Write::create("k", &1)).await.expect("written");
    let mut notifications = nodes[old].subscribe();
    let began = Instant::now();
    switches[old].cut();
    let others: Vec<_> =
        nodes.iter().enumerate().filter(|(at, _)| *at != old).map(|(_, node)| node.clone()).collect();
    until("another leads", || others.iter().any(|node| node.is_leader())).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    heard(&mut notifications, "it says so", |it| matches!(it, Notification::Demoted { .. })).await;
    let refused = nodes[old].write(Write::upsert("k", &2)).await;
    assert!(matches!(refused, Err(WriteError::FollowerReadOnly { .. })), "{refused:?}");
    let new = leader_of(&others).await;
    others[new].write(Write::update("k", &3)).await.expect("written");
    switches[old].heal();
    leader_of(&nodes).await;
    expect_equal(&nodes).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_is_promoted_leads_and_the_leader_before_follows() {
    let broker = MemoryBroker::default();
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(node(&broker, name).await);
    }
    for _ in 0..3 {
        let old = leader_of(&nodes).await;
        nodes[old].write(Write::upsert("k", &old)).await.expect("written");
        let new = (old + 1) % 3;
        nodes[new].promote().await.expect("promoted");
        assert_eq!(leader_of(&nodes).await, new);
        nodes[new].write(Write::update("k", &new)).await.expect("written");
    }
    expect_equal(&nodes).await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_demoted_is_followed_by_another_one() {
    let broker = MemoryBroker::default();
    let nodes = [node(&broker, "a").await, node(&broker, "b").await];
    let old = leader_of(&nodes).await;
    let refused = nodes[1 - old].demote().await;
    assert!(matches!(refused, Err(RoleError::NotLeader { leader: Some(_) })), "{refused:?}");
    nodes[old].demote().await.expect("demoted");
    until("the other leads", || nodes[1 - old].is_leader()).await;
    // And back, as the first may stand again after a while.
    nodes[1 - old].demote().await.expect("demoted");
    until("the first leads again", || nodes[old].is_leader()).await;
}

#[tokio::test(start_paused = true)]
async fn who_is_not_eligible_never_leads() {
    let broker = MemoryBroker::default();
    let observer = builder(&broker, "a").promotion_eligible(false).start().await.expect("a node");
    assert!(!observer.can_participate_in_election());
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!observer.is_leader());
    let refused = observer.promote().await;
    assert!(matches!(refused, Err(RoleError::NotEligible { .. })), "{refused:?}");
    let other = node(&broker, "b").await;
    assert_eq!(leader_of(&[observer, other]).await, 1);
}

#[tokio::test(start_paused = true)]
async fn who_is_told_to_follow_stands_for_no_election_and_can_be_promoted() {
    let broker = MemoryBroker::default();
    let follower = builder(&broker, "a").role(Role::Follower).start().await.expect("a node");
    assert!(!follower.can_participate_in_election());
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!follower.is_leader());
    follower.promote().await.expect("promoted");
    assert!(follower.is_leader());
}

#[tokio::test(start_paused = true)]
async fn of_those_that_wait_the_one_with_priority_leads() {
    for seed in 0..20 {
        let broker = MemoryBroker::default();
        let nodes = [
            builder(&broker, "low").priority(50).seed(seed * 3).start().await.expect("a node"),
            builder(&broker, "high").seed(seed * 3 + 1).start().await.expect("a node"),
            builder(&broker, "lower").priority(0).seed(seed * 3 + 2).start().await.expect("a node"),
        ];
        assert_eq!(leader_of(&nodes).await, 1, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_an_election_whoever_was_told_to_leads_and_the_one_before_is_deposed() {
    let broker = MemoryBroker::default();
    let first = builder(&broker, "a").role(Role::Leader).start().await.expect("a node");
    until("it leads", || first.is_leader()).await;
    let second = builder(&broker, "b").role(Role::Follower).leader_id("a").start().await.expect("a node");
    first.write(Write::create("k", &1)).await.expect("written");
    assert!(second.wait_for_sequence(first.last_applied_sequence(), DEADLINE).await);
    let mut notifications = first.subscribe();
    second.promote().await.expect("promoted");
    second.write(Write::update("k", &2)).await.expect("written");
    heard(&mut notifications, "the first is deposed", |it| matches!(it, Notification::Demoted { .. })).await;
    let refused = first.write(Write::update("k", &3)).await;
    assert!(matches!(refused, Err(WriteError::FollowerReadOnly { leader: Some(_) })), "{refused:?}");
    expect_equal(&[first, second]).await;
}
