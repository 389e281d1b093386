use std::{sync::Arc, time::Duration};

use archipelago_manager::leader_follower::{
    LeaderFollowerManager, Notification, ReadConsistency, Role, Write,
};
use archipelago_pipeline::{Fault, MemoryBroker, MemoryConfig, Pipeline, Switch};
use archipelago_proto::{EntryBatch, Limits};
use futures::FutureExt;

use crate::support::*;

async fn three(broker: &MemoryBroker) -> (Vec<LeaderFollowerManager>, usize) {
    let mut nodes = Vec::new();
    for name in ["a", "b", "c"] {
        nodes.push(node(broker, name).await);
    }
    let leader = leader_of(&nodes).await;
    (nodes, leader)
}

async fn write_some(leader: &LeaderFollowerManager, from: u64, to: u64) {
    for number in from..to {
        leader.write(Write::create(format!("k{number}"), &number)).await.expect("written");
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_lost_its_tail_is_mended_and_no_index_is_used_twice() {
    for lost in [1, 3, 20] {
        let broker = MemoryBroker::default();
        let (nodes, at) = three(&broker).await;
        let leader = &nodes[at];
        let mut notifications = leader.subscribe();
        write_some(leader, 0, 10).await;
        let before = leader.last_applied_sequence();
        broker.truncate_tail(NAMESPACE, lost);
        // At the next append.
        let receipt = leader.write(Write::create("after", &1)).await.expect("written");
        assert!(receipt.sequence > before);
        heard(&mut notifications, "it is mended", |it| matches!(it, Notification::LogMended { .. })).await;
        // And without one, at a heartbeat.
        broker.truncate_tail(NAMESPACE, lost);
        heard(&mut notifications, "it is mended", |it| matches!(it, Notification::LogMended { .. })).await;
        expect_equal(&nodes).await;
        assert_eq!(leader.key_count(), 11);
        // A node that was not there reads the same from the log.
        let late = node(&broker, "late").await;
        expect_equal(&[leader.clone(), late]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_was_deleted_is_made_again_from_what_the_leader_keeps() {
    let broker = MemoryBroker::default();
    let (nodes, at) = three(&broker).await;
    let leader = &nodes[at];
    write_some(leader, 0, 30).await;
    broker.delete_log(NAMESPACE);
    write_some(leader, 30, 40).await;
    expect_equal(&nodes).await;
    broker.delete_log(NAMESPACE);
    let late = node(&broker, "late").await;
    assert!(late.wait_for_sequence(leader.last_applied_sequence(), DEADLINE).await);
    assert_eq!(late.digest(), leader.digest());
}

#[tokio::test(start_paused = true)]
async fn a_log_is_made_again_whole_although_appends_fail_meanwhile() {
    for fault in [Fault::LoseMessage, Fault::LoseAck, Fault::Unavailable] {
        for at in [1, 4] {
            let ack_timeout = Duration::from_millis(100);
            let broker = MemoryBroker::new(MemoryConfig { ack_timeout, ..MemoryConfig::default() });
            let leader = node(&broker, "a").await;
            until("it leads", || leader.is_leader()).await;
            write_some(&leader, 0, 10).await;
            broker.delete_log(NAMESPACE);
            for _ in 0..at {
                // Which an append is not: so many succeed first.
                broker.fault_next(Fault::StoreTwice);
            }
            broker.fault_next(fault);
            write_some(&leader, 10, 12).await;
            let expected: Vec<u64> = (1..=leader.last_applied_sequence()).collect();
            assert_eq!(indexes(&broker).await, expected, "{fault:?} of append {at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_log_loses_between_an_append_and_the_next_is_had_from_who_sent_it() {
    for demotes in [false, true] {
        let ack_timeout = Duration::from_millis(500);
        let broker = MemoryBroker::new(MemoryConfig { ack_timeout, ..MemoryConfig::default() });
        let nodes = [builder(&broker, "a").in_flight_max(2), builder(&broker, "b").promotion_eligible(false)];
        let [leader, follower] = nodes.map(|node| async { node.start().await.expect("a node") });
        let leader = leader.await;
        until("it leads", || leader.is_leader()).await;
        leader.write(Write::create("before", &0)).await.expect("written");
        broker.fault_next(Fault::LoseAck);
        let write = |key: &'static str| {
            let leader = leader.clone();
            tokio::spawn(async move { leader.write(Write::create(key, &1).within(DEADLINE)).await })
        };
        let last = leader.last_applied_sequence();
        let lost = write("lost");
        within("it is in the log", async {
            while indexes(&broker).await.last() != Some(&(last + 1)) {
                tokio::task::yield_now().await;
            }
        })
        .await;
        // An operator purges, and sequences go on: the broker takes what comes next.
        broker.purge(NAMESPACE);
        let next = write("next");
        within("it is in the log", async {
            while indexes(&broker).await != [last + 2] {
                tokio::task::yield_now().await;
            }
        })
        .await;
        if demotes {
            leader.demote().await.expect("it led");
            // Nobody knows what becomes of them.
            lost.await.expect("no panic").expect_err("not acknowledged");
            next.await.expect("no panic").expect_err("not acknowledged");
        } else {
            lost.await.expect("no panic").expect("written");
            next.await.expect("no panic").expect("written");
        }
        until("it leads", || leader.is_leader()).await;
        assert_eq!(leader.key_count(), 3);
        let follower = follower.await;
        until("the other one is there", || follower.last_applied_sequence() > last).await;
        expect_equal(&[leader, follower]).await;
    }
}

/// Which entries the log holds.
async fn indexes(broker: &MemoryBroker) -> Vec<u64> {
    let mut messages = broker.pipeline(NAMESPACE).subscribe(0).await.expect("a log");
    let mut indexes = Vec::new();
    while let Some(message) = messages.next().now_or_never() {
        let payload = message.expect("a message").payload.expect("one that is not in parts");
        let batch = EntryBatch::decode(payload, &Limits::default()).expect("entries");
        indexes.extend(batch.first_index..=batch.last_index());
    }
    indexes
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_lost_everything_and_its_leader_cost_no_acknowledged_write() {
    let broker = MemoryBroker::default();
    let (mut nodes, at) = three(&broker).await;
    write_some(&nodes[at], 0, 30).await;
    expect_equal(&nodes).await;
    let old = nodes.remove(at);
    // As of a leader that is killed: nothing is handed over.
    broker.stop();
    drop(old);
    broker.delete_log(NAMESPACE);
    broker.drop_lease(NAMESPACE);
    broker.start();
    let new = leader_of(&nodes).await;
    assert_eq!(nodes[new].key_count(), 30);
    write_some(&nodes[new], 30, 35).await;
    expect_equal(&nodes).await;
}

#[tokio::test(start_paused = true)]
async fn a_candidate_first_has_what_only_another_node_has() {
    for _ in 0..3 {
        let broker = MemoryBroker::default();
        let (mut nodes, mut switches) = (Vec::new(), Vec::new());
        for name in ["a", "b", "c"] {
            let (node, switch) = switched(&broker, name).await;
            nodes.push(node);
            switches.push(switch);
        }
        let leader = leader_of(&nodes).await;
        write_some(&nodes[leader], 0, 10).await;
        expect_equal(&nodes).await;
        let (ahead, behind) = ((leader + 1) % 3, (leader + 2) % 3);
        // One does not get the last writes, which the log then loses together with the leader.
        switches[behind].cut();
        write_some(&nodes[leader], 10, 20).await;
        expect_equal(&[nodes[leader].clone(), nodes[ahead].clone()]).await;
        switches[leader].cut();
        broker.truncate_tail(NAMESPACE, 10);
        switches[behind].heal();
        let left = [nodes[ahead].clone(), nodes[behind].clone()];
        let new = leader_of(&left).await;
        assert_eq!(left[new].key_count(), 20, "{} leads", left[new].node_id());
        write_some(&left[new], 20, 25).await;
        switches[leader].heal();
        expect_equal(&nodes).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_with_entries_that_nobody_else_ever_had_gives_them_up_and_keeps_them_aside() {
    let broker = MemoryBroker::default();
    let (mut nodes, mut switches) = (Vec::new(), Vec::new());
    for name in ["a", "b", "c"] {
        let (node, switch) = switched(&broker, name).await;
        nodes.push(node);
        switches.push(switch);
    }
    let leader = leader_of(&nodes).await;
    write_some(&nodes[leader], 0, 10).await;
    expect_equal(&nodes).await;
    let others = [(leader + 1) % 3, (leader + 2) % 3];
    for at in others {
        switches[at].cut();
    }
    write_some(&nodes[leader], 10, 13).await;
    let mut notifications = nodes[leader].subscribe();
    switches[leader].cut();
    broker.truncate_tail(NAMESPACE, 3);
    for at in others {
        switches[at].heal();
    }
    let left = others.map(|at| nodes[at].clone());
    let new = leader_of(&left).await;
    for number in 100..120_u64 {
        left[new].write(Write::create(format!("k{number}"), &number)).await.expect("written");
    }
    switches[leader].heal();
    heard(&mut notifications, "it says so", |it| matches!(it, Notification::EntriesOrphaned { .. })).await;
    until("it has the state of the others", || {
        nodes[leader].last_applied_sequence() >= left[new].last_applied_sequence()
    })
    .await;
    expect_equal(&nodes).await;
    let orphans = nodes[leader].orphans().expect("kept");
    let entries: usize = orphans.iter().map(|batch| batch.entries.len()).sum();
    assert!(entries >= 3, "{entries}");
    assert_eq!(nodes[leader].key_count(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_applied_what_does_not_count_shows_none_of_it_to_who_asks_for_more_than_that() {
    let broker = MemoryBroker::default();
    let (mut nodes, mut switches) = (Vec::new(), Vec::new());
    for name in ["a", "b", "c"] {
        let (node, switch) = switched(&broker, name).await;
        nodes.push(node);
        switches.push(switch);
    }
    let old = leader_of(&nodes).await;
    write_some(&nodes[old], 0, 10).await;
    expect_equal(&nodes).await;
    let others = [(old + 1) % 3, (old + 2) % 3];
    for at in others {
        switches[at].cut();
    }
    // More than the next leader will have written when it is asked.
    write_some(&nodes[old], 10, 40).await;
    switches[old].cut();
    broker.truncate_tail(NAMESPACE, 30);
    for at in others {
        switches[at].heal();
    }
    let left = others.map(|at| nodes[at].clone());
    let new = leader_of(&left).await;
    let receipt = left[new].write(Write::create("new", &1)).await.expect("written");
    assert!(receipt.sequence < nodes[old].last_applied_sequence());
    switches[old].heal();
    for consistency in [
        ReadConsistency::Linearizable,
        ReadConsistency::Session(receipt.token),
        ReadConsistency::BoundedStaleness(Duration::ZERO),
    ] {
        for (key, there) in [("k39", false), ("new", true)] {
            let found = loop {
                match nodes[old].read::<u64>(key, consistency).await {
                    Ok(found) => break found,
                    Err(error) => assert!(error.is_retryable(), "{error}"),
                }
            };
            assert_eq!(found.value.is_some(), there, "{key} {consistency:?}");
        }
    }
    expect_equal(&nodes).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_deposed_leader_appends_to_a_log_that_was_made_again_is_not_acknowledged() {
    expect_refused_behind_others(|broker| broker.delete_log(NAMESPACE)).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_deposed_leader_appends_where_others_wrote_what_it_had_is_not_acknowledged() {
    expect_refused_behind_others(|broker| broker.truncate_tail(NAMESPACE, 10)).await;
}

/// A leader that was cut off with nothing under way comes back, after the log lost its end and came to the same length
/// again, and writes before it hears of its successor.
async fn expect_refused_behind_others(lose: impl FnOnce(&MemoryBroker)) {
    let broker = MemoryBroker::default();
    let log = broker.pipeline(NAMESPACE);
    let switches = [(); 2].map(|()| Switch::new(Arc::new(broker.pipeline(NAMESPACE))));
    let deposed = builder(&broker, "b").pipeline(switches[0].clone()).role(Role::Leader);
    let deposed = deposed.start().await.expect("a node");
    until("it leads", || deposed.is_leader()).await;
    let leader = builder(&broker, "a").pipeline(switches[1].clone()).leader_id("b");
    let leader = leader.start().await.expect("a node");
    write_some(&deposed, 0, 10).await;
    expect_equal(&[deposed.clone(), leader.clone()]).await;
    // The next one lacks some, so that its log can come to be as long as the one before.
    switches[1].cut();
    write_some(&deposed, 10, 20).await;
    switches[0].cut();
    let end = log.state().await.expect("a log").last_sequence;
    lose(&broker);
    switches[1].heal();
    leader.promote().await.expect("it leads");
    let mut number = 100;
    while log.state().await.expect("it is there").last_sequence < end {
        write_some(&leader, number, number + 1).await;
        number += 1;
    }
    switches[0].heal();
    // Before it hears of the other one.
    let written = deposed.write(Write::create("after", &1)).await;
    expect_equal(&[deposed, leader.clone()]).await;
    let found = leader.read::<u64>("after", ReadConsistency::Eventual).await.expect("it can be read");
    assert!(written.is_err() || found.value == Some(1), "acknowledged, and lost: {written:?}");
}
