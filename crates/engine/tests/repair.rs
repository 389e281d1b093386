//! What a replica lacks comes from the state of another one, without events.

mod support;

use archipelago_clock::{Dot, VersionVector};
use archipelago_conflict::Strategy;
use archipelago_engine::{Change, DeltaError, EngineConfig, Notice, Received};
use archipelago_proto::{Body, Event, Slot};
use support::{Replica, config, id, put};

const NOW: u64 = 1_000_000;

fn replica(name: &str) -> Replica {
    Replica::new(config(name, Strategy::VersionVector))
}

fn same_state(left: &Replica, right: &Replica) {
    assert_eq!(left.engine.vector(), right.engine.vector());
    assert_eq!(left.view(), right.view());
    assert_eq!(left.engine.digest(), right.engine.digest());
}

#[test]
fn a_delta_holds_what_is_lacking_and_nothing_else() {
    let mut a = replica("a");
    for number in 0..100 {
        a.write(&format!("e{number}"), put(number), NOW);
    }
    let since = a.engine.vector().clone();
    for number in [7, 99, 7, 3] {
        a.write(&format!("e{number}"), put("again"), NOW);
    }
    a.write("e5", Change::Delete, NOW);
    let delta = a.engine.delta_since(&since, None, usize::MAX, NOW, &a.disk).unwrap();
    let entities: Vec<&str> = delta.entities.iter().map(|(entity, _)| &**entity).collect();
    assert_eq!(
        entities,
        ["e99", "e7", "e3", "e5"],
        "in the order of the dots that are live, superseded ones not"
    );
    assert!(delta.is_whole());
    assert_eq!(&delta.vector, a.engine.vector());
    let all_of_it = a.engine.vector().clone();
    let nothing = a.engine.delta_since(&all_of_it, None, 0, NOW, &a.disk).unwrap();
    assert!(nothing.is_whole() && nothing.entities.is_empty());
    let all = a.engine.delta_since(&VersionVector::new(), None, usize::MAX, NOW, &a.disk).unwrap();
    assert_eq!(all.entities.len(), 100, "the tombstone as well");
}

#[test]
fn pieces_are_bounded_and_together_the_whole() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    for number in 0..300 {
        a.write(&format!("e{number:03}"), put("x".repeat(50)), NOW);
    }
    let mut pieces = 0;
    b.repair_from(&mut a, 1_000, NOW, |_, _| pieces += 1).unwrap();
    assert!((15..60).contains(&pieces), "{pieces}");
    same_state(&a, &b);
    let events_applied = b.notices.iter().filter(|notice| matches!(notice, Notice::Applied { .. })).count();
    assert_eq!(events_applied, 300, "each live write is told");
}

#[test]
fn what_is_written_on_both_sides_while_pieces_travel_is_neither_lost_nor_torn() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    for number in 0..60 {
        a.write(&format!("e{number:02}"), put(number), NOW);
    }
    let (mut late, mut own): (Vec<Event>, Vec<Event>) = (Vec::new(), Vec::new());
    let mut turn = 0;
    b.repair_from(&mut a, 100, NOW, |b, a| {
        turn += 1;
        if turn <= 80 {
            // What was sent already, what comes next, what is new: written again while pieces travel.
            late.push(a.write(&format!("e{:02}", (turn * 7) % 60), put(1_000 + turn), NOW).1);
            if turn % 5 == 0 {
                late.push(a.write(&format!("e{:02}", turn % 60), Change::Delete, NOW).1);
            }
            own.push(b.write(&format!("e{:02}", (turn * 11) % 60), put(2_000 + turn), NOW).1);
        }
    })
    .unwrap();
    let seen_of_a = b.engine.vector().get(&id("a"));
    assert!(seen_of_a > 60, "the last round brought what was written during the first");
    for event in &late {
        let received = b.receive(event, None, NOW);
        let expected = if event.dot.sequence <= seen_of_a { Received::Duplicate } else { Received::Applied };
        assert_eq!(received, expected);
    }
    for event in &own {
        assert_eq!(a.receive(event, None, NOW), Received::Applied);
    }
    same_state(&a, &b);
}

#[test]
fn events_that_waited_for_what_repair_brought_are_applied_and_those_it_covers_are_done_with() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    let events: Vec<Event> = (0..4).map(|number| a.write("x", put(number), NOW).1).collect();
    let backup = Replica::open(config("a", Strategy::VersionVector), a.disk.clone());
    let last = a.write("y", put(9), NOW).1;
    assert_eq!(b.receive(&events[2], Some(3), NOW), Received::Waits);
    assert_eq!(b.receive(&last, Some(5), NOW), Received::Waits);
    assert_eq!(b.disk.checkpoint, 2, "the log is done with up to what waits");
    let mut giver = backup;
    b.repair_from(&mut giver, usize::MAX, NOW, |_, _| {}).unwrap();
    assert_eq!((b.engine.buffered(), b.disk.checkpoint), (0, 5));
    same_state(&a, &b);
}

