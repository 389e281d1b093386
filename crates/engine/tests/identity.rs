//! Nobody else writes under the identity of a replica; if somebody does, the replica writes no more.

mod support;

use std::collections::BTreeMap;

use archipelago_clock::{Dot, Incarnation, ReplicaId};
use archipelago_conflict::Strategy;
use archipelago_engine::{Change, DeltaError, EngineConfig, Notice, Received, WriteError};
use archipelago_proto::{Event, Floor};
use proptest::prelude::{Strategy as _, *};
use support::{Replica, config, giver, id, put};

const NOW: u64 = 1_000_000;

fn replica(name: &str) -> Replica {
    Replica::new(config(name, Strategy::Lww))
}

fn fences(replica: &Replica) -> Vec<Dot> {
    let fences = replica.notices.iter().filter_map(|notice| match notice {
        Notice::Fenced { dot } => Some(dot.clone()),
        _ => None,
    });
    fences.collect()
}

fn refused(replica: &mut Replica) -> Dot {
    match replica.write_after("x", put(9), NOW, None) {
        Err(WriteError::Fenced { dot }) => dot,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_echo_of_an_own_write_is_a_duplicate() {
    let mut a = replica("a");
    let (_, event) = a.write("x", put(1), NOW);
    let before = a.engine.digest().clone();
    assert_eq!(a.receive(&event, Some(1), NOW), Received::Duplicate);
    assert_eq!((a.engine.digest(), a.disk.checkpoint), (&before, 1));
    assert_eq!(a.engine.counters().duplicates_ignored, 0, "an echo is expected");
    assert_eq!(fences(&a), []);
    a.write("x", put(2), NOW);
}

#[test]
fn a_write_of_another_under_the_own_identity_fences_for_good() {
    let (mut a, mut twin) = (replica("a"), replica("a"));
    a.write("x", put(1), NOW);
    twin.write("x", put(2), NOW);
    let foreign = [twin.write("x", put(3), NOW).1, twin.write("x", put(4), NOW).1];
    let before = (a.engine.vector().clone(), a.view());
    for event in foreign.iter().chain(&foreign) {
        assert_eq!(a.receive(event, None, NOW), Received::Fenced);
    }
    let dot = Dot::new(id("a"), 2);
    assert_eq!(fences(&a), std::slice::from_ref(&dot), "told once");
    assert_eq!(refused(&mut a), dot);
    assert_eq!((a.engine.vector().clone(), a.view()), before);

    let (_, remote) = replica("b").write("y", put(5), NOW);
    assert_eq!(a.receive(&remote, None, NOW), Received::Applied);
    assert_eq!(a.read("y"), Some(5.into()));
}

#[test]
fn a_store_that_was_restored_from_an_old_copy_is_fenced_by_its_own_later_writes() {
    let mut a = replica("a");
    let (_, first) = a.write("x", put(1), NOW);
    let backup = a.disk.clone();
    let (_, second) = a.write("x", put(2), NOW);
    let mut a = Replica::open(config("a", Strategy::Lww), backup);
    assert_eq!(a.receive(&first, Some(1), NOW), Received::Duplicate);
    assert_eq!(a.receive(&second, Some(2), NOW), Received::Fenced);
    refused(&mut a);
}

#[test]
fn a_restored_store_that_has_written_as_much_again_is_fenced_by_what_it_wrote_before() {
    let mut a = replica("a");
    let backup = a.disk.clone();
    let (_, before) = a.write("x", put(1), NOW);
    let mut a = Replica::open(config("a", Strategy::Lww), backup);
    let (_, again) = a.write("y", put(2), NOW + 1);
    assert_eq!(before.dot, again.dot);
    assert_eq!(a.receive(&before, Some(1), NOW), Received::Fenced);
    assert_eq!(refused(&mut a), before.dot);
}

#[test]
fn it_is_fenced_also_if_it_was_started_once_more_in_between() {
    let mut a = replica("a");
    let backup = a.disk.clone();
    let (_, before) = a.write("x", put(1), NOW);
    let mut a = Replica::open(config("a", Strategy::Lww), backup);
    let (_, again) = a.write("y", put(2), NOW + 1);
    let mut a = a.crash();
    assert_eq!(a.receive(&again, Some(2), NOW), Received::Duplicate, "its own");
    assert_eq!(a.receive(&before, Some(1), NOW), Received::Fenced);
    assert!(a.reincarnate_if_fenced(7, NOW));
    assert_eq!(a.engine.vector().get(&reborn(7)), 1, "what it wrote again goes by the new identity");
}

#[test]
fn own_writes_of_an_earlier_session_are_looked_up_once_for_all_of_a_message() {
    let mut a = replica("a");
    let entity = |n: u64| if n.is_multiple_of(3) { "again".to_owned() } else { format!("e{n}") };
    let events: Vec<Event> = (0..300).map(|n| a.write(&entity(n), put(n), NOW).1).collect();
    let backup = a.disk.clone();
    let foreign = a.write("x", put(1), NOW).1;
    let mut a = Replica::open(config("a", Strategy::Lww), backup);
    a.write("y", put(2), NOW + 1);
    let mut a = a.crash();
    a.disk.live_asked.set(0);
    let received = a.engine.handle_events(events[..200].to_vec(), Some(1), NOW, &a.disk).unwrap();
    assert_eq!((received, a.disk.live_asked.get()), (vec![Received::Duplicate; 200], 1));
    let rest = events[200..].iter().cloned().chain([foreign]);
    let received = a.engine.handle_events(rest, Some(2), NOW, &a.disk).unwrap();
    let others = [&vec![Received::Duplicate; 100][..], &[Received::Fenced]].concat();
    assert_eq!((received, a.disk.live_asked.get()), (others, 2), "the last one is not what it wrote");
}

#[test]
fn what_an_event_came_after_is_looked_at_again_when_the_identity_changed() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    let backup = a.disk.clone();
    let (_, before) = a.write("x", put(1), NOW);
    let mut a = Replica::open(config("a", Strategy::Lww), backup);
    let (_, again) = a.write("y", put(2), NOW + 1);
    b.receive(&again, None, NOW);
    let (_, after) = b.write("z", put(3), NOW);
    assert_eq!(a.receive(&after, None, NOW), Received::Applied);
    assert_eq!(a.receive(&before, Some(1), NOW), Received::Fenced);
    assert!(a.reincarnate_if_fenced(7, NOW));
    assert_eq!(
        a.receive(&after, None, NOW),
        Received::Waits,
        "for a write of the old identity, which it lacks now"
    );
}

#[test]
fn a_delta_with_a_write_under_its_name_that_it_made_otherwise_fences() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    let backup = a.disk.clone();
    let (_, before) = a.write("x", put(1), NOW);
    b.receive(&before, None, NOW);
    b.write("z", put(3), NOW);
    let mut a = Replica::open(config("a", Strategy::Lww), backup);
    a.write("y", put(2), NOW + 1);
    let delta = a.repair_from(&mut b, 1_000, NOW, |_, _| ());
    assert!(delta.is_ok(), "what b has of a is not asked for");
    let record = b.record(&"x".into()).expect("it was applied");
    let taken =
        a.engine.handle_delta(giver(&b, b.engine.vector().clone()), [("x".into(), record)], NOW, &a.disk);
    assert!(matches!(taken, Err(DeltaError::Fenced { .. })), "{taken:?}");
}

