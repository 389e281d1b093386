//! Tombstones go once they are of no use to anyone, and nothing that was removed comes back: whoever writes, joins, is given
//! up, or returns.

mod support;

use archipelago_clock::{Incarnation, ReplicaId, VersionVector};
use archipelago_conflict::Strategy;
use archipelago_engine::{Change, DeltaError, EngineConfig, Notice, Received};
use archipelago_proto::{Floor, Limits, MemberState};
use proptest::prelude::{Strategy as _, *};
use support::{
    Replica, config, id,
    islands::{Island, World},
    patch, put, value,
};

const START: u64 = 1_000_000;
const STRATEGIES: [Strategy; 4] =
    [Strategy::Lww, Strategy::FieldMerge, Strategy::CrdtMerge, Strategy::VersionVector];

#[test]
fn once_everyone_has_a_removal_nothing_of_it_is_left_anywhere() {
    for strategy in STRATEGIES {
        let mut world = World::new(&["a", "b", "c"], strategy);
        for number in 0..50 {
            world.write(number % 3, &format!("e{number}"), put(number));
        }
        world.settle();
        for number in 0..50 {
            world.write((number + 1) % 3, &format!("e{number}"), Change::Delete);
        }
        world.settle();
        world.assert_settled();
        assert_eq!(world.tombstones(), [0, 0, 0], "{}", strategy.name());
        for island in &world.islands {
            let disk = &island.replica.disk;
            assert!(disk.entities.is_empty() && disk.live.is_empty() && disk.tombstones.is_empty());
            assert_eq!(island.replica.engine.held(), 0);
        }
    }
}

#[test]
fn the_tombstones_of_fields_go_and_the_fields_beside_them_stay() {
    for strategy in [Strategy::FieldMerge, Strategy::CrdtMerge] {
        let mut world = World::new(&["a", "b"], strategy);
        world.write(0, "x", patch(&[("one", Some(1)), ("two", Some(2))]));
        world.settle();
        world.write(1, "x", patch::<u8>(&[("one", None)]));
        world.settle();
        world.assert_settled();
        assert_eq!(world.tombstones(), [0, 0]);
        assert_eq!(world.islands[0].replica.read("x"), Some(serde_json::json!({ "two": 2 })));
    }
}

#[test]
fn one_who_was_not_heard_holds_everything_back_until_given_up() {
    let mut world = World::new(&["a", "b", "c"], Strategy::Lww);
    world.write(0, "x", put(1));
    world.settle();
    // From now on c is away.
    let away = world.islands.pop().expect("there are three");
    world.write(0, "x", Change::Delete);
    world.settle();
    assert_eq!(world.tombstones(), [1, 1]);
    let reclaimable = world.islands[0].replica.engine.reclaimable();
    let (_, of_c) = reclaimable.awaited.iter().find(|(replica, _)| replica.name() == "c").expect("awaited");
    assert!(
        of_c.as_ref()
            .is_some_and(|vector| !vector.dominates(reclaimable.awaited[0].1.as_ref().expect("own")))
    );
    let now = world.now;
    let replica = world.islands[1].replica.engine.retire("c", now).expect("it is known");
    assert_eq!(replica, id("c"));
    world.islands[1].replica.flush(now);
    world.settle();
    assert_eq!(world.tombstones(), [0, 0]);
    // It comes back, and had written meanwhile: to what was removed, and elsewhere.
    world.islands.push(away);
    world.write(2, "x", put("late"));
    world.write(2, "y", put(2));
    world.settle();
    world.assert_settled();
    let c = &world.islands[2].replica;
    assert!(
        c.notices.iter().any(|notice| matches!(notice, Notice::Returned { state: MemberState::Retired }))
    );
    assert_eq!(c.read("y"), Some(serde_json::json!(2)));
    let state = c.engine.members().find(|member| member.replica == id("c")).map(|member| member.state);
    assert_eq!(state, Some(MemberState::Active));
}

#[test]
fn a_write_by_one_who_lacks_what_all_have_counts_only_after_it_caught_up() {
    let mut world = World::new(&["a", "b"], Strategy::Lww);
    world.write(0, "x", put(1));
    world.settle();
    world.write(0, "x", Change::Delete);
    world.settle();
    assert_eq!(world.tombstones(), [0, 0]);
    // A stranger, who knows nothing and writes at once.
    world.join("stranger", 1);
    world.write(2, "x", put("of a stranger"));
    world.send(2);
    world.read(0, usize::MAX);
    assert_eq!(world.islands[0].replica.read("x"), None);
    assert_eq!(world.islands[0].replica.engine.counters().events_below_floor, 1);
    assert!(
        matches!(world.repair(0, 2, 1_000), Err(DeltaError::GiverBehind { giver }) if giver == id("stranger"))
    );
    world.settle();
    world.assert_settled();
    assert_eq!(world.islands[0].replica.read("x"), Some(serde_json::json!("of a stranger")));
}

