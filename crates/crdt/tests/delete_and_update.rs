//! One replica removes from a container what another updates at the same time: for every type that can remove, merged in
//! both orders, by state, by delta and without types. The outcomes are those of the table in `docs/CONFLICTS.md`.

use std::fmt::Debug;

use archipelago_clock::ReplicaId;
use archipelago_crdt::{
    DeltaCrdt, DwFlag, EwFlag, GCounter, GSet, List, LwwMap, LwwRegister, MaxRegister, MinRegister,
    MvRegister, OrMap, OrSet, PnCounter, RwSet, TwoPhaseSet, dynamic,
};
use serde::{Serialize, de::DeserializeOwned};

/// Who removes. The less of the two ids.
fn eu() -> ReplicaId {
    "eu@0000000000000001".parse().expect("a replica id")
}

/// Who updates.
fn us() -> ReplicaId {
    "us@0000000000000001".parse().expect("a replica id")
}

/// What becomes of `base` if one replica removes and another updates.
fn concurrently<C, R, U>(base: &C, remove: impl FnOnce(&mut C) -> R, update: impl FnOnce(&mut C) -> U) -> C
where
    C: DeltaCrdt<Delta = C> + Clone + PartialEq + Debug + Serialize + DeserializeOwned,
{
    let (mut removed, mut updated) = (base.clone(), base.clone());
    remove(&mut removed);
    update(&mut updated);
    let mut outcome = removed.clone();
    outcome.merge(&updated);

    let mut other_way = updated.clone();
    other_way.merge(&removed);
    assert_eq!(other_way, outcome, "the order of merges does not show");
    for (one, other) in [(&removed, &updated), (&updated, &removed)] {
        let mut by_delta = one.clone();
        other.delta_since(base).inspect(|delta| by_delta.merge_delta(delta));
        assert_eq!(by_delta, outcome, "nor whether states or deltas are merged");
        let bytes = |state: &C| rmp_serde::to_vec_named(state).expect("MessagePack");
        let joined = dynamic::join(&bytes(one), &bytes(other)).expect("of one kind");
        assert_eq!(rmp_serde::from_slice::<C>(&joined).expect("of its type"), outcome, "nor whether by type");
    }
    outcome
}

fn or_set(elements: &[&str]) -> OrSet<String> {
    let mut set = OrSet::new();
    elements.iter().for_each(|element| drop(set.insert(eu(), (*element).to_owned()).expect("own state")));
    set
}

fn elements<'a>(elements: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    elements.map(String::as_str).collect()
}

#[test]
fn in_a_two_phase_set_removing_wins_for_ever() {
    let mut base: TwoPhaseSet<String> = TwoPhaseSet::new();
    base.insert("tea".into()).unwrap();
    let mut set = concurrently(&base, |set| set.remove("tea".into()), |set| set.insert("tea".into()));
    assert!(set.is_empty() && set.is_removed(&"tea".into()));
    assert!(set.insert("tea".into()).is_err());
}

#[test]
fn in_an_or_set_adding_wins_over_removing_and_over_clearing() {
    let base = or_set(&["milk", "tea"]);
    let insert = |set: &mut OrSet<String>| set.insert(us(), "tea".into()).unwrap();
    let set = concurrently(&base, |set| set.remove(&"tea".into()), insert);
    assert_eq!(elements(set.iter()), ["milk", "tea"]);
    let set = concurrently(&base, OrSet::clear, insert);
    assert_eq!(elements(set.iter()), ["tea"], "what was not added anew is cleared");
}

#[test]
fn in_an_rw_set_removing_wins_until_someone_who_saw_it_adds_again() {
    let mut base: RwSet<String> = RwSet::new();
    base.insert(eu(), "tea".into()).unwrap();
    let remove = |set: &mut RwSet<String>| set.remove(eu(), "tea".into()).unwrap();
    let mut set = concurrently(&base, remove, |set| set.insert(us(), "tea".into()).unwrap());
    assert!(set.is_empty());
    set.insert(us(), "tea".into()).unwrap();
    assert!(set.contains(&"tea".into()));
}