#[test]
fn a_write_that_depends_on_an_own_write_not_made_here_fences() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    let backup = a.disk.clone();
    let (_, lost) = a.write("x", put(1), NOW);
    b.receive(&lost, None, NOW);
    let (_, reply) = b.write("x", put(2), NOW);
    let mut a = Replica::open(config("a", Strategy::Lww), backup);
    assert_eq!(a.receive(&reply, None, NOW), Received::Waits);
    assert_eq!(refused(&mut a), Dot::new(id("a"), 1));
    assert_eq!(fences(&a).len(), 1);
}

#[test]
fn a_fence_from_the_log_is_there_again_after_a_crash() {
    let (mut a, mut twin) = (replica("a"), replica("a"));
    let (_, foreign) = twin.write("x", put(1), NOW);
    let (_, remote) = replica("b").write("y", put(5), NOW);
    a.receive(&foreign, Some(1), NOW);
    a.receive(&remote, Some(2), NOW);
    let mut a = a.crash();
    assert_eq!(a.disk.checkpoint, 0, "the log is read again from before it");
    assert_eq!(a.receive(&foreign, Some(1), NOW), Received::Fenced);
    refused(&mut a);
}

fn same_state(left: &Replica, right: &Replica) {
    assert_eq!(left.engine.vector(), right.engine.vector());
    assert_eq!(left.view(), right.view());
    assert_eq!(left.engine.digest(), right.engine.digest());
}