#[test]
fn whoever_lacks_a_reclaimed_removal_needs_all_of_the_state_and_loses_what_was_removed() {
    let mut world = World::new(&["a", "b"], Strategy::VersionVector);
    for number in 0..20 {
        world.write(0, &format!("e{number}"), put(number));
    }
    world.settle();
    let old = world.islands[1].replica.disk.clone();
    for number in 0..19 {
        world.write(0, &format!("e{number}"), Change::Delete);
    }
    world.settle();
    assert_eq!(world.tombstones(), [0, 0]);
    // b is started on an old copy of its folder, in which it had written nothing that is lost.
    let mut b = Replica::open(config("b", Strategy::VersionVector), old);
    let a = &mut world.islands[0].replica;
    let since = b.engine.vector().clone();
    let delta = a.engine.delta_since(&since, None, usize::MAX, world.now, &a.disk).expect("sound");
    let part = archipelago_engine::Giver { is_complete: false, ..support::giver(a, delta.vector) };
    let refused = b.engine.handle_delta(part, delta.entities, world.now, &b.disk).expect_err("it is a part");
    assert!(matches!(refused, DeltaError::Incomplete), "{refused}");
    assert_eq!(b.view().len(), 20);
    b.repair_from(a, 100, world.now, |_, _| {}).expect("all of it");
    assert_eq!(b.view(), a.view());
    assert_eq!(b.view().len(), 1);
    assert_eq!(b.engine.digest(), a.engine.digest());
    assert_eq!(b.engine.reclaimed(), a.engine.reclaimed(), "what is gone there is gone here");
}

#[test]
fn a_removal_among_siblings_stays_until_someone_resolves_it() {
    let mut world = World::new(&["a", "b"], Strategy::VersionVector);
    world.write(0, "x", put(1));
    world.settle();
    world.write(0, "x", Change::Delete);
    world.write(1, "x", put(2));
    world.settle();
    world.assert_settled();
    let versions =
        |world: &World| world.islands[0].replica.record(&"x".into()).map(|record| record.versions.len());
    assert_eq!(versions(&world), Some(2));
    world.write(1, "x", Change::Delete);
    world.settle();
    assert_eq!((versions(&world), world.tombstones()), (None, vec![0, 0]));
}

#[test]
fn nothing_is_reclaimed_while_somebody_is_being_given_the_state_in_pieces() {
    let mut world = World::new(&["a", "b"], Strategy::Lww);
    for number in 0..10 {
        world.write(0, &format!("e{number}"), put("x".repeat(100)));
    }
    world.settle();
    world.write(0, "e3", Change::Delete);
    let all = world.all();
    for _ in 0..3 {
        for island in 0..2 {
            world.send(island);
            world.read(island, usize::MAX);
            world.beat(island, &all);
        }
    }
    let nothing = VersionVector::new();
    let a = &mut world.islands[0].replica;
    let delta = a.engine.delta_since(&nothing, None, 300, world.now, &a.disk).expect("sound");
    assert!(delta.next.is_some());
    assert_eq!(world.reclaim(0, 10), 0);
    assert_eq!(world.reclaim(1, 10), 1);
    world.now += 30_000;
    assert_eq!(world.reclaim(0, 10), 1);
}

#[test]
fn a_new_incarnation_of_a_name_is_waited_for_in_place_of_the_old_one() {
    let mut world = World::new(&["a", "b"], Strategy::Lww);
    world.write(1, "x", put(1));
    world.settle();
    world.islands.pop();
    world.join("b", 2);
    world.settle();
    world.write(0, "x", Change::Delete);
    world.settle();
    world.assert_settled();
    assert_eq!(world.tombstones(), [0, 0]);
}

