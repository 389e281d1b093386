//! Nodes that sign believe those whose keys they know: in the log, in what they say, ask and answer.

use std::time::Duration;

use archipelago_manager::{
    PublicKey, Signatures, SigningKey,
    leader_follower::{LeaderFollowerManager, OnFollower, ReadConsistency, Write},
};
use archipelago_pipeline::{ExpectedEnd, MemoryBroker, Pipeline, PipelineError};
use archipelago_proto::{EntryBatch, Limits, NodeQuestion};
use bytes::Bytes;

use crate::lossy::{Lossy, Overheard};
use crate::support::{NAMESPACE, builder, expect_equal, leader_of, until, within};

/// Three nodes, each set up with the keys of all, and what each of them asks.
async fn three(broker: &MemoryBroker) -> (Vec<LeaderFollowerManager>, Vec<Overheard>) {
    let keys: Vec<(&str, SigningKey)> =
        ["a", "b", "c"].map(|name| (name, SigningKey::generate())).into_iter().collect();
    let (mut nodes, mut overheard) = (Vec::new(), Vec::new());
    for (name, key) in &keys {
        let trusted = |signatures: Signatures, (name, key): &(&str, SigningKey)| {
            let key: PublicKey = key.public();
            signatures.trust(*name, key)
        };
        let signatures = keys.iter().fold(Signatures::new(key.clone()), trusted);
        let (road, node) = (Lossy::new(broker), builder(broker, name).signatures(signatures));
        overheard.push(road.overheard());
        nodes.push(node.on_follower(OnFollower::Forward).pipeline(road).start().await.expect("a node"));
    }
    (nodes, overheard)
}

fn refused(node: &LeaderFollowerManager) -> u64 {
    node.trusted_keys().expect("it signs").refused()
}

#[tokio::test]
async fn nodes_that_sign_elect_replicate_forward_and_take_over() {
    let broker = MemoryBroker::default();
    let (mut nodes, _) = three(&broker).await;
    let leader = leader_of(&nodes).await;
    for number in 0..20 {
        let write = Write::upsert(format!("k{number}"), &number);
        within("a write", nodes[number % 3].write(write)).await.expect("it is written, passed on or not");
    }
    expect_equal(&nodes).await;
    nodes.remove(leader).close().await.expect("it hands over");
    let leader = leader_of(&nodes).await;
    let write = Write::upsert("after", &1);
    within("a write", nodes[1 - leader].write(write)).await.expect("it is passed on");
    expect_equal(&nodes).await;
    assert_eq!(nodes.iter().map(refused).sum::<u64>(), 0);
}

#[tokio::test]
async fn what_a_stranger_appends_to_the_log_is_no_entry() {
    let broker = MemoryBroker::default();
    let (nodes, _) = three(&broker).await;
    let leader = leader_of(&nodes).await;
    let write = |number: u32| Write::upsert("k", &number);
    within("a write", nodes[leader].write(write(1))).await.expect("it leads");
    expect_equal(&nodes).await;
    // The last batch of the leader again, without its signature.
    let road = broker.pipeline(NAMESPACE);
    let mut log = road.subscribe(0).await.expect("a log");
    let end = road.state().await.expect("a log").last_sequence;
    let last = loop {
        let message = log.next().await.expect("a message");
        if message.sequence == end {
            break message;
        }
    };
    let batch = EntryBatch::decode(last.payload.expect("a batch"), &Limits::default());
    let forged = batch.expect("entries").encode();
    let appending = road.append(&last.origin, forged, ExpectedEnd::At(end)).await.expect("a broker");
    appending.ack.await.expect("the end of the log");
    until("followers refuse it", || {
        nodes.iter().enumerate().all(|(at, node)| at == leader || refused(node) > 0)
    })
    .await;
    // Whoever appended took the place of the leader's next entry, which the leader finds out, and somebody leads on.
    within("a write", async {
        let mut number = 2;
        while nodes[0].write(write(number)).await.is_err() {
            number += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    expect_equal(&nodes).await;
}

#[tokio::test]
async fn a_write_that_was_passed_on_is_not_done_again_when_somebody_repeats_it() {
    let broker = MemoryBroker::default();
    let (nodes, overheard) = three(&broker).await;
    let leader = leader_of(&nodes).await;
    let at = (leader + 1) % 3;
    let (follower, road, id) = (&nodes[at], broker.pipeline(NAMESPACE), nodes[leader].node_id());
    let write = |number: u32| Write::upsert("k", &number);
    within("a write", follower.write(write(1))).await.expect("it is passed on");
    let is_write = |payload: &Bytes| {
        let question = NodeQuestion::decode(payload.clone(), &Limits::default());
        matches!(question, Ok((_, _, NodeQuestion::Write(_))))
    };
    let asked = overheard[at].lock().expect("no test panics with it").clone();
    let heard = asked.into_iter().find(is_write).expect("it was passed on");
    within("a later write", follower.write(write(2))).await.expect("it is passed on");
    let asked = road.ask(id, heard, Duration::from_millis(300)).await;
    assert!(matches!(asked, Err(PipelineError::NoAnswer { .. })), "{asked:?}");
    assert_eq!(refused(&nodes[leader]), 1);
    // Nor is one that nobody signed.
    let question = NodeQuestion::Resync.encode(NAMESPACE, "b");
    let asked = road.ask(id, question, Duration::from_millis(300)).await;
    assert!(matches!(asked, Err(PipelineError::NoAnswer { .. })), "{asked:?}");
    expect_equal(&nodes).await;
    let found = nodes[leader].read::<u32>("k", ReadConsistency::Linearizable).await.expect("it leads");
    assert_eq!(found.value, Some(2));
}
