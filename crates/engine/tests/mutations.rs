//! Each mutation breaks the promise that it says: for each a schedule written by hand in which the promise holds without
//! it, and does not with it. That random schedules find them, too, is what `simulate --mutations` shows.

mod support;

use std::collections::BTreeSet;

use archipelago_clock::VersionVector;
use archipelago_conflict::Strategy;
use archipelago_crdt::PnCounter;
use archipelago_engine::{
    Change, Effect, EngineConfig, Giver, LocalWrite, Received,
    leader_follower::{Demand, History, Proposal, Proposer, Verdict},
    mutation::{Mutation, Part},
};
use archipelago_proto::{Entry, EntryBatch, Event, Floor, Limits, Operation, PutKind};
use support::{Replica, config, giver, id, islands::World, patch, put, value};

const NOW: u64 = 1_000_000;

/// True if what was promised is what happens.
type Schedule = fn() -> bool;

fn schedule(mutation: Mutation) -> Option<Schedule> {
    let schedule: Schedule = match mutation {
        Mutation::SkipCausalBuffer => an_effect_is_not_seen_before_its_cause,
        Mutation::ApplyPastGap => what_comes_late_is_not_lost,
        Mutation::ApplyTwice => what_comes_again_changes_nothing,
        Mutation::DropTurnedAway => what_found_no_room_is_read_again,
        Mutation::UnboundedBuffer => no_more_than_the_limit_waits,
        Mutation::CheckpointPassesWaiting => the_checkpoint_waits_for_what_waits,
        Mutation::CheckpointBeforeState => the_checkpoint_is_stored_with_the_state,
        Mutation::ForkNotFenced => a_foreign_write_under_the_own_name_fences,
        Mutation::ForgetOwnSequence => sequences_go_on_after_a_restart,
        Mutation::KeepOldDots => whatever_is_live_is_covered_by_the_vector,
        Mutation::ForgetClockCeiling => stamps_go_on_after_a_restart,
        Mutation::ClockIgnoresRemote => an_effect_has_a_greater_stamp_than_its_cause,
        Mutation::IgnoreQuarantine => what_is_stamped_too_far_ahead_waits,
        Mutation::SupersedeNothing => what_was_seen_is_no_conflict,
        Mutation::TombstonesByContext => a_tombstone_goes_by_what_its_admitting_replica_had,
        Mutation::IgnoreStaleToken => what_was_overwritten_unseen_is_a_conflict,
        Mutation::AdmitAheadOfState => a_token_ahead_of_the_state_is_refused,
        Mutation::TokenWithoutWrite => the_token_covers_the_write,
        Mutation::LastArrivalWins => the_greatest_stamp_wins,
        Mutation::WholeRecordStamps => each_field_has_its_own_stamp,
        Mutation::SiblingsByArrival => siblings_stand_in_one_order,
        Mutation::HideConflicts => a_conflict_is_reported,
        Mutation::DigestMissesRepair => repaired_states_have_equal_digests,
        Mutation::RepairWithoutTombstones => repair_brings_removals,
        Mutation::RepairPartly => repair_brings_everything,
        Mutation::PiecesAreWhole => what_changes_between_pieces_is_not_lost,
        Mutation::TakeBackSuperseded => what_was_superseded_does_not_come_back,
        Mutation::KeepRemovedContent => what_a_crdt_held_before_it_was_removed_does_not_come_back,
        Mutation::KeepUnmetWrites => what_never_met_a_reclaimed_removal_is_written_anew,
        Mutation::TakePartBelowFloor => a_part_of_a_state_that_forgot_removals_is_refused,
        Mutation::TakeFromBehind => a_giver_that_lacks_removals_is_refused,
        Mutation::ReclaimAtOnce => a_tombstone_stays_until_a_floor_covers_it,
        Mutation::StableByOwnVector => what_a_member_lacks_is_not_stable,
        Mutation::JoiningNotAwaited => who_is_joining_is_awaited,
        Mutation::CountHeartbeatsEarly => a_heartbeat_counts_once_what_it_speaks_of_is_applied,
        Mutation::IgnoreFloor => an_event_behind_a_floor_that_it_lacks_does_not_count,
        Mutation::IgnoreTerm => an_entry_of_an_older_term_does_not_count,
        Mutation::EntriesPastGap => an_entry_behind_a_gap_waits,
        Mutation::IgnoreChain => an_entry_of_another_history_is_not_taken,
        Mutation::DemandOnStored => a_demand_is_met_by_all_that_was_taken,
        _ => return None,
    };
    Some(schedule)
}