#[test]
fn in_an_lww_map_the_stamp_decides_between_removal_and_write() {
    type Map = LwwMap<String, u8, (u64, ReplicaId)>;
    let mut base = Map::new();
    base.insert("tea".into(), 1, (1_000, eu())).unwrap();
    let remove = |at| move |map: &mut Map| map.remove("tea".into(), (at, eu())).unwrap();
    let write = |at| move |map: &mut Map| map.insert("tea".into(), 2, (at, us())).unwrap();
    assert_eq!(concurrently(&base, remove(3_000), write(2_000)).get(&"tea".into()), None);
    assert_eq!(concurrently(&base, remove(2_000), write(3_000)).get(&"tea".into()), Some(&2));
    let tie = concurrently(&base, remove(2_000), write(2_000));
    assert_eq!(tie.get(&"tea".into()), Some(&2), "at one time the greater replica id");
}

#[test]
fn in_an_mv_register_a_write_wins_over_a_clear() {
    let mut base: MvRegister<String> = MvRegister::new();
    base.write(eu(), "old".into()).unwrap();
    let register =
        concurrently(&base, MvRegister::clear, |register| register.write(us(), "new".into()).unwrap());
    assert_eq!(elements(register.values()), ["new"]);
}

#[test]
fn in_an_ew_flag_enabling_wins_and_in_a_dw_flag_disabling() {
    let mut base: EwFlag = EwFlag::new();
    base.enable(eu()).unwrap();
    assert!(concurrently(&base, EwFlag::disable, |flag| flag.enable(us()).unwrap()).is_enabled());
    let mut base: DwFlag = DwFlag::new();
    base.disable(eu()).unwrap();
    assert!(!concurrently(&base, DwFlag::enable, |flag| flag.disable(us()).unwrap()).is_enabled());
}

#[test]
fn in_a_list_removing_wins_and_what_is_inserted_beside_it_stays() {
    let mut base: List<String> = List::new();
    for item in ["a", "b", "c"] {
        base.push(eu(), item.into()).unwrap();
    }
    let remove_b = |list: &mut List<String>| list.remove(eu(), 1).unwrap();
    let list = concurrently(&base, remove_b, |list| list.insert(us(), 2, "behind b".into()).unwrap());
    assert_eq!(elements(list.iter()), ["a", "behind b", "c"]);
    let list = concurrently(&base, remove_b, |list| list.insert(us(), 1, "before b".into()).unwrap());
    assert_eq!(elements(list.iter()), ["a", "before b", "c"]);
    let remove_all = |list: &mut List<String>| (0..3).for_each(|_| drop(list.remove(eu(), 0).unwrap()));
    let list = concurrently(&base, remove_all, |list| list.insert(us(), 2, "behind b".into()).unwrap());
    assert_eq!(elements(list.iter()), ["behind b"]);
    let list = concurrently(&base, remove_b, |list| list.remove(us(), 1).unwrap());
    assert_eq!(elements(list.iter()), ["a", "c"], "removed twice is removed");
}

#[test]
fn in_an_or_map_of_sets_what_was_added_meanwhile_remains() {
    let mut base: OrMap<String, OrSet<String>> = OrMap::new();
    base.update(eu(), "tea".into(), |set, actor| set.insert(actor, "green".into())).unwrap();
    let add = |element: &'static str| {
        move |map: &mut OrMap<String, OrSet<String>>| {
            map.update(us(), "tea".into(), |set, actor| set.insert(actor, element.into())).unwrap()
        }
    };
    let map = concurrently(&base, |map| map.remove(&"tea".into()), add("black"));
    assert_eq!(elements(map.get(&"tea".into()).unwrap().iter()), ["black"]);
    let map = concurrently(&base, OrMap::clear, add("green"));
    assert_eq!(elements(map.get(&"tea".into()).unwrap().iter()), ["green"]);
    // Taking an element out is no reason to keep a key.
    let take = |map: &mut OrMap<String, OrSet<String>>| {
        let take =
            |set: &mut OrSet<String>, _| Ok::<_, archipelago_crdt::MintError>(set.remove(&"green".into()));
        map.update(us(), "tea".into(), take).unwrap()
    };
    assert!(concurrently(&base, |map| map.remove(&"tea".into()), take).is_empty());
}