/// One step of a schedule. Indexes are taken modulo what there is.
#[derive(Clone, Debug)]
enum Step {
    Write { island: usize, entity: u8, what: Option<u8> },
    Send { island: usize },
    Read { island: usize, count: usize },
    Beat { island: usize, heard_by: u8 },
    Repair { taker: usize, giver: usize, bytes_max: usize },
    Reclaim { island: usize, limit: usize },
    Crash { island: usize },
    Retire { by: usize, whom: usize },
    Join,
    Pass { ms: u64 },
}

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    let island = || 0..4usize;
    let step = prop_oneof![
        6 => (island(), 0..3u8, proptest::option::weighted(0.5, any::<u8>()))
            .prop_map(|(island, entity, what)| Step::Write { island, entity, what }),
        5 => island().prop_map(|island| Step::Send { island }),
        6 => (island(), 1..6usize).prop_map(|(island, count)| Step::Read { island, count }),
        8 => (island(), any::<u8>()).prop_map(|(island, heard_by)| Step::Beat { island, heard_by: heard_by | 3 }),
        2 => (island(), island(), 0..200usize)
            .prop_map(|(taker, giver, bytes_max)| Step::Repair { taker, giver, bytes_max }),
        5 => (island(), 1..4usize).prop_map(|(island, limit)| Step::Reclaim { island, limit }),
        1 => island().prop_map(|island| Step::Crash { island }),
        1 => (island(), island()).prop_map(|(by, whom)| Step::Retire { by, whom }),
        1 => Just(Step::Join),
        3 => (0..3_000u64).prop_map(|ms| Step::Pass { ms }),
    ];
    proptest::collection::vec(step, 1..150)
}