#[test]
fn each_promise_is_kept_without_its_mutation_and_broken_by_it() {
    for mutation in Mutation::ALL {
        if matches!(mutation.part(), Part::MasterManager | Part::NodeManager) {
            continue;
        }
        let keeps = schedule(*mutation).unwrap_or_else(|| panic!("{mutation} needs a schedule here"));
        assert!(keeps(), "what {mutation} is to break does not hold without it");
        assert!(!mutation.with(keeps), "{mutation} breaks nothing in its schedule");
    }
}

#[test]
fn a_mutation_lasts_as_long_as_its_guard_and_on_its_thread_alone() {
    let making = Mutation::SkipCausalBuffer.make();
    Mutation::IgnoreTerm.with(|| assert!(Mutation::IgnoreTerm.is_made()));
    assert!(Mutation::SkipCausalBuffer.is_made());
    let elsewhere = std::thread::spawn(Mutation::made).join().expect("it does not panic");
    drop(making);
    assert_eq!((Mutation::made(), elsewhere), (None, None));
}

#[test]
fn each_mutation_has_a_name_of_its_own_and_a_row_in_the_page_on_testing() {
    let page = include_str!("../../../docs/TESTING.md");
    let names: BTreeSet<&str> = Mutation::ALL.iter().map(|mutation| mutation.name()).collect();
    assert_eq!(names.len(), Mutation::ALL.len());
    for mutation in Mutation::ALL {
        assert_eq!(mutation.name().parse(), Ok(*mutation));
        assert!(page.contains(&format!("| `{mutation}` |")), "docs/TESTING.md does not tell of {mutation}");
    }
    assert!("no-such-thing".parse::<Mutation>().is_err());
}

fn replica(name: &str, strategy: Strategy) -> Replica {
    Replica::new(config(name, strategy))
}

fn lww(name: &str) -> Replica {
    replica(name, Strategy::Lww)
}

fn siblings(name: &str) -> Replica {
    replica(name, Strategy::VersionVector)
}

fn versions(replica: &Replica, entity: &str) -> usize {
    replica.record(&entity.into()).map_or(0, |record| record.versions.len())
}

fn vector(of: &[(&str, u64)]) -> VersionVector {
    of.iter().map(|(name, sequence)| (id(name), *sequence)).collect()
}

fn floor(of: &[(&str, u64)]) -> Floor {
    Floor { namespace: "ns".into(), replica: id("a"), vector: vector(of) }
}

/// Three events of `a`, and a replica with room for one that waits.
fn narrow() -> ([Event; 3], Replica) {
    let mut a = lww("a");
    let events = ["x", "y", "z"].map(|entity| a.write(entity, put(1), NOW).1);
    (events, Replica::new(EngineConfig { event_buffer_events_max: 1, ..config("b", Strategy::Lww) }))
}

fn an_effect_is_not_seen_before_its_cause() -> bool {
    let (mut a, mut b, mut c) = (lww("a"), lww("b"), lww("c"));
    let cause = a.write("x", put(1), NOW).1;
    b.receive(&cause, None, NOW);
    let effect = b.write("y", put(2), NOW).1;
    c.receive(&effect, None, NOW);
    c.read("y").is_none()
}

fn what_comes_late_is_not_lost() -> bool {
    let ([first, second, _], mut b) = narrow();
    b.receive(&second, None, NOW);
    b.receive(&first, None, NOW);
    b.read("x").is_some() && b.read("y").is_some()
}

fn what_comes_again_changes_nothing() -> bool {
    let (mut a, mut b) = (siblings("a"), siblings("b"));
    let first = a.write("x", put(1), NOW).1;
    let second = a.write("x", put(2), NOW).1;
    for event in [&first, &second, &first] {
        b.receive(event, None, NOW);
    }
    versions(&b, "x") == 1
}

fn what_found_no_room_is_read_again() -> bool {
    let ([first, second, third], mut b) = narrow();
    for (position, event) in (1..).zip([&second, &third, &first]) {
        b.receive(event, Some(position), NOW);
    }
    b.rewind.is_some()
}

fn no_more_than_the_limit_waits() -> bool {
    let ([_, second, third], mut b) = narrow();
    b.receive(&second, Some(1), NOW);
    b.receive(&third, Some(2), NOW);
    b.engine.buffered() == 1
}

