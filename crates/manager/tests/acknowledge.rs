//! A write is acknowledged as far as its writer asks, and the receipt says how far it had come.

mod support;

use std::time::Duration;

use archipelago_conflict::Strategy;
use archipelago_manager::{Ack, Notification, WriteOptions};
use archipelago_pipeline::{Fault, MemoryBroker, MemoryConfig};
use archipelago_proto::TraceId;
use archipelago_store::MemoryStore;
use support::{DEADLINE, Island, broker, notified, options};

const SOON: Duration = Duration::from_millis(100);

async fn island(broker: &MemoryBroker, name: &str, strategy: Strategy) -> Island {
    let options = options(name, strategy).heartbeat_interval(Duration::from_millis(10));
    Island::on(broker, options, MemoryStore::new()).await
}

#[tokio::test]
async fn a_receipt_waits_for_the_broker_for_peers_or_for_a_majority() {
    let broker = broker();
    let us = island(&broker, "us-east", Strategy::Lww).await;
    let eu = island(&broker, "eu-west", Strategy::Lww).await;
    let ap = island(&broker, "ap-south", Strategy::Lww).await;
    let local = us.master.write_with("a", &0, WriteOptions::default()).await.unwrap();
    assert!(local.reached.enough);
    for (ack, peers) in [(Ack::Pipeline, 0), (Ack::Peers(1), 1), (Ack::Peers(2), 2)] {
        let options = WriteOptions::ack(ack).within(DEADLINE);
        let receipt = us.master.write_with("a", &1, options).await.unwrap();
        assert!(receipt.reached.enough && receipt.reached.peers >= peers, "{ack:?}: {:?}", receipt.reached);
        assert!(receipt.reached.pipeline || ack != Ack::Pipeline);
    }
    assert!(eu.master.vector_clock().get(&us.master.master_id()) >= 4, "who acknowledged it has it");
    // One of three is away: two are a majority, and two peers are not to be had.
    ap.link.cut();
    let no_map = us.master.patch_with("b", &[1], WriteOptions::default()).await;
    assert!(no_map.is_err(), "a list is no patch");
    let majority = us.master.write_with("b", &2, WriteOptions::ack(Ack::Majority).within(DEADLINE)).await;
    assert!(majority.unwrap().reached.enough);
    let missed = us.master.delete_with("b", WriteOptions::ack(Ack::Peers(2)).within(SOON)).await.unwrap();
    assert!(!missed.reached.enough && missed.reached.peers <= 1, "{:?}", missed.reached);
    // It was not undone.
    assert_eq!(us.master.read::<i32>("b").await.unwrap(), None);
    ap.link.heal();
    assert!(ap.master.wait_for(&missed.token, DEADLINE).await);
}

#[tokio::test]
async fn a_deadline_that_passes_says_what_was_reached() {
    let broker = broker();
    let us = island(&broker, "us-east", Strategy::Lww).await;
    us.link.cut();
    for ack in [Ack::Pipeline, Ack::Peers(1)] {
        let receipt = us.master.write_with("a", &1, WriteOptions::ack(ack).within(SOON)).await.unwrap();
        assert!(receipt.queued && !receipt.reached.enough && !receipt.reached.pipeline);
    }
    let alone = us.master.write_with("a", &1, WriteOptions::ack(Ack::Majority).within(SOON)).await.unwrap();
    assert!(alone.reached.enough, "of one master known, one is more than half");
}

#[tokio::test(start_paused = true)]
async fn a_write_is_said_to_have_arrived_although_an_older_one_was_lost_on_its_way() {
    let config = MemoryConfig { ack_timeout: SOON, ..MemoryConfig::default() };
    let broker = MemoryBroker::new(config);
    let us = island(&broker, "us-east", Strategy::Lww).await;
    us.master.write_with("a", &0, WriteOptions::ack(Ack::Pipeline).within(DEADLINE)).await.unwrap();
    broker.fault_next(Fault::LoseMessage);
    us.master.write("a", &1).await.unwrap();
    // It is on its way by then, in a message of its own.
    tokio::time::sleep(SOON / 10).await;
    let receipt = us.master.write_with("a", &2, WriteOptions::ack(Ack::Pipeline).within(DEADLINE)).await;
    assert!(receipt.unwrap().reached.pipeline);
    assert_eq!(us.master.metrics().outbox_len, 0);
}

#[tokio::test]
async fn a_write_on_an_earlier_read_shows_what_came_between_as_a_conflict() {
    let broker = broker();
    let us = island(&broker, "us-east", Strategy::VersionVector).await;
    us.master.write("a", &1).await.unwrap();
    let read = us.master.entity("a").await.unwrap().unwrap();
    us.master.write("a", &2).await.unwrap();
    let late = us.master.write_with("a", &3, WriteOptions::default().seen(read.token)).await.unwrap();
    let view = us.master.entity("a").await.unwrap().unwrap();
    assert!(view.conflicted && view.versions.len() == 2);
    let seen = us.master.write_with("a", &4, WriteOptions::default().seen(view.token)).await.unwrap();
    assert!(seen.dot.sequence > late.dot.sequence);
    assert!(!us.master.entity("a").await.unwrap().unwrap().conflicted);
}

#[tokio::test]
async fn what_a_write_is_a_part_of_is_told_wherever_it_is_applied() {
    let broker = broker();
    let us = island(&broker, "us-east", Strategy::FieldMerge).await;
    let eu = island(&broker, "eu-west", Strategy::FieldMerge).await;
    let mut notifications = eu.master.subscribe();
    let trace: TraceId = "4bf92f3577b34da6a3ce929d0e0e4736".parse().unwrap();
    // Those between have none, and travel in the same message if they can.
    us.link.cut();
    let traced = WriteOptions::default().traced(trace);
    let first = us.master.write_with("user/7", "Alice", traced.clone()).await.unwrap().dot;
    let without = us.master.write("user/8", "Bob").await.unwrap().dot;
    let updated = us.master.update_with("user/9", traced, |name: &mut String| {
        name.push_str("Carol");
        Ok::<_, std::convert::Infallible>(())
    });
    let last = updated.await.unwrap().dot;
    us.link.heal();
    for (dot, expected) in [(first, Some(trace)), (without, None), (last, Some(trace))] {
        let told = notified(&mut notifications, |what| match what {
            Notification::EventApplied { dot: applied, trace, .. } if applied == dot => Some(trace),
            _ => None,
        });
        assert_eq!(told.await, expected, "{dot}");
    }
}