fn reborn(incarnation: u64) -> ReplicaId {
    ReplicaId::new("a", Incarnation::from_bits(incarnation)).expect("a legal name")
}

/// Another session on a copy of the disk.
fn copy(replica: &Replica, session: u64) -> Replica {
    let config = EngineConfig { session, ..replica.engine.config().clone() };
    Replica::open(config, replica.disk.clone())
}

#[test]
fn a_replica_restored_from_an_old_copy_goes_on_under_a_new_identity_with_all_that_it_had_written() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    let mut log: Vec<Event> = vec![a.write("x", put(1), NOW).1];
    let mut restored = copy(&a, 1);
    log.push(a.write("x", put(2), NOW).1);
    log.push(a.write("y", put(3), NOW).1);
    for (at, event) in (1..).zip(&log) {
        b.receive(event, Some(at), NOW);
    }
    // It writes before it finds out; the sequence is taken, and the others take it for known.
    let mine = restored.write("mine", put(4), NOW).1;
    assert_eq!(b.receive(&mine, Some(4), NOW), Received::Duplicate);
    log.push(mine);
    for (at, event) in (1..).zip(&log) {
        restored.receive(event, Some(at), NOW);
    }
    assert!(restored.reincarnate_if_fenced(7, NOW));
    let reincarnated = |notice: &Notice| matches!(notice, Notice::Reincarnated { writes: 1, .. });
    assert!(restored.notices.iter().any(reincarnated));
    let after = restored.rewind.expect("what was not taken is read again");
    for (at, event) in (1..).zip(&log).filter(|(at, _)| *at > after) {
        restored.receive(event, Some(at), NOW);
    }
    assert_eq!(restored.read("y"), Some(3.into()));
    assert_eq!(restored.disk.live, restored.live_dots_of_records());
    let written = restored.write("more", put(5), NOW).0;
    assert_eq!(written.dot, Dot::new(reborn(7), 2));
    b.repair_from(&mut restored, 0, NOW, |_, _| {}).unwrap();
    restored.repair_from(&mut b, 0, NOW, |_, _| {}).unwrap();
    same_state(&restored, &b);
    assert_eq!(
        (b.read("mine"), b.read("x"), b.read("more")),
        (Some(4.into()), Some(2.into()), Some(5.into()))
    );
    let again = restored.crash();
    same_state(&again, &b);
}