fn the_checkpoint_waits_for_what_waits() -> bool {
    let ([_, second, _], mut b) = narrow();
    b.receive(&second, Some(1), NOW);
    b.disk.checkpoint == 0
}

fn the_checkpoint_is_stored_with_the_state() -> bool {
    let ([first, ..], mut b) = narrow();
    b.engine.handle_events([first], Some(1), NOW, &b.disk).expect("a sound disk");
    let mut commits = b.engine.flush(NOW).into_iter().filter_map(|effect| match effect {
        Effect::Commit(commit) => Some(commit),
        _ => None,
    });
    commits.any(|commit| commit.checkpoint == Some(1) && !commit.entities.is_empty())
}

fn a_foreign_write_under_the_own_name_fences() -> bool {
    let mut restored = lww("a");
    restored.receive(&lww("a").write("x", put(1), NOW).1, Some(1), NOW);
    restored.engine.is_fenced()
}

fn sequences_go_on_after_a_restart() -> bool {
    let mut a = lww("a");
    a.write("x", put(1), NOW);
    let mut a = a.crash();
    let write = LocalWrite { entity: "y".into(), change: put(2), context: None, trace: None };
    a.engine.handle_write(write, NOW, &a.disk).expect("legal").dot.sequence == 2
}

fn whatever_is_live_is_covered_by_the_vector() -> bool {
    let (mut a, mut twin) = (lww("a"), lww("a"));
    a.write("x", put(1), NOW);
    twin.write("y", put(1), NOW);
    a.receive(&twin.write("y", put(2), NOW).1, None, NOW);
    assert!(a.reincarnate_if_fenced(2, NOW));
    let record = a.record(&"x".into()).expect("it was written");
    record.versions.iter().all(|version| a.engine.vector().contains(&version.dot))
}

fn stamps_go_on_after_a_restart() -> bool {
    let mut a = lww("a");
    let before = a.write("x", put(1), NOW).0.hlc;
    a.crash().write("x", put(2), NOW - 1_000).0.hlc > before
}

fn an_effect_has_a_greater_stamp_than_its_cause() -> bool {
    let (mut a, mut b) = (lww("a"), lww("b"));
    let cause = a.write("x", put(1), NOW).1;
    b.receive(&cause, None, NOW - 1_000);
    b.write("x", put(2), NOW - 1_000).0.hlc > cause.hlc
}

fn what_is_stamped_too_far_ahead_waits() -> bool {
    let event = lww("a").write("x", put(1), 10 * NOW).1;
    lww("b").receive(&event, None, NOW) == Received::Waits
}

fn what_was_seen_is_no_conflict() -> bool {
    let mut a = siblings("a");
    a.write("x", put(1), NOW);
    a.write("x", put(2), NOW);
    a.take_conflicts().is_empty()
}

fn a_tombstone_goes_by_what_its_admitting_replica_had() -> bool {
    let mut a = siblings("a");
    let read = a.write("x", put(1), NOW).0.token();
    a.write("x", Change::Delete, NOW);
    a.write_after("x", put(2), NOW, Some(read)).expect("legal");
    versions(&a, "x") == 1
}

fn what_was_overwritten_unseen_is_a_conflict() -> bool {
    let mut a = lww("a");
    let read = a.write("x", put(1), NOW).0.token();
    a.write("x", put(2), NOW);
    a.write_after("x", put(3), NOW, Some(read)).expect("legal");
    !a.take_conflicts().is_empty()
}

fn a_token_ahead_of_the_state_is_refused() -> bool {
    let read = lww("a").write("x", put(1), NOW).0.token();
    lww("b").write_after("x", put(2), NOW, Some(read)).is_err()
}

fn the_token_covers_the_write() -> bool {
    let written = lww("a").write("x", put(1), NOW).0;
    written.token().contains(&written.dot)
}

fn the_greatest_stamp_wins() -> bool {
    let (early, late) = (lww("a").write("x", put(1), NOW).1, lww("b").write("x", put(2), NOW + 1).1);
    let mut c = lww("c");
    c.receive(&late, None, NOW);
    c.receive(&early, None, NOW);
    c.read("x") == Some(2.into())
}