/// With strangers among them, or with everyone known from the start and to the end.
fn run(strategy: Strategy, steps: &[Step], strangers: bool) {
    let mut world = World::new(&["a", "b", "c"], strategy);
    if !strangers {
        world.settle();
    }
    for step in steps {
        let islands = world.islands.len();
        match step {
            Step::Join | Step::Retire { .. } if !strangers => {}
            Step::Write { island, entity, what } => {
                let change = match (what, strategy) {
                    (None, _) => Change::Delete,
                    (Some(what), Strategy::FieldMerge | Strategy::CrdtMerge) if what % 3 == 0 => {
                        Change::Patch(vec![(
                            format!("f{}", what % 2).into(),
                            (what % 5 != 0).then(|| value(what)),
                        )])
                    }
                    (Some(what), Strategy::FieldMerge | Strategy::CrdtMerge) => {
                        patch(&[(["f0", "f1"][usize::from(what % 2)], Some(what))])
                    }
                    (Some(what), _) => put(what),
                };
                world.write(island % islands, &format!("e{entity}"), change);
            }
            Step::Send { island } => world.send(island % islands),
            Step::Read { island, count } => world.read(island % islands, *count),
            Step::Beat { island, heard_by } => {
                let heard: Vec<usize> = (0..islands).filter(|at| heard_by & (1 << at) != 0).collect();
                world.beat(island % islands, &heard);
            }
            Step::Repair { taker, giver, bytes_max } => {
                let (taker, giver) = (taker % islands, giver % islands);
                if taker != giver {
                    let _ = world.repair(taker, giver, *bytes_max);
                }
            }
            Step::Reclaim { island, limit } => drop(world.reclaim(island % islands, *limit)),
            Step::Crash { island } => {
                let island = &mut world.islands[island % islands];
                let dead = std::mem::replace(&mut island.replica, Replica::new(config("none", strategy)));
                let config = dead.engine.config().clone();
                island.replica =
                    Replica::open(EngineConfig { session: config.session + 1_000, ..config }, dead.disk);
                island.read = usize::try_from(island.replica.disk.checkpoint).expect("small");
            }
            Step::Retire { by, whom } => {
                let (now, name) = (world.now, ["a", "b", "c", "d"][*whom]);
                let replica = &mut world.islands[by % islands].replica;
                let _ = replica.engine.retire(name, now);
                replica.flush(now);
            }
            Step::Join if islands < 4 => world.join("d", 1),
            Step::Join => {}
            Step::Pass { ms } => world.now += ms,
        }
    }
    world.settle();
    world.assert_settled();
    let with_values = world.islands[0].replica.disk.entities.len();
    for island in &world.islands {
        let replica = &island.replica;
        assert_eq!(replica.disk.entities.len(), with_values);
        let siblings = strategy == Strategy::VersionVector;
        assert_eq!(replica.engine.tombstones(), 0, "nothing holds anything back");
        assert!(siblings || replica.view().len() == with_values, "nothing but what has a value is left");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn what_is_removed_stays_removed_and_all_agree_under_last_writer_wins(steps in steps()) {
        run(Strategy::Lww, &steps, true);
    }

    #[test]
    fn what_is_removed_stays_removed_and_all_agree_under_field_merge(steps in steps()) {
        run(Strategy::FieldMerge, &steps, true);
    }

    #[test]
    fn what_is_removed_stays_removed_and_all_agree_under_crdt_merge(steps in steps()) {
        run(Strategy::CrdtMerge, &steps, true);
    }

    #[test]
    fn what_is_removed_stays_removed_and_all_agree_with_siblings(steps in steps()) {
        run(Strategy::VersionVector, &steps, false);
    }
}

#[test]
fn what_is_written_anew_wins_wherever_it_won_before() {
    for strategy in [Strategy::Lww, Strategy::FieldMerge, Strategy::CrdtMerge] {
        let [mut a, mut b, mut c, mut d] =
            ["a", "b", "c", "d"].map(|name| Replica::new(config(name, strategy)));
        let removal = a.write("gone", Change::Delete, START - 1).1;
        let of_d = d.write("x", patch(&[("f", Some(1))]), START).1;
        for other in [&mut c, &mut d] {
            other.receive(&removal, None, START);
        }
        // As old as the write, and the lesser one by name: of c and d, but not of b and c.
        let older = c.write("x", Change::Delete, START).1;
        b.receive(&of_d, None, START);
        let all = support::giver(&a, a.engine.vector().clone());
        let all = archipelago_engine::Giver { floor: all.vector.clone(), ..all };
        b.engine.handle_delta(all, [], START, &b.disk).expect("all of it");
        b.flush(START);
        for other in [&mut b, &mut d] {
            assert_eq!(other.receive(&older, None, START), Received::Applied);
        }
        d.repair_from(&mut b, usize::MAX, START, |_, _| {}).expect("sound");
        b.repair_from(&mut d, usize::MAX, START, |_, _| {}).expect("sound");
        assert_eq!(d.read("x"), Some(serde_json::json!({ "f": 1 })), "{}", strategy.name());
        assert_eq!((b.view(), b.engine.digest()), (d.view(), d.engine.digest()), "{}", strategy.name());
    }
}

#[test]
fn whoever_was_given_up_while_it_had_not_joined_yet_is_told_so_whatever_the_clocks_say() {
    let mut world = World::new(&["a", "b"], Strategy::Lww);
    for island in [1, 0] {
        world.beat(island, &[0, 1]);
    }
    // b is cut off while it joins, becomes active by itself, and its clock is ahead.
    let mut b = world.islands.pop().expect("there are two");
    let ahead = world.now + 5_000;
    for _ in 0..3 {
        b.replica.engine.announce(ahead).expect("a sound clock");
        b.replica.engine.heartbeat(None, ahead);
        b.replica.flush(ahead);
    }
    let now = world.now;
    world.islands[0].replica.engine.retire("b", now).expect("it is known");
    world.islands[0].replica.flush(now);
    world.islands.push(b);
    world.settle();
    let b = &world.islands[1].replica;
    assert!(
        b.notices.iter().any(|notice| matches!(notice, Notice::Returned { state: MemberState::Retired }))
    );
}

#[test]
fn a_write_that_met_a_removal_elsewhere_and_came_by_repair_meets_it_here_too() {
    use Step::{Beat, Read, Repair, Send, Write};
    run(
        Strategy::VersionVector,
        &[
            Write { island: 2, entity: 1, what: None },
            Write { island: 0, entity: 1, what: Some(0) },
            Send { island: 2 },
            Read { island: 1, count: 1 },
            Write { island: 0, entity: 0, what: None },
            Repair { taker: 0, giver: 1, bytes_max: 0 },
            Write { island: 0, entity: 0, what: None },
            Beat { island: 2, heard_by: 3 },
            Beat { island: 3, heard_by: 3 },
            Send { island: 0 },
        ],
        false,
    );
}

#[test]
fn one_whose_later_namesake_is_gone_comes_back_to_its_name() {
    for is_retired in [true, false] {
        let mut world = World::new(&["a", "b"], Strategy::Lww);
        world.write(1, "x", put(1));
        world.settle();
        // A later incarnation of b was there, and is gone.
        let later = ReplicaId::new("b", Incarnation::from_bits(7)).expect("a legal name");
        let config = EngineConfig { replica: later, session: 700, ..config("b", Strategy::Lww) };
        world.islands.push(Island { replica: Replica::new(config), read: 0, outbox: Vec::new() });
        world.beat(2, &[0]);
        world.beat(0, &[1]);
        world.islands.pop();
        let now = world.now;
        if is_retired {
            world.islands[0].replica.engine.retire("b", now).expect("it is known");
            world.islands[0].replica.flush(now);
        }
        world.beat(0, &[1]);
        world.beat(1, &[0]);
        assert_eq!(
            world.islands[1].replica.engine.is_fenced(),
            is_retired,
            "whoever is silent may only be late"
        );
        world.now += 31_000;
        world.beat(1, &[0]);
        let now = world.now;
        assert!(world.islands[1].replica.reincarnate_if_fenced(9, now));
        world.write(0, "x", Change::Delete);
        world.settle();
        world.assert_settled();
        assert_eq!(world.tombstones(), [0, 0], "it is waited for again, and heard");
    }
}

/// A member that nobody had heard of yet was cut off, and wrote without a removal that is reclaimed by now. It reads the
/// removal in the log, and holds both; the others cannot know that from what they have left.
#[test]
fn a_removal_that_was_reclaimed_stands_again_beside_a_value_of_one_who_was_not_waited_for() {
    let mut b = Replica::new(config("b", Strategy::VersionVector));
    let mut a = Replica::new(config("a", Strategy::VersionVector));
    let mut log = vec![b.write("x", put(1), START).1, b.write("x", Change::Delete, START).1];
    for beat in 0..4 {
        b.engine.announce(START).expect("a clock");
        b.flush(START);
        b.engine.heartbeat(None, START + beat);
        b.flush(START);
    }
    let floor =
        Floor::decode(b.floor.take().expect("nobody else is known"), &Limits::default()).expect("sound");
    for (at, event) in (1..).zip(&log) {
        b.receive(event, Some(at), START);
    }
    b.engine.handle_floor(floor.clone(), 3);
    b.flush(START);
    assert_eq!(b.engine.reclaim(10, START, &b.disk).expect("a sound disk"), 1);
    b.flush(START);
    assert_eq!(b.record(&"x".into()), None);

    log.push(a.write("x", put(2), START).1);
    for (at, event) in (1..).zip(&log[..2]) {
        assert_eq!(a.receive(event, Some(at), START), Received::Applied);
    }
    a.engine.handle_floor(floor, 3);
    a.flush(START);
    a.receive(&log[2], Some(4), START);
    assert_eq!(b.receive(&log[2], Some(4), START), Received::BelowFloor);
    b.repair_from(&mut a, 1_000, START, |_, _| ()).expect("nothing is lacking");
    assert_eq!(a.engine.vector(), b.engine.vector());
    assert_eq!(a.record(&"x".into()), b.record(&"x".into()));
    assert_eq!(a.engine.digest(), b.engine.digest());
}

/// Of two groups that knew nothing of each other each has forgotten removals that the other lacks.
#[test]
fn who_has_each_forgotten_what_the_other_lacks_come_to_one_state_with_all_that_both_had() {
    for strategy in STRATEGIES {
        let [mut a, mut b] = ["a", "b"].map(|name| {
            let mut replica = Replica::new(config(name, strategy));
            replica.write("gone", Change::Delete, START);
            replica.write("both", put(name), START + 1);
            replica.write(name, put(name), START + 2);
            let mut vector = VersionVector::new();
            vector.raise(id(name), 1);
            let floor = Floor { namespace: "ns".into(), replica: id(name), vector };
            replica.engine.handle_floor(floor, 1);
            replica.flush(START);
            replica.engine.reclaim(9, START, &replica.disk).expect("a sound disk");
            replica.flush(START);
            replica
        });
        assert_eq!((a.engine.reclaimed().len(), b.engine.reclaimed().len()), (1, 1));
        a.repair_from(&mut b, 0, START, |_, _| {}).expect("neither would ever catch up");
        b.write("later", put("b"), START);
        b.repair_from(&mut a, 0, START, |_, _| {}).expect("it has all that is reclaimed");
        a.repair_from(&mut b, 0, START, |_, _| {}).expect("it has all that is reclaimed");
        assert_eq!((a.view(), a.engine.vector()), (b.view(), b.engine.vector()), "{}", strategy.name());
        assert_eq!(a.engine.digest(), b.engine.digest());
        let seen: Vec<&str> = a
            .view()
            .keys()
            .map(|entity| match entity.as_str() {
                "a" | "b" | "both" | "later" => "there",
                _ => "back",
            })
            .collect();
        assert_eq!(seen, ["there"; 4], "{}", strategy.name());
    }
}