#[test]
fn two_sessions_of_one_identity_hear_each_other_and_part() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    a.write("before", put(0), NOW);
    let mut twin = copy(&a, 1);
    let mut a = copy(&a, 2);
    let events = [a.write("of a", put(1), NOW).1, twin.write("of the twin", put(2), NOW).1];
    for event in &events {
        b.receive(event, None, NOW);
    }
    for beat in 1..=3 {
        assert!(!a.engine.is_fenced() && !twin.engine.is_fenced(), "{beat} beats may be an echo");
        let heard = twin.engine.heartbeat(None, NOW);
        // An echo of one beat is no second one.
        a.engine.handle_heartbeat(heard.clone(), NOW);
        a.engine.handle_heartbeat(heard, NOW);
        twin.engine.handle_heartbeat(a.engine.heartbeat(None, NOW), NOW);
    }
    assert!(a.reincarnate_if_fenced(7, NOW) && twin.reincarnate_if_fenced(8, NOW));
    for _ in 0..2 {
        for taker in 0..3 {
            for giver in 0..3 {
                let mut all = [&mut a, &mut twin, &mut b];
                if let Ok([taker, giver]) = all.get_disjoint_mut([taker, giver]) {
                    taker.repair_from(giver, 0, NOW, |_, _| {}).unwrap();
                }
            }
        }
    }
    same_state(&a, &twin);
    same_state(&a, &b);
    assert_eq!(b.view().len(), 3, "{:?}", b.view());
    // The name is still shared, which is told once.
    for _ in 0..9 {
        let heartbeat = twin.engine.heartbeat(None, NOW);
        a.engine.handle_heartbeat(heartbeat, NOW);
        a.flush(NOW);
    }
    let shared = |notice: &&Notice| matches!(notice, Notice::NameShared { other } if *other == reborn(8));
    assert_eq!(a.notices.iter().filter(shared).count(), 1);
    assert_eq!(fences(&a).len(), 1);
}

#[test]
fn what_was_superseded_before_a_change_of_identity_does_not_come_back_with_the_log() {
    let replica = |name| Replica::new(config(name, Strategy::VersionVector));
    let (mut original, mut b) = (replica("a"), replica("b"));
    let mut log = vec![original.write("before", put(0), NOW).1];
    let (mut a, mut twin) = (copy(&original, 1), copy(&original, 2));
    log.push(a.write("x", put(1), NOW).1);
    for event in &log {
        b.receive(event, None, NOW);
    }
    log.push(b.write("x", put(2), NOW).1);
    assert_eq!(a.receive(&log[2], Some(3), NOW), Received::Applied);
    for _ in 1..=3 {
        a.engine.handle_heartbeat(twin.engine.heartbeat(None, NOW), NOW);
    }
    assert!(a.reincarnate_if_fenced(7, NOW));
    for (at, event) in (1..).zip(&log) {
        a.receive(event, Some(at), NOW);
    }
    b.repair_from(&mut a, 0, NOW, |_, _| {}).unwrap();
    a.repair_from(&mut b, 0, NOW, |_, _| {}).unwrap();
    same_state(&a, &b);
}