fn each_field_has_its_own_stamp() -> bool {
    let [mut a, mut b, mut c] = ["a", "b", "c"].map(|name| replica(name, Strategy::FieldMerge));
    let early = a.write("x", patch(&[("one", Some(1))]), NOW).1;
    let late = b.write("x", patch(&[("two", Some(2))]), NOW + 1).1;
    c.receive(&late, None, NOW);
    c.receive(&early, None, NOW);
    c.read("x") == Some(serde_json::json!({ "one": 1, "two": 2 }))
}

fn siblings_stand_in_one_order() -> bool {
    let one = siblings("a").write("x", put(1), NOW).1;
    let other = siblings("b").write("x", put(2), NOW).1;
    let records = [[&one, &other], [&other, &one]].map(|events| {
        let mut c = siblings("c");
        events.into_iter().for_each(|event| assert_eq!(c.receive(event, None, NOW), Received::Applied));
        c.record(&"x".into())
    });
    records[0] == records[1]
}

fn a_conflict_is_reported() -> bool {
    let (mut a, mut b) = (lww("a"), lww("b"));
    a.write("x", put(1), NOW);
    a.receive(&b.write("x", put(2), NOW).1, None, NOW);
    !a.take_conflicts().is_empty()
}

fn repaired_states_have_equal_digests() -> bool {
    let (mut a, mut b) = (lww("a"), lww("b"));
    a.write("x", put(1), NOW);
    b.repair_from(&mut a, 0, NOW, |_, _| {}).expect("sound");
    a.engine.digest() == b.engine.digest()
}

fn repair_brings_removals() -> bool {
    let (mut a, mut b) = (lww("a"), lww("b"));
    b.receive(&a.write("x", put(1), NOW).1, None, NOW);
    a.write("x", Change::Delete, NOW);
    b.repair_from(&mut a, 0, NOW, |_, _| {}).expect("sound");
    b.read("x").is_none()
}

fn repair_brings_everything() -> bool {
    let (mut a, mut b) = (lww("a"), lww("b"));
    a.write("x", put(1), NOW);
    a.write("y", put(2), NOW);
    b.repair_from(&mut a, usize::MAX, NOW, |_, _| {}).expect("sound");
    a.view() == b.view()
}

fn what_changes_between_pieces_is_not_lost() -> bool {
    let (mut a, mut b) = (lww("a"), lww("b"));
    a.write("x", put(1), NOW);
    a.receive(&lww("c").write("y", put(1), NOW).1, None, NOW);
    // After the piece with what `a` wrote, and before that with what `c` wrote.
    b.repair_from(&mut a, 0, NOW, |_, a| drop(a.write("y", put(2), NOW))).expect("sound");
    b.read("y").is_some()
}

fn what_was_superseded_does_not_come_back() -> bool {
    let (mut a, mut b) = (siblings("a"), siblings("b"));
    let (first, written) = a.write("x", put(1), NOW);
    a.receive(&siblings("c").write("x", put(2), NOW).1, None, NOW);
    b.receive(&written, None, NOW);
    b.write("x", put(3), NOW);
    b.repair_from(&mut a, 0, NOW, |_, _| {}).expect("sound");
    let record = b.record(&"x".into()).expect("it was written");
    record.versions.iter().all(|version| version.dot != first.dot)
}

fn a_part_of_a_state_that_forgot_removals_is_refused() -> bool {
    let mut b = lww("b");
    let vector: VersionVector = [(id("a"), 1)].into_iter().collect();
    let part = Giver { floor: vector.clone(), is_complete: false, ..giver(&lww("a"), vector) };
    b.engine.handle_delta(part, [], NOW, &b.disk).is_err()
}

fn what_a_crdt_held_before_it_was_removed_does_not_come_back() -> bool {
    let counted = |by: u64| {
        let mut counter = PnCounter::new();
        counter.increment(id("a"), by).expect("a small number");
        patch(&[("count", Some(counter))])
    };
    let [mut a, mut b] = ["a", "b"].map(|name| Replica::new(config(name, Strategy::CrdtMerge)));
    b.receive(&a.write("x", counted(5), NOW).1, None, NOW);
    a.write("x", Change::Delete, NOW);
    a.engine.handle_floor(floor(&[("a", 2)]), 1);
    a.flush(NOW);
    a.engine.reclaim(usize::MAX, NOW, &a.disk).expect("a sound disk");
    a.flush(NOW);
    a.write("x", counted(1), NOW);
    let all = Giver { floor: vector(&[("a", 2)]), ..giver(&a, a.engine.vector().clone()) };
    let given = [("x".into(), a.record(&"x".into()).expect("it is held"))];
    b.engine.handle_delta(all, given, NOW, &b.disk).expect("all of it");
    b.flush(NOW);
    a.record(&"x".into()) == b.record(&"x".into())
}

