//! Events that are stamped too far ahead wait, visibly and in order, until time catches up.

mod support;

use std::time::Duration;

use archipelago_clock::Dot;
use archipelago_conflict::Strategy;
use archipelago_engine::{EngineConfig, Received};
use archipelago_proto::Event;
use support::{Replica, config, id, put};

const NOW: u64 = 1_000_000_000;
const MAX_DRIFT_MS: u64 = 60_000;

fn replica(name: &str) -> Replica {
    Replica::new(config(name, Strategy::Lww))
}

/// Writes of one replica whose clock is `ahead_ms` before everyone else's.
fn written_ahead(name: &str, ahead_ms: u64, count: u64) -> Vec<Event> {
    let mut origin = replica(name);
    (1..=count).map(|n| origin.write("x", put(n), NOW + ahead_ms).1).collect()
}

#[test]
fn an_event_stamped_as_far_ahead_as_allowed_is_applied() {
    let events = written_ahead("fast", MAX_DRIFT_MS, 1);
    assert_eq!(replica("reader").receive(&events[0], None, NOW), Received::Applied);
}

#[test]
fn an_event_stamped_too_far_ahead_is_reported_and_applied_when_it_is_due() {
    let events = written_ahead("fast", MAX_DRIFT_MS + 100, 1);
    let mut reader = replica("reader");
    assert_eq!(reader.receive(&events[0], None, NOW), Received::Waits);
    assert_eq!(reader.quarantines(), [(1, Duration::from_millis(MAX_DRIFT_MS + 100))]);
    assert_eq!(reader.engine.quarantined(NOW), 1);
    for now in [NOW, NOW + 50, NOW + 99, NOW - 5] {
        reader.tick(now);
        assert_eq!((reader.read("x"), reader.engine.buffered()), (None, 1), "{} ms", now - NOW);
    }
    reader.tick(NOW + 100);
    assert_eq!((reader.read("x"), reader.engine.buffered()), (Some(1.into()), 0));
    assert_eq!(reader.engine.quarantined(NOW + 100), 0);
}

#[test]
fn a_quarantined_event_is_not_observed_by_the_clock() {
    let events = written_ahead("fast", 1_000_000, 1);
    let mut reader = replica("reader");
    reader.receive(&events[0], None, NOW);
    assert_eq!(reader.write("y", put(1), NOW).0.hlc.unix_ms(), NOW);
}

#[test]
fn later_events_of_its_origin_wait_behind_it_and_others_flow() {
    let events = written_ahead("fast", MAX_DRIFT_MS + 100, 3);
    let mut reader = replica("reader");
    for event in &events {
        assert_eq!(reader.receive(event, None, NOW), Received::Waits);
    }
    assert_eq!(reader.quarantines().len(), 1, "the others wait for the first");
    let (_, other) = replica("other").write("y", put(7), NOW);
    assert_eq!(reader.receive(&other, None, NOW), Received::Applied);
    assert_eq!(reader.read("x"), None);
    reader.tick(NOW + 100);
    assert_eq!((reader.read("x"), reader.engine.vector().get(&id("fast"))), (Some(3.into()), 3));
}

#[test]
fn an_event_that_depends_on_a_quarantined_one_waits_for_it() {
    let mut trusting = Replica::new(EngineConfig {
        max_drift: Duration::from_secs(3_600),
        ..config("trusting", Strategy::Lww)
    });
    let events = written_ahead("fast", MAX_DRIFT_MS + 100, 1);
    trusting.receive(&events[0], None, NOW);
    let (_, reply) = trusting.write("y", put(2), NOW);
    let mut reader = replica("reader");
    reader.receive(&reply, None, NOW);
    reader.receive(&events[0], None, NOW);
    assert_eq!(reader.view().len(), 0);
    reader.tick(NOW + 100);
    assert_eq!(reader.view().len(), 2);
}

#[test]
fn it_is_reported_once_however_often_it_comes() {
    let events = written_ahead("fast", MAX_DRIFT_MS + 100, 1);
    let mut reader = replica("reader");
    for position in [None, Some(1), Some(1), Some(2)] {
        reader.receive(&events[0], position, NOW);
        reader.tick(NOW + 1);
    }
    assert_eq!(reader.quarantines().len(), 1);
}

#[test]
fn it_is_reported_also_if_it_came_early() {
    let mut origin = replica("fast");
    let (_, first) = origin.write("x", put(1), NOW);
    let (_, second) = origin.write("x", put(2), NOW + MAX_DRIFT_MS + 100);
    let mut reader = replica("reader");
    reader.receive(&second, None, NOW);
    assert_eq!(reader.quarantines(), [], "it waits for the first");
    reader.receive(&first, None, NOW);
    assert_eq!(reader.quarantines(), [(2, Duration::from_millis(MAX_DRIFT_MS + 100))]);
    assert_eq!(reader.read("x"), Some(1.into()));
}

#[test]
fn it_is_not_lost_in_a_crash() {
    let events = written_ahead("fast", MAX_DRIFT_MS + 100, 2);
    let (_, other) = replica("other").write("y", put(7), NOW);
    let log = [&events[0], &other, &events[1]];
    let mut reader = replica("reader");
    for (position, event) in (1..).zip(log) {
        reader.receive(event, Some(position), NOW);
    }
    assert_eq!(reader.disk.checkpoint, 0);
    let mut reader = reader.crash();
    assert_eq!((reader.engine.buffered(), reader.read("y")), (0, Some(7.into())));
    for (position, event) in (1..).zip(log) {
        reader.receive(event, Some(position), NOW);
    }
    reader.tick(NOW + 100);
    assert_eq!((reader.read("x"), reader.disk.checkpoint), (Some(2.into()), 3));
}

#[test]
fn it_is_not_lost_if_the_buffer_is_full() {
    let full = EngineConfig { event_buffer_events_max: 1, ..config("reader", Strategy::Lww) };
    let mut reader = Replica::new(full);
    let fast = written_ahead("fast", MAX_DRIFT_MS + 100, 2);
    let faster = written_ahead("faster", MAX_DRIFT_MS + 200, 1);
    let log = [&fast[0], &fast[1], &faster[0]];
    let received: Vec<Received> =
        (1..).zip(log).map(|(position, event)| reader.receive(event, Some(position), NOW)).collect();
    assert_eq!(received, [Received::Waits, Received::TurnedAway, Received::TurnedAway]);
    let reported: Vec<Duration> = reader.quarantines().iter().map(|(_, ahead)| *ahead).collect();
    assert_eq!(reported, [MAX_DRIFT_MS + 100, MAX_DRIFT_MS + 200].map(Duration::from_millis));
    reader.tick(NOW + 99);
    assert_eq!(reader.rewind, None);

    reader.tick(NOW + 100);
    assert_eq!((reader.read("x"), reader.rewind.take()), (Some(1.into()), Some(1)));
    for (position, event) in (1..).zip(log).skip(1) {
        reader.receive(event, Some(position), NOW + 100);
    }
    assert_eq!((reader.read("x"), reader.disk.checkpoint), (Some(2.into()), 2));
    reader.tick(NOW + 199);
    assert_eq!((reader.rewind, reader.engine.vector().get(&id("faster"))), (None, 0));
    reader.tick(NOW + 200);
    assert_eq!((reader.engine.vector().get(&id("faster")), reader.disk.checkpoint), (1, 3));
    assert!(reader.engine.vector().contains(&Dot::new(id("fast"), 2)));
    assert_eq!(reader.quarantines().len(), 2, "reported once each");
}
