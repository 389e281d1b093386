//! What masters do when the log they share misbehaves.

mod support;

use std::{sync::Arc, time::Duration};

use archipelago_clock::{Dot, Hlc, Incarnation, ReplicaId};
use archipelago_conflict::Strategy;
use archipelago_manager::{ApplyError, LinkState, Notification};
use archipelago_pipeline::{FaultRates, Faulty, MemoryBroker, MemoryConfig, Outgoing, Pipeline};
use archipelago_proto::{BatchEncoder, Event, Limits, Op, encode_value};
use archipelago_store::MemoryStore;
use bytes::Bytes;
use support::{Island, NAMESPACE, archipelago, broker, converge, notified, options};

fn lost(notification: Notification) -> Option<String> {
    match notification {
        Notification::LogLost { reason } => Some(reason),
        _ => None,
    }
}

fn reopened(notification: Notification) -> Option<()> {
    matches!(notification, Notification::LogReopened).then_some(())
}

async fn until(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(support::DEADLINE, waiting).await.expect("it comes true");
}

const BEAT: Duration = Duration::from_millis(20);

/// Islands whose heartbeats, and so repairs, come quickly.
async fn lively(broker: &MemoryBroker, name: &str) -> Island {
    Island::on(broker, options(name, Strategy::Lww).heartbeat_interval(BEAT), MemoryStore::new()).await
}

#[tokio::test]
async fn a_wiped_log_is_noticed_by_every_master_and_what_it_lost_is_repaired() {
    let broker = broker();
    let mut islands = Vec::new();
    for name in ["us-east", "eu-west", "ap-south"] {
        islands.push(lively(&broker, name).await);
    }
    let masters: Vec<_> = islands.iter().map(|island| &island.master).collect();
    let [us, eu, ap] = masters[..] else { panic!("three masters") };
    converge(&masters).await;
    // Acknowledged by the broker, read by nobody, and then gone with the log.
    islands[1..].iter().for_each(|island| island.link.cut());
    for n in 0..50 {
        us.write(format!("lost/{n}"), &n).await.unwrap();
    }
    until(|| us.metrics().outbox_len == 0).await;
    let mut listeners = [us, eu, ap].map(|master| master.subscribe());
    broker.wipe();
    islands[1..].iter().for_each(|island| island.link.heal());
    for listener in &mut listeners {
        let reason = notified(listener, lost).await;
        assert!(reason.contains(NAMESPACE), "{reason}");
        notified(listener, reopened).await;
    }
    eu.write("after", &1).await.unwrap();
    converge(&masters).await;
    for master in masters {
        for n in 0..50 {
            assert_eq!(master.read(&format!("lost/{n}")).await.unwrap(), Some(n));
        }
        assert_eq!(master.link_state(), LinkState::Up);
    }
}

#[tokio::test]
async fn a_log_that_was_replaced_while_the_master_was_away_is_noticed_at_its_start_and_repaired() {
    let broker = broker();
    let us = lively(&broker, "us-east").await;
    let eu = lively(&broker, "eu-west").await;
    converge(&[&us.master, &eu.master]).await;
    eu.master.close().await.unwrap();
    us.master.write("a", &1).await.unwrap();
    us.master.close().await.unwrap();
    broker.wipe();
    let options = |name| options(name, Strategy::Lww).heartbeat_interval(BEAT);
    let us = Island::on(&broker, options("us-east"), us.store.reopen()).await;
    us.master.write("b", &1).await.unwrap();
    let eu = Island::on(&broker, options("eu-west"), eu.store.reopen()).await;
    converge(&[&us.master, &eu.master]).await;
    assert_eq!(eu.master.read("a").await.unwrap(), Some(1));
    // And the new log is remembered.
    eu.master.close().await.unwrap();
    us.master.write("c", &1).await.unwrap();
    let eu = Island::on(&broker, options("eu-west"), eu.store.reopen()).await;
    let mut listener = eu.master.subscribe();
    converge(&[&us.master, &eu.master]).await;
    eu.master.close().await.unwrap();
    while let Some(notification) = listener.next().await {
        assert!(lost(notification).is_none());
    }
}

#[tokio::test]
async fn a_log_lost_after_the_first_write_was_sent_is_noticed_even_if_nothing_was_read_from_it() {
    let broker = broker();
    let us = Island::start(&broker, "us-east", Strategy::Lww).await;
    us.master.write("a", &1).await.unwrap();
    until(|| us.master.metrics().outbox_len == 0).await;
    drop(us.master);
    broker.wipe();
    broker.stop();
    let us = Island::on(&broker, options("us-east", Strategy::Lww), us.store.reopen()).await;
    let mut listener = us.master.subscribe();
    broker.start();
    notified(&mut listener, lost).await;
    notified(&mut listener, reopened).await;
}