#[derive(Clone, Debug)]
enum Step {
    Write { replica: usize },
    Deliver { replica: usize, event: prop::sample::Index },
    Beat { from: usize, to: usize },
    Repair { taker: usize, giver: usize },
    Restart { replica: usize },
}

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    let replica = || 0..4usize;
    let step = prop_oneof![
        5 => replica().prop_map(|replica| Step::Write { replica }),
        6 => (replica(), any::<prop::sample::Index>()).prop_map(|(replica, event)| Step::Deliver { replica, event }),
        4 => (replica(), replica()).prop_map(|(from, to)| Step::Beat { from, to }),
        2 => (replica(), replica()).prop_map(|(taker, giver)| Step::Repair { taker, giver }),
        1 => replica().prop_map(|replica| Step::Restart { replica }),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Two sessions on copies of one store, and two other replicas: whatever is written, delivered, lost and repaired, and
/// whenever the two find out, in the end all have the same state, and all that was ever written is in it.
fn all_writes_survive_twins(steps: &[Step]) {
    let original = {
        let mut original = replica("a");
        original.write("before", put(0), NOW);
        original
    };
    let mut all = [copy(&original, 1), copy(&original, 2), replica("b"), replica("c")];
    let (mut events, mut written, mut incarnation, mut session) =
        (Vec::<Event>::new(), BTreeMap::new(), 10, 10);
    let mut mend = |replica: &mut Replica| {
        incarnation += 1;
        replica.reincarnate_if_fenced(incarnation, NOW);
        assert_eq!(replica.disk.live, replica.live_dots_of_records());
    };
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Write { replica } => {
                let entity = format!("w{number}");
                events.push(all[*replica].write(&entity, put(number), NOW + number as u64).1);
                written.insert(entity, serde_json::Value::from(number));
            }
            Step::Deliver { replica, event } if !events.is_empty() => {
                all[*replica].receive(event.get(&events), None, NOW + 100);
                mend(&mut all[*replica]);
            }
            Step::Beat { from, to } if from != to => {
                let heartbeat = all[*from].engine.heartbeat(None, NOW + 100);
                all[*to].engine.handle_heartbeat(heartbeat, NOW + 100);
                mend(&mut all[*to]);
            }
            Step::Repair { taker, giver } if taker != giver => {
                let [taker, giver] = all.get_disjoint_mut([*taker, *giver]).expect("two");
                let _ = taker.repair_from(giver, 0, NOW + 100, |_, _| {});
                mend(taker);
            }
            // A restart makes all that was written before it common to whoever has the store: not while a twin lives.
            Step::Restart { replica } if *replica > 1 => {
                session += 1;
                all[*replica] = copy(&all[*replica], session);
            }
            _ => {}
        }
    }
    for _ in 0..3 {
        for (from, to) in [(0, 1), (1, 0)] {
            let heartbeat = all[from].engine.heartbeat(None, NOW + 100);
            all[to].engine.handle_heartbeat(heartbeat, NOW + 100);
        }
    }
    all[..2].iter_mut().for_each(&mut mend);
    // Events that wait here may need what waits there: each round may set another one free.
    for _ in 0..20 {
        for taker in 0..4 {
            for giver in 0..4 {
                if let Ok([taker, giver]) = all.get_disjoint_mut([taker, giver]) {
                    let _ = taker.repair_from(giver, 0, NOW + 100, |_, _| {});
                    mend(taker);
                }
            }
        }
    }
    for replica in &all[1..] {
        same_state(&all[0], replica);
    }
    let view = all[0].view();
    for (entity, value) in &written {
        assert_eq!(view.get(entity), Some(value), "{entity}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_write_is_lost_to_two_sessions_on_copies_of_one_store(steps in steps()) {
        all_writes_survive_twins(&steps);
    }
}

/// `a` has made one write that `b` has, and another one that its old copy, which is given, does not know of.
fn old_copy() -> (Replica, Replica, Replica) {
    let (mut a, mut b) = (replica("a"), replica("b"));
    b.receive(&a.write("x", put(1), NOW).1, None, NOW);
    let restored = copy(&a, 1);
    b.receive(&a.write("x", put(2), NOW).1, None, NOW);
    (a, b, restored)
}

fn renamed(replica: &Replica) -> Option<u64> {
    replica.notices.iter().find_map(|notice| match notice {
        Notice::Reincarnated { writes, .. } => Some(*writes),
        _ => None,
    })
}

#[test]
fn whoever_wrote_as_much_again_on_an_old_copy_before_it_heard_of_anyone_finds_out_by_the_state_of_others() {
    let (_, mut b, mut restored) = old_copy();
    let mine = restored.write("mine", put(4), NOW).1;
    assert_eq!(restored.engine.vector(), b.engine.vector());
    let heartbeat = b.engine.heartbeat(None, NOW);
    restored.engine.handle_heartbeat(heartbeat, NOW);
    restored.flush(NOW);
    assert!(restored.reincarnate_if_fenced(7, NOW));
    assert_eq!(renamed(&restored), Some(1));
    // Under the old name it is nothing that others know.
    assert_eq!(restored.receive(&mine, Some(1), NOW), Received::BelowFloor);
    b.repair_from(&mut restored, 0, NOW, |_, _| {}).unwrap();
    restored.repair_from(&mut b, 0, NOW, |_, _| {}).unwrap();
    same_state(&restored, &b);
    assert_eq!((b.read("x"), b.read("mine")), (Some(2.into()), Some(4.into())));
}