#[test]
fn in_an_or_map_of_counters_the_whole_contribution_of_who_counted_meanwhile_remains() {
    let mut base: OrMap<String, PnCounter> = OrMap::new();
    let count = |map: &mut OrMap<String, PnCounter>, actor: ReplicaId, by| {
        map.update(actor, "tea".into(), |counter, actor| counter.increment(actor, by)).unwrap()
    };
    count(&mut base, eu(), 100);
    count(&mut base, us(), 10);
    let mut map = concurrently(&base, |map| map.remove(&"tea".into()), |map| count(map, us(), 1));
    let value =
        |map: &OrMap<String, PnCounter>| map.get(&"tea".into()).map(|counter| counter.joined().value());
    assert_eq!(value(&map), Some(11), "the 100 that nobody touched is gone");
    // Who goes on after that begins anew.
    map.remove(&"tea".into());
    count(&mut map, us(), 1);
    assert_eq!(value(&map), Some(1));
}

#[test]
fn in_an_or_map_of_other_types_without_dots_the_whole_contribution_remains_too() {
    fn map<V: archipelago_crdt::Nested<ReplicaId>>(
        by_eu: impl FnOnce(&mut V) -> V::Delta,
        by_us: impl FnOnce(&mut V) -> V::Delta,
    ) -> OrMap<String, V>
    where
        OrMap<String, V>: DeltaCrdt<Delta = OrMap<String, V>> + Debug + Serialize + DeserializeOwned,
    {
        type Never = archipelago_crdt::MintError;
        let mut base: OrMap<String, V> = OrMap::new();
        base.update(eu(), "tea".into(), |value, _| Ok::<_, Never>(by_eu(value))).unwrap();
        concurrently(
            &base,
            |map| map.remove(&"tea".into()),
            |map| map.update(us(), "tea".into(), |value, _| Ok::<_, Never>(by_us(value))).unwrap(),
        )
    }
    let tea = "tea".to_owned();
    let counter =
        map(|it: &mut GCounter| it.increment(eu(), 100).unwrap(), |it| it.increment(us(), 1).unwrap());
    assert_eq!(counter.get(&tea).unwrap().joined().value(), 1);
    let set = map(|it: &mut GSet<String>| it.insert("green".into()), |it| it.insert("black".into()));
    assert_eq!(set.get(&tea).unwrap().joined(), GSet::from_iter(["black".to_owned()]));
    let greatest = map(|it: &mut MaxRegister<u8>| it.raise(9), |it| it.raise(5));
    assert_eq!(greatest.get(&tea).unwrap().joined().value(), Some(&5), "the greater one was removed");
    let least = map(|it: &mut MinRegister<u8>| it.lower(1), |it| it.lower(5));
    assert_eq!(least.get(&tea).unwrap().joined().value(), Some(&5));
    type Register = LwwRegister<u8, (u64, ReplicaId)>;
    let register = map(|it: &mut Register| it.set(1, (9, eu())).unwrap(), |it| it.set(2, (5, us())).unwrap());
    assert_eq!(register.get(&tea).unwrap().joined().value(), Some(&2), "the later one was removed");
    type Fields = LwwMap<String, u8, (u64, ReplicaId)>;
    let fields = map(
        |it: &mut Fields| it.insert("green".into(), 1, (9, eu())).unwrap(),
        |it| it.insert("black".into(), 2, (5, us())).unwrap(),
    );
    let joined = fields.get(&tea).unwrap().joined();
    assert_eq!((joined.get(&"green".into()), joined.get(&"black".into())), (None, Some(&2)));
}