#[tokio::test]
async fn a_log_that_lost_its_tail_takes_nothing_from_masters_that_had_not_read_it() {
    let broker = broker();
    let us = lively(&broker, "us-east").await;
    let eu = lively(&broker, "eu-west").await;
    converge(&[&us.master, &eu.master]).await;
    eu.link.cut();
    for n in 0..20 {
        us.master.write(format!("lost/{n}"), &n).await.unwrap();
    }
    until(|| us.master.metrics().outbox_len == 0).await;
    broker.truncate_tail(NAMESPACE, 10);
    // Whether it is noticed as such depends on who writes first: what is written next takes the lost sequences.
    us.master.write("next", &1).await.unwrap();
    eu.link.heal();
    converge(&[&us.master, &eu.master]).await;
    for n in 0..20 {
        assert_eq!(eu.master.read(&format!("lost/{n}")).await.unwrap(), Some(n));
    }
}

#[tokio::test]
async fn a_new_master_gets_what_a_trimmed_log_no_longer_holds() {
    let broker = broker();
    let us = lively(&broker, "us-east").await;
    for n in 0..200 {
        us.master.write(format!("n/{n}"), &n).await.unwrap();
    }
    us.master.delete("n/7").await.unwrap();
    until(|| us.master.metrics().outbox_len == 0).await;
    broker.purge(NAMESPACE);
    us.master.write("after", &1).await.unwrap();
    let eu = lively(&broker, "eu-west").await;
    let mut listener = eu.master.subscribe();
    let entities = notified(&mut listener, |notification| match notification {
        Notification::Repaired { entities, .. } => Some(entities),
        _ => None,
    });
    // The removal may be reclaimed by then.
    assert!(entities.await >= 200);
    converge(&[&us.master, &eu.master]).await;
    assert_eq!(eu.master.read::<i32>("n/7").await.unwrap(), None);
    assert_eq!(eu.master.read("n/8").await.unwrap(), Some(8));
}

#[tokio::test]
async fn a_message_that_the_broker_never_takes_is_told_and_later_writes_are_queued() {
    let broker = MemoryBroker::new(MemoryConfig { payload_bytes_max: 1_000, ..MemoryConfig::default() });
    let us = Island::start(&broker, "us-east", Strategy::Lww).await;
    let mut events = us.master.subscribe();
    us.master.write("a", "x".repeat(5_000).as_str()).await.unwrap();
    let reason = notified(&mut events, |notification| match notification {
        Notification::PipelineDown { reason } => Some(reason),
        _ => None,
    });
    assert!(reason.await.contains("limit of 1000"));
    assert!(us.master.write("b", &1).await.unwrap().queued);
    assert_eq!(us.master.metrics().outbox_len, 2);
}

fn broker_of_small_messages(message_bytes_max: usize) -> MemoryBroker {
    MemoryBroker::new(MemoryConfig { message_bytes_max, ..MemoryConfig::default() })
}

#[tokio::test]
async fn a_write_that_takes_many_messages_of_the_broker_reaches_every_master() {
    let broker = broker_of_small_messages(100);
    let islands = archipelago(&broker, Strategy::Lww).await;
    let masters = islands.each_ref().map(|island| &island.master);
    let texts = ["x", "y", "z"].map(|letter| letter.repeat(5_000));
    for (master, text) in masters.iter().zip(&texts) {
        master.write(text[..1].to_owned(), text).await.unwrap();
    }
    converge(&masters).await;
    for (master, text) in masters.iter().zip(&texts) {
        assert_eq!(masters[0].read::<String>(&text[..1]).await.unwrap().as_ref(), Some(text));
        assert_eq!(master.metrics().messages_unreadable, 0, "a part is nothing that cannot be read");
    }
    let stored = broker.pipeline(NAMESPACE).state().await.unwrap().last_sequence;
    assert!(stored > 150, "{stored} messages");
}

#[tokio::test]
async fn what_is_packed_together_travels_as_one_message_of_the_broker() {
    let broker = broker_of_small_messages(4_000);
    let us = Island::start(&broker, "us-east", Strategy::Lww).await;
    us.link.cut();
    for n in 0..200 {
        us.master.write(format!("n/{n}"), "x".repeat(100).as_str()).await.unwrap();
    }
    us.link.heal();
    until(|| us.master.metrics().outbox_len == 0).await;
    let pipeline = broker.pipeline(NAMESPACE);
    let stored = pipeline.state().await.unwrap().last_sequence;
    assert!(stored < 100, "{stored} messages: nothing was packed");
    let mut log = pipeline.subscribe(0).await.unwrap();
    for sequence in 1..=stored {
        assert!(log.next().await.unwrap().payload.is_some(), "{sequence} is a part");
    }
}

