//! From where in the log a floor holds, which events count behind it, and what of others counts for the next one.

mod support;

use archipelago_clock::VersionVector;
use archipelago_conflict::Strategy;
use archipelago_engine::{Change, Received};
use archipelago_proto::{Event, Floor};
use support::{Replica, config, id, islands::World, put};

const START: u64 = 1_000_000;

#[test]
fn a_floor_holds_only_behind_its_place_in_the_log_and_not_before_all_before_it_is_applied() {
    let mut a = Replica::new(config("a", Strategy::Lww));
    let mut b = Replica::new(config("b", Strategy::Lww));
    let first = a.write("x", put(1), START).1;
    let second = a.write("x", Change::Delete, START).1;
    let before = b.write("y", put(1), START).1;
    let behind = b.write("z", put(1), START).1;
    let mut reader = Replica::new(config("c", Strategy::Lww));
    let floor =
        Floor { namespace: "ns".into(), replica: id("a"), vector: [(id("a"), 2)].into_iter().collect() };
    assert_eq!(reader.receive(&second, Some(1), START), Received::Waits);
    reader.engine.handle_floor(floor, 3);
    reader.flush(START);
    assert!(reader.engine.floor().is_empty(), "the first write was not applied yet");
    assert_eq!(reader.receive(&before, Some(2), START), Received::Applied, "it lies before the floor");
    assert_eq!(reader.receive(&behind, Some(4), START), Received::BelowFloor);
    assert_eq!(
        reader.receive(&first, Some(5), START),
        Received::BelowFloor,
        "its author has it, and will give it"
    );
    assert_eq!(reader.disk.checkpoint, 0);
    reader.repair_from(&mut a, usize::MAX, START, |_, _| {}).expect("sound");
    assert_eq!(reader.disk.checkpoint, 5);
    assert_eq!(reader.engine.floor().get(&id("a")), 2);
    let crashed = reader.crash();
    assert_eq!(crashed.engine.floor().get(&id("a")), 2, "it is stored");
}

#[test]
fn what_counted_before_a_floor_holds_does_not_count_behind_it() {
    let [mut a, mut b, mut reader] = ["a", "b", "c"].map(|name| Replica::new(config(name, Strategy::Lww)));
    let of_a = a.write("x", put(1), START).1;
    let one = b.write("y", put(1), START).1;
    // One commit of their origin: they share what they came after, which is looked at once.
    let next = Event { deps: one.deps.clone(), ..b.write("z", put(1), START).1 };
    assert_eq!(reader.receive(&of_a, Some(1), START), Received::Applied);
    assert_eq!(reader.receive(&one, Some(2), START), Received::Applied);
    let vector: VersionVector = [(id("a"), 1)].into_iter().collect();
    reader.engine.handle_floor(Floor { namespace: "ns".into(), replica: id("a"), vector }, 3);
    reader.flush(START);
    assert_eq!(reader.receive(&next, Some(4), START), Received::BelowFloor);
}

#[test]
fn a_floor_that_does_not_cover_the_one_before_it_is_of_no_effect() {
    let floor = |name: &str| {
        let vector: VersionVector = [(id(name), 1)].into_iter().collect();
        Floor { namespace: "ns".into(), replica: id(name), vector }
    };
    for is_held in [true, false] {
        let mut reader = Replica::new(config("c", Strategy::Lww));
        let first = 2;
        if is_held {
            let mut early = Replica::new(config("e", Strategy::Lww));
            early.write("z", put(1), START);
            let waits = early.write("z", put(2), START).1;
            assert_eq!(reader.receive(&waits, Some(1), START), Received::Waits, "so the floors wait as well");
        }
        reader.engine.handle_floor(floor("a"), first);
        reader.engine.handle_floor(floor("b"), first + 1);
        reader.flush(START);
        let stranger = Replica::new(config("b", Strategy::Lww)).write("x", put(1), START).1;
        assert_eq!(
            reader.receive(&stranger, Some(first + 2), START),
            Received::BelowFloor,
            "it lacks what a has"
        );
        let mut a = Replica::new(config("a", Strategy::Lww));
        a.write("y", put(1), START);
        a.repair_from(&mut Replica::new(config("d", Strategy::Lww)), 0, START, |_, _| {}).expect("sound");
        assert!(reader.repair_from(&mut a, 0, START, |_, _| {}).is_ok(), "a lacks nothing that counts");
    }
}

#[test]
fn what_is_heard_counts_only_once_all_that_it_speaks_of_is_applied() {
    let mut world = World::new(&["a", "b", "c"], Strategy::Lww);
    world.settle();
    world.write(2, "x", put(1));
    world.send(2);
    world.read(1, usize::MAX);
    world.beat(1, &[0]);
    let counted = |world: &World| {
        let awaited = world.islands[0].replica.engine.reclaimable().awaited;
        let of_b = awaited.into_iter().find(|(replica, _)| *replica == id("b")).expect("it is awaited");
        of_b.1.expect("it was heard").get(&id("c"))
    };
    assert_eq!(counted(&world), 0, "the write is not here yet");
    world.read(0, usize::MAX);
    world.beat(1, &[0]);
    assert_eq!(counted(&world), 1);
}