#[test]
fn in_an_or_map_of_registers_flags_and_lists_what_was_done_meanwhile_remains() {
    let tea = || "tea".to_owned();
    let mut registers: OrMap<String, MvRegister<String>> = OrMap::new();
    registers.update(eu(), tea(), |register, actor| register.write(actor, "green".into())).unwrap();
    let map = concurrently(
        &registers,
        |map| map.remove(&tea()),
        |map| map.update(us(), tea(), |register, actor| register.write(actor, "black".into())).unwrap(),
    );
    assert_eq!(elements(map.get(&tea()).unwrap().values()), ["black"]);

    let mut flags: OrMap<String, EwFlag> = OrMap::new();
    flags.update(eu(), tea(), |flag, actor| flag.enable(actor)).unwrap();
    let map = concurrently(
        &flags,
        |map| map.remove(&tea()),
        |map| map.update(us(), tea(), |flag, actor| flag.enable(actor)).unwrap(),
    );
    assert!(map.get(&tea()).unwrap().is_enabled());

    let mut flags: OrMap<String, DwFlag> = OrMap::new();
    flags.update(eu(), tea(), |flag, actor| flag.disable(actor)).unwrap();
    let map = concurrently(
        &flags,
        |map| map.remove(&tea()),
        |map| map.update(us(), tea(), |flag, actor| flag.disable(actor)).unwrap(),
    );
    assert!(!map.get(&tea()).unwrap().is_enabled());

    let mut lists: OrMap<String, List<String>> = OrMap::new();
    lists.update(eu(), tea(), |list, actor| list.push(actor, "green".into())).unwrap();
    let map = concurrently(
        &lists,
        |map| map.remove(&tea()),
        |map| map.update(us(), tea(), |list, actor| list.push(actor, "black".into())).unwrap(),
    );
    assert_eq!(elements(map.get(&tea()).unwrap().iter()), ["black"]);
}

#[test]
fn in_an_or_map_of_rw_sets_insertions_and_removals_made_meanwhile_remain() {
    let tea = || "tea".to_owned();
    let mut base: OrMap<String, RwSet<String>> = OrMap::new();
    base.update(eu(), tea(), |set, actor| set.insert(actor, "green".into())).unwrap();
    let map = concurrently(
        &base,
        |map| map.remove(&tea()),
        |map| map.update(us(), tea(), |set, actor| set.insert(actor, "black".into())).unwrap(),
    );
    assert_eq!(elements(map.get(&tea()).unwrap().iter()), ["black"]);
    let map = concurrently(
        &base,
        |map| map.remove(&tea()),
        |map| map.update(us(), tea(), |set, actor| set.remove(actor, "green".into())).unwrap(),
    );
    assert!(map.get(&tea()).unwrap().is_empty(), "the key is there, for what was removed under it");
}

#[test]
fn in_an_or_map_of_maps_each_key_that_was_updated_meanwhile_remains_with_that_alone() {
    type Counters = OrMap<String, PnCounter>;
    let (drinks, tea, milk) = (|| "drinks".to_owned(), || "tea".to_owned(), || "milk".to_owned());
    let count = |map: &mut OrMap<String, Counters>, actor: ReplicaId, key: String| {
        map.update(actor, drinks(), |counters, actor| {
            counters.update(actor, key, |counter, actor| counter.increment(actor, 1))
        })
        .unwrap()
    };
    let mut base: OrMap<String, Counters> = OrMap::new();
    count(&mut base, eu(), tea());
    count(&mut base, eu(), milk());
    let outer = concurrently(&base, |map| map.remove(&drinks()), |map| count(map, us(), tea()));
    let counters: Vec<_> = outer.get(&drinks()).unwrap().iter().collect();
    assert_eq!(counters.len(), 1, "the milk is gone");
    assert_eq!((counters[0].0, counters[0].1.joined().value()), (&tea(), 1));

    let remove_tea = |map: &mut OrMap<String, Counters>| {
        let remove =
            |counters: &mut Counters, _| Ok::<_, archipelago_crdt::CounterError>(counters.remove(&tea()));
        map.update(eu(), drinks(), remove).unwrap()
    };
    let inner = concurrently(&base, remove_tea, |map| count(map, us(), tea()));
    let values: Vec<_> =
        inner.get(&drinks()).unwrap().iter().map(|(key, it)| (key.as_str(), it.joined().value())).collect();
    assert_eq!(values, [("milk", 1), ("tea", 1)]);
    // One removes the inner key, the other the outer one: nothing is left.
    assert!(concurrently(&base, |map| map.remove(&drinks()), remove_tea).is_empty());
}
