use std::time::Duration;

use archipelago_manager::leader_follower::{Health, ReadConsistency, ReadError, Role, SessionToken, Write};
use archipelago_pipeline::{Fault, MemoryBroker, Switch};
use tokio::time::Instant;

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_linearizable_read_sees_every_write_acknowledged_before_it_on_any_node() {
    let broker = MemoryBroker::default();
    let nodes = [node(&broker, "a").await, node(&broker, "b").await, node(&broker, "c").await];
    let leader = leader_of(&nodes).await;
    for number in 0..50_u64 {
        nodes[leader].write(Write::upsert("k", &number)).await.expect("written");
        for node in &nodes {
            let found = node.read::<u64>("k", ReadConsistency::Linearizable).await.expect("read");
            assert_eq!(found.value, Some(number), "{}", node.node_id());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_cut_off_answers_no_read_that_asks_for_more_than_it_knows() {
    let broker = MemoryBroker::default();
    let (mut nodes, mut switches) = (Vec::new(), Vec::new());
    for name in ["a", "b", "c"] {
        let (node, switch) = switched(&broker, name).await;
        nodes.push(node);
        switches.push(switch);
    }
    let leader = leader_of(&nodes).await;
    nodes[leader].write(Write::upsert("k", &1)).await.expect("written");
    expect_equal(&nodes).await;
    until("all know that they are fresh", || nodes.iter().all(|node| node.staleness().is_some())).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (cut, follower) = (leader, (leader + 1) % 3);
    switches[cut].cut();
    switches[follower].cut();
    let other = nodes[(leader + 2) % 3].clone();
    until("the third leads", || other.is_leader()).await;
    let receipt = other.write(Write::upsert("k", &2)).await.expect("written");
    for at in [cut, follower] {
        let node = &nodes[at];
        let found = node.read::<u64>("k", ReadConsistency::Eventual).await.expect("read");
        assert_eq!(found.value, Some(1));
        let refused = node.read::<u64>("k", ReadConsistency::Linearizable).await;
        assert!(matches!(refused, Err(ReadError::NoLeader { .. })), "{refused:?}");
        let refused = node.read::<u64>("k", ReadConsistency::Session(receipt.token)).await;
        assert!(matches!(refused, Err(ReadError::Behind { .. })), "{refused:?}");
        let bound = Duration::from_millis(10);
        let refused = node.read::<u64>("k", ReadConsistency::BoundedStaleness(bound)).await;
        assert!(matches!(refused, Err(ReadError::TooStale { .. })), "{refused:?}");
        // What it had then was all there was.
        let bound = Duration::from_secs(3_600);
        node.read::<u64>("k", ReadConsistency::BoundedStaleness(bound)).await.expect("old enough");
    }
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert!(nodes[follower].is_stale() && !nodes[follower].is_leader_healthy());
    assert_eq!(nodes[follower].health(), Health::Unknown);
    switches[cut].heal();
    switches[follower].heal();
    for node in &nodes {
        let found = node.read::<u64>("k", ReadConsistency::Session(receipt.token)).await.expect("read");
        assert_eq!(found.value, Some(2));
    }
    until("they are fresh again", || nodes.iter().all(|node| !node.is_stale())).await;
}

#[tokio::test(start_paused = true)]
async fn a_token_of_the_future_is_waited_for_and_then_refused() {
    let broker = MemoryBroker::default();
    let nodes = [node(&broker, "a").await];
    leader_of(&nodes).await;
    let token: SessionToken = "lf1.1.1000".parse().expect("a token");
    let refused = nodes[0].read::<u64>("k", ReadConsistency::Session(token)).await;
    assert!(matches!(refused, Err(ReadError::Behind { wanted: 1_000, .. })), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn keys_are_listed_by_prefix_page_by_page() {
    let broker = MemoryBroker::default();
    let node = node(&broker, "a").await;
    node.promote().await.expect("promoted");
    for key in ["a/1", "a/2", "a/3", "b/1"] {
        node.write(Write::create(key, &1)).await.expect("written");
    }
    let first = node.keys("a/", None, 2, ReadConsistency::Eventual).await.expect("listed");
    assert_eq!(first, ["a/1".into(), "a/2".into()]);
    let rest = node.keys("a/", Some("a/2"), 10, ReadConsistency::Eventual).await.expect("listed");
    assert_eq!(rest, ["a/3".into()]);
}

#[tokio::test(start_paused = true)]
async fn without_an_election_reads_ask_the_log_whether_the_leader_still_leads() {
    let broker = MemoryBroker::default();
    let first = builder(&broker, "a").role(Role::Leader).start().await.expect("a node");
    until("it leads", || first.is_leader()).await;
    let second = builder(&broker, "b").role(Role::Follower).leader_id("a").start().await.expect("a node");
    for number in 0..20_u64 {
        first.write(Write::upsert("k", &number)).await.expect("written");
        for (node, bound) in [(&first, Duration::ZERO), (&second, Duration::ZERO)] {
            let found = node.read::<u64>("k", ReadConsistency::BoundedStaleness(bound)).await.expect("read");
            assert_eq!(found.value, Some(number), "{}", node.node_id());
            let found = node.read::<u64>("k", ReadConsistency::Linearizable).await.expect("read");
            assert_eq!(found.value, Some(number), "{}", node.node_id());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_an_election_a_leader_that_was_deposed_does_not_know_that_it_is_fresh() {
    let broker = MemoryBroker::default();
    let (leader, switch) = {
        let switch = Switch::new(std::sync::Arc::new(broker.pipeline(NAMESPACE)));
        let options = builder(&broker, "a").role(Role::Leader).pipeline(switch.clone());
        (options.start().await.expect("a node"), switch)
    };
    until("it leads", || leader.is_leader()).await;
    let other = builder(&broker, "b").role(Role::Follower).leader_id("a").start().await.expect("a node");
    leader.write(Write::create("k", &1)).await.expect("written");
    until("it is fresh", || !leader.is_stale()).await;
    switch.cut();
    other.promote().await.expect("promoted");
    other.write(Write::update("k", &2)).await.expect("written");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let bound = ReadConsistency::BoundedStaleness(Duration::from_millis(10));
    let refused = leader.read::<u64>("k", bound).await;
    assert!(matches!(refused, Err(ReadError::TooStale { .. })), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_follower_shows_a_write_within_100_ms() {
    let broker = MemoryBroker::default();
    let nodes = [node(&broker, "a").await, node(&broker, "b").await, node(&broker, "c").await];
    let leader = leader_of(&nodes).await;
    for number in 0..20_u64 {
        // Whatever ticks now and then is not what brings it.
        tokio::time::sleep(Duration::from_millis(1_000 + 37 * number)).await;
        let receipt = nodes[leader].write(Write::upsert("k", &number)).await.expect("written");
        let began = Instant::now();
        for node in &nodes {
            assert!(node.wait_for_sequence(receipt.sequence, Duration::from_millis(100)).await);
            let found = node.read::<u64>("k", ReadConsistency::Eventual).await.expect("read");
            assert_eq!(found.value, Some(number));
        }
        assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn no_linearizable_read_falls_behind_what_another_one_has_shown() {
    let broker = MemoryBroker::default();
    let nodes = [node(&broker, "a").await, node(&broker, "b").await];
    let at = leader_of(&nodes).await;
    let (leader, follower) = (nodes[at].clone(), nodes[1 - at].clone());
    leader.write(Write::create("k", &1)).await.expect("written");
    // The log has the next write, and the leader does not know: followers are ahead of it.
    broker.fault_next(Fault::LoseAck);
    let writing = {
        let leader = leader.clone();
        tokio::spawn(async move { leader.write(Write::update("k", &2).within(DEADLINE)).await })
    };
    within("the follower has it", async {
        while follower.read::<u64>("k", ReadConsistency::Eventual).await.expect("read").value != Some(2) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    assert!(!writing.is_finished());
    let shown = follower.read::<u64>("k", ReadConsistency::Linearizable).await.expect("read");
    assert_eq!(shown.value, Some(2));
    loop {
        match leader.read::<u64>("k", ReadConsistency::Linearizable).await {
            Ok(found) => break assert_eq!(found.value, Some(2), "a later read shows an older value"),
            Err(error) => assert!(error.is_retryable(), "{error}"),
        }
    }
    writing.await.expect("no panic").expect("written");
}