#[tokio::test]
async fn messages_lost_before_they_were_read_are_noticed() {
    let broker = broker();
    let us = Island::start(&broker, "us-east", Strategy::Lww).await;
    let eu = Island::start(&broker, "eu-west", Strategy::Lww).await;
    converge(&[&us.master, &eu.master]).await;
    eu.link.cut();
    let mut listener = eu.master.subscribe();
    us.master.write("a", &1).await.unwrap();
    us.master.close().await.unwrap();
    broker.purge(NAMESPACE);
    eu.link.heal();
    notified(&mut listener, lost).await;
}

#[tokio::test]
async fn unreadable_messages_are_counted_and_skipped_and_the_rest_arrives() {
    let broker = broker();
    let islands = archipelago(&broker, Strategy::Lww).await;
    let [us, eu, ap] = islands.each_ref().map(|island| &island.master);
    us.write("a", &1).await.unwrap();
    let pipeline = broker.pipeline(NAMESPACE);
    pipeline.open().await.unwrap();
    let foreign = {
        let limits = Limits::default();
        let mut encoder = BatchEncoder::new("another-namespace", &limits);
        encoder.push(&event("stranger", 1, "x"));
        encoder.finish().unwrap().unwrap()
    };
    let garbage = [Bytes::from_static(b"random bytes"), Bytes::new(), Bytes::from(vec![0x95; 1000]), foreign];
    for (at, payload) in garbage.into_iter().enumerate() {
        let message = Outgoing { origin: "us-east".into(), message_id: format!("garbage-{at}"), payload };
        pipeline.publish(message).await.unwrap().await.unwrap();
    }
    eu.write("a", &2).await.unwrap();
    converge(&[us, eu, ap]).await;
    for master in [us, eu, ap] {
        assert_eq!(master.metrics().messages_unreadable, 4);
    }
}

#[tokio::test]
async fn lost_acknowledgements_and_duplicates_have_no_effect() {
    for seed in 0..8 {
        let broker = broker();
        let rates =
            FaultRates { lose_ack: 0.2, lose_message: 0.1, store_twice: 0.2, ..FaultRates::default() };
        let mut masters = Vec::new();
        for name in ["us-east", "eu-west", "ap-south"] {
            let inner: Arc<dyn Pipeline> = Arc::new(broker.pipeline(NAMESPACE));
            let pipeline = Faulty::new(inner, rates, seed, Duration::from_millis(5));
            // A buffer so small that out of order events must be read again.
            let options = options(name, Strategy::FieldMerge).event_buffer_size(4);
            masters.push(options.store(MemoryStore::new()).pipeline(pipeline).start().await.unwrap());
        }
        for n in 0..60 {
            for master in &masters {
                master.write(format!("n/{}", n % 7), &n).await.unwrap();
            }
        }
        converge(&masters.iter().collect::<Vec<_>>()).await;
    }
}

fn event(name: &str, sequence: u64, entity: &str) -> Event {
    Event {
        dot: Dot::new(ReplicaId::new(name, Incarnation::from_bits(1)).expect("a legal name"), sequence),
        hlc: Hlc::new(1_000 + sequence, 0),
        deps: Arc::default(),
        context: None,
        entity: entity.into(),
        op: Op::Put(encode_value(&sequence, &Limits::default()).expect("a number")),
        trace: None,
    }
}

#[tokio::test]
async fn an_event_handed_in_is_applied_once_with_what_it_depends_on() {
    let options = options("us-east", Strategy::Lww).event_buffer_size(2);
    let options = options.apply_timeout(Duration::from_millis(50));
    let master = options.store(MemoryStore::new()).start().await.unwrap();
    master.apply_remote_event(event("far", 1, "x")).await.unwrap();
    master.apply_remote_event(event("far", 1, "x")).await.unwrap();
    assert_eq!(master.metrics().duplicates_ignored, 1);
    assert_eq!(master.read("x").await.unwrap(), Some(1));

    let early = master.apply_remote_event(event("far", 3, "x")).await.unwrap_err();
    assert!(matches!(early, ApplyError::Timeout { .. }), "{early}");
    assert!(matches!(master.apply_remote_event(event("far", 4, "x")).await, Err(ApplyError::Timeout { .. })));
    let full = master.apply_remote_event(event("far", 5, "x")).await.unwrap_err();
    assert!(matches!(full, ApplyError::BufferFull { events_max: 2 }), "{full}");
    assert_eq!(master.metrics().event_buffer_size, 2);
    master.apply_remote_event(event("far", 2, "x")).await.unwrap();
    assert_eq!(master.read("x").await.unwrap(), Some(4));
}