#[test]
fn whoever_has_found_its_state_to_be_that_of_another_does_not_doubt_its_own_writes_any_more() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    b.receive(&a.write("x", put(1), NOW).1, None, NOW);
    let mut a = copy(&a, 1);
    b.receive(&a.write("x", put(2), NOW).1, None, NOW);
    let heartbeat = b.engine.heartbeat(None, NOW);
    a.engine.handle_heartbeat(heartbeat.clone(), NOW);
    let damaged = archipelago_proto::Heartbeat { digest: 7, beat: heartbeat.beat + 1, ..heartbeat };
    a.engine.handle_heartbeat(damaged, NOW);
    a.flush(NOW);
    assert!(!a.engine.is_fenced());
    assert!(a.notices.iter().any(|notice| matches!(notice, Notice::Diverged { .. })));
}

#[test]
fn what_was_written_without_hearing_of_anyone_is_in_doubt_over_restarts() {
    let (mut a, mut b, mut restored) = old_copy();
    restored.write("mine", put(4), NOW);
    let mut restored = restored.crash();
    b.receive(&a.write("x", put(3), NOW).1, None, NOW);
    let heartbeat = b.engine.heartbeat(None, NOW);
    restored.engine.handle_heartbeat(heartbeat, NOW);
    restored.flush(NOW);
    assert!(restored.reincarnate_if_fenced(7, NOW));
    assert_eq!(renamed(&restored), Some(1));
}

#[test]
fn what_was_written_after_others_were_heard_of_is_not_in_doubt_after_a_restart() {
    let (mut a, mut b) = (replica("a"), replica("b"));
    a.write("x", put(1), NOW);
    let mut a = copy(&a, 1);
    a.write("x", put(2), NOW);
    let heartbeat = b.engine.heartbeat(None, NOW);
    a.engine.handle_heartbeat(heartbeat, NOW);
    a.write("x", put(3), NOW);
    let mut again = a.crash();
    let dot = Dot::new(id("a"), 4);
    let mut heartbeat = b.engine.heartbeat(None, NOW);
    heartbeat.vector.raise(dot.actor.clone(), dot.sequence);
    again.engine.handle_heartbeat(heartbeat, NOW);
    again.flush(NOW);
    assert!(again.reincarnate_if_fenced(7, NOW));
    assert_eq!(renamed(&again), Some(0));
}

#[test]
fn what_others_wrote_after_a_write_in_doubt_is_read_again() {
    let (mut a, mut b, mut restored) = old_copy();
    restored.write("mine", put(4), NOW);
    // Its author has seen the other write of that name.
    let after = b.write("y", put(5), NOW).1;
    assert_eq!(restored.receive(&after, Some(1), NOW), Received::Applied);
    b.receive(&a.write("x", put(3), NOW).1, None, NOW);
    let heartbeat = b.engine.heartbeat(None, NOW);
    restored.engine.handle_heartbeat(heartbeat, NOW);
    restored.flush(NOW);
    assert!(restored.reincarnate_if_fenced(7, NOW));
    assert_eq!(restored.engine.vector().get(&id("b")), 0);
    assert_eq!(restored.read("y"), Some(5.into()), "nothing is lost meanwhile");
    assert_eq!(restored.receive(&after, Some(1), NOW), Received::Waits, "for what it was written after");
    restored.repair_from(&mut b, 0, NOW, |_, _| {}).unwrap();
    b.repair_from(&mut restored, 0, NOW, |_, _| {}).unwrap();
    same_state(&restored, &b);
}