fn what_never_met_a_reclaimed_removal_is_written_anew() -> bool {
    let mut b = lww("b");
    b.write("x", put(1), NOW);
    let removed = vector(&[("a", 1)]);
    let all = Giver { floor: removed.clone(), ..giver(&lww("a"), removed) };
    b.engine.handle_delta(all, [], NOW, &b.disk).expect("all of it");
    b.flush(NOW);
    let record = b.record(&"x".into()).expect("it is held");
    record.versions.iter().all(|version| version.dot.sequence == 2) && b.engine.vector().get(&id("b")) == 2
}

fn a_giver_that_lacks_removals_is_refused() -> bool {
    let mut a = lww("a");
    a.write("x", Change::Delete, NOW);
    a.engine.handle_floor(floor(&[("a", 1)]), 1);
    a.flush(NOW);
    a.engine.handle_delta(giver(&lww("b"), VersionVector::new()), [], NOW, &a.disk).is_err()
}

fn a_tombstone_stays_until_a_floor_covers_it() -> bool {
    let mut a = lww("a");
    a.write("x", Change::Delete, NOW);
    a.engine.reclaim(usize::MAX, NOW, &a.disk).expect("a sound disk") == 0
}

fn what_a_member_lacks_is_not_stable() -> bool {
    let mut world = World::new(&["a", "b"], Strategy::Lww);
    world.settle();
    world.write(0, "x", Change::Delete);
    let a = &world.islands[0].replica.engine;
    !a.reclaimable().stable.dominates(a.vector())
}

fn who_is_joining_is_awaited() -> bool {
    let mut world = World::new(&["a"], Strategy::Lww);
    world.settle();
    world.join("b", 1);
    world.beat(1, &[0]);
    let awaited = world.islands[0].replica.engine.reclaimable().awaited;
    awaited.iter().any(|(replica, _)| *replica == id("b"))
}

fn a_heartbeat_counts_once_what_it_speaks_of_is_applied() -> bool {
    let mut world = World::new(&["a", "b"], Strategy::Lww);
    world.write(1, "x", put(1));
    world.beat(1, &[0]);
    let awaited = world.islands[0].replica.engine.reclaimable().awaited;
    awaited.iter().all(|(_, counted)| counted.as_ref().is_none_or(|counted| counted.get(&id("b")) == 0))
}

fn an_event_behind_a_floor_that_it_lacks_does_not_count() -> bool {
    let mut a = lww("a");
    a.write("x", Change::Delete, NOW);
    a.engine.handle_floor(floor(&[("a", 1)]), 1);
    a.flush(NOW);
    a.receive(&lww("b").write("x", put(1), NOW).1, Some(2), NOW) == Received::BelowFloor
}

/// One entry of this term, at this index, on the history with this digest.
fn batch(term: u64, first_index: u64, before: u128) -> EntryBatch {
    let entries = vec![Entry::new(Operation::Nothing)];
    EntryBatch { namespace: "ns".into(), term, first_index, before, written_unix_ms: NOW, entries }
}

const HISTORY: History = History { index: 1, term: 2, chain: 7 };

fn an_entry_of_an_older_term_does_not_count() -> bool {
    HISTORY.judge(&batch(1, 2, 7)) == Verdict::Stale
}

fn an_entry_behind_a_gap_waits() -> bool {
    HISTORY.judge(&batch(2, 3, 7)) == Verdict::Gap { from: 2, to: 2 }
}

fn an_entry_of_another_history_is_not_taken() -> bool {
    HISTORY.judge(&batch(2, 2, 8)) == Verdict::Diverged
}

fn a_demand_is_met_by_all_that_was_taken() -> bool {
    let mut proposer = Proposer::new("ns", Limits::default(), HISTORY);
    let create = || Proposal::Put { key: "x".into(), value: value(1), kind: PutKind::Create };
    let mut propose = || {
        let Ok(taken) =
            proposer.propose(create(), Demand::default(), |_| Ok::<_, std::convert::Infallible>(None));
        taken
    };
    propose().is_ok() && propose().is_err()
}