#[test]
fn a_replica_that_lost_its_own_writes_is_fenced_by_a_delta_and_takes_nothing_of_it() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    let backup = a.disk.clone();
    let (_, event) = a.write("x", put(1), NOW);
    b.receive(&event, None, NOW);
    b.write("y", put(2), NOW);
    let mut restored = Replica::open(config("a", Strategy::VersionVector), backup);
    let refused = restored.repair_from(&mut b, usize::MAX, NOW, |_, _| {}).unwrap_err();
    assert!(matches!(refused, DeltaError::Fenced { dot } if dot == Dot::new(id("a"), 1)));
    assert!(restored.view().is_empty() && restored.engine.vector().is_empty());
    assert!(restored.notices.iter().any(|notice| matches!(notice, Notice::Fenced { .. })));
}

#[test]
fn what_is_stamped_too_far_ahead_is_not_taken_in_before_its_time() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    a.write("x", put(1), NOW);
    a.write("y", put(2), NOW + 3_600_000);
    let refused = b.repair_from(&mut a, usize::MAX, NOW, |_, _| {}).unwrap_err();
    let DeltaError::Ahead { due_unix_ms, .. } = refused else { panic!("{refused}") };
    assert_eq!(due_unix_ms, NOW + 3_600_000 - 60_000);
    assert!(b.view().is_empty() && b.engine.vector().is_empty());
    b.repair_from(&mut a, usize::MAX, due_unix_ms, |_, _| {}).unwrap();
    same_state(&a, &b);
}

#[test]
fn conflicts_that_repair_brings_wait_for_someone_to_resolve_them() {
    let replica = |name| Replica::new(config(name, Strategy::Manual));
    let (mut a, mut b) = (replica("a"), replica("b"));
    a.write("x", put(1), NOW);
    b.write("x", put(2), NOW);
    b.repair_from(&mut a, usize::MAX, NOW, |_, _| {}).unwrap();
    assert_eq!(b.record(&"x".into()).unwrap().versions.len(), 2);
    a.repair_from(&mut b, usize::MAX, NOW, |_, _| {}).unwrap();
    same_state(&a, &b);
    b.write("x", put(3), NOW);
    a.repair_from(&mut b, usize::MAX, NOW, |_, _| {}).unwrap();
    assert_eq!(a.record(&"x".into()).unwrap().versions.len(), 1);
    same_state(&a, &b);
}

#[test]
fn a_repaired_replica_survives_a_crash_with_index_and_digest() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    for number in 0..20 {
        a.write(&format!("e{}", number % 7), put(number), NOW);
    }
    b.repair_from(&mut a, 0, NOW, |_, _| {}).unwrap();
    assert_eq!(b.disk.live, b.live_dots_of_records());
    let config = EngineConfig { session: 1, ..b.engine.config().clone() };
    let b = Replica::open(config, b.disk);
    same_state(&a, &b);
}

#[test]
fn of_an_entity_that_comes_twice_the_last_one_counts() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    for (entity, value) in [("x", 1), ("y", 2), ("x", 3)] {
        a.write(entity, put(value), NOW);
    }
    let all = |a: &mut Replica| {
        a.engine.delta_since(&VersionVector::new(), None, usize::MAX, NOW, &a.disk).expect("it is stored")
    };
    let before = all(&mut a);
    a.write("x", put(4), NOW);
    let after = all(&mut a);
    let giver = support::giver(&a, after.vector);
    let given = before.entities.into_iter().chain(after.entities);
    assert_eq!(b.engine.handle_delta(giver, given, NOW, &b.disk).expect("it is whole"), 2);
    b.flush(NOW);
    same_state(&a, &b);
}

#[test]
fn a_crdt_of_unknown_kind_is_left_to_a_newer_build_and_takes_nothing_with_it() {
    let replica = |name| Replica::new(config(name, Strategy::CrdtMerge));
    let (mut a, mut b) = (replica("a"), replica("b"));
    a.write("x", support::patch(&[("n", Some(1))]), NOW);
    // As a newer build would hold it.
    let mut delta = a.engine.delta_since(&VersionVector::new(), None, usize::MAX, NOW, &a.disk).unwrap();
    let of_kind_99 = bytes::Bytes::from_static(&[0xd6, 67, 0x93, 1, 99, 0xc0]);
    delta.entities[0].1.versions[0].body = Body::Fields(vec![(Slot::Field("n".into()), Some(of_kind_99))]);
    let giver = support::giver(&a, delta.vector);
    let refused = b.engine.handle_delta(giver, delta.entities, NOW, &b.disk).unwrap_err();
    assert!(matches!(&refused, DeltaError::NeedsNewerBuild { entity } if &**entity == "x"), "{refused}");
    assert!(b.engine.vector().is_empty() && b.engine.flush(NOW).is_empty());
}