#[test]
fn beside_a_twin_only_what_the_log_has_not_brought_back_gets_another_name() {
    let mut a = replica("a");
    let mut twin = copy(&a, 1);
    let first = a.write("x", put(1), NOW).1;
    a.write("y", put(2), NOW);
    assert_eq!(a.receive(&first, Some(1), NOW), Received::Duplicate);
    for _ in 0..3 {
        let heartbeat = twin.engine.heartbeat(None, NOW);
        a.engine.handle_heartbeat(heartbeat, NOW);
    }
    a.flush(NOW);
    assert!(a.reincarnate_if_fenced(7, NOW));
    assert_eq!(renamed(&a), Some(1));
    assert_eq!(a.engine.vector().get(&id("a")), 1);
}

#[test]
fn a_floor_that_was_found_under_another_identity_is_not_told() {
    let mut a = replica("a");
    let mut twin = copy(&a, 1);
    a.write("x", Change::Delete, NOW);
    for _ in 0..3 {
        a.engine.announce(NOW).expect("a clock");
        a.flush(NOW);
        a.engine.heartbeat(None, NOW);
    }
    for _ in 0..3 {
        let heartbeat = twin.engine.heartbeat(None, NOW);
        a.engine.handle_heartbeat(heartbeat, NOW);
    }
    assert!(a.engine.is_fenced());
    a.floor = None;
    let new = reborn(7);
    // Whatever was found is still to be told.
    a.engine.heartbeat(None, NOW);
    a.engine.reincarnate(new, &a.disk).expect("a sound disk");
    a.flush(NOW);
    assert_eq!(a.floor, None);
}

/// The same name stands for two writes, and the first one in the log waits for what it depends on.
#[test]
fn of_two_writes_of_one_name_the_first_in_the_log_counts_though_the_second_could_be_applied_at_once() {
    let (mut a, mut twin, mut b, mut c) = (replica("a"), replica("a"), replica("b"), replica("c"));
    let before = b.write("x", put(1), NOW).1;
    a.receive(&before, None, NOW);
    let first = a.write("x", put(2), NOW).1;
    let second = twin.write("y", put(3), NOW + 1).1;
    assert_eq!(c.receive(&first, Some(1), NOW), Received::Waits);
    assert_eq!(c.receive(&second, Some(2), NOW), Received::Duplicate);
    assert_eq!(c.receive(&before, Some(3), NOW), Received::Applied);
    assert_eq!((c.read("x"), c.read("y")), (Some(2.into()), None));
}

/// A floor covers a removal by a replica that was renamed since, so that it has to be applied here again.
#[test]
fn a_removal_that_is_reclaimed_here_and_lacking_again_is_taken_once() {
    let manual = |name| Replica::new(config(name, Strategy::Manual));
    let (mut a, mut b) = (manual("a"), manual("b"));
    let removal = a.write("x", Change::Delete, NOW).1;
    b.write("x", put(1), NOW);
    b.receive(&removal, None, NOW);
    let vector = a.engine.vector().clone();
    a.engine.handle_floor(Floor { namespace: "ns".into(), replica: id("b"), vector: vector.clone() }, 1);
    a.flush(NOW);
    assert!(
        a.engine.reclaim(9, NOW + 60_000, &a.disk).is_ok() && a.engine.reclaimed().contains(&removal.dot)
    );
    a.flush(NOW);
    a.engine.reincarnate(reborn(7), &a.disk).expect("a sound disk");
    a.flush(NOW);
    assert!(!a.engine.vector().contains(&removal.dot));
    a.repair_from(&mut b, 0, NOW, |_, _| {}).unwrap();
    let live: Vec<Dot> =
        a.record(&"x".into()).unwrap().versions.into_iter().map(|version| version.dot).collect();
    assert_eq!(live, [removal.dot, Dot::new(id("b"), 1)]);
}
