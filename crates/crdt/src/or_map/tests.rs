use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{
    CounterError, Crdt, List, ListDots, MvRegister, OrSet, PnCounter,
    executions::{self, History, Subject, executions},
    laws,
};

type Sets = OrMap<u8, OrSet<u8, u8>, u8>;
type Counters = OrMap<u8, PnCounter<u8>, u8>;
type Nest = OrMap<u8, OrMap<u8, MvRegister<u8, u8>, u8>, u8>;

#[derive(Clone, Debug)]
enum SetOp {
    Insert(u8, u8),
    Take(u8, u8),
    Remove(u8),
    Clear,
}

impl SetOp {
    /// Whether the element, if it was seen, is gone after the operation.
    fn removes(&self, key: u8, element: u8) -> bool {
        match self {
            SetOp::Insert(..) => false,
            SetOp::Take(in_key, taken) => (*in_key, *taken) == (key, element),
            SetOp::Remove(removed) => *removed == key,
            SetOp::Clear => true,
        }
    }
}

struct MapOfSets;

impl Subject for MapOfSets {
    type State = Sets;
    type Op = SetOp;
    type Value = BTreeSet<(u8, u8)>;

    fn update(map: &mut Sets, actor: u8, op: &SetOp) -> Option<Sets> {
        match op {
            SetOp::Insert(key, element) => laws::in_place(
                map,
                |map| {
                    map.update_in_place(actor, *key, |set, actor| set.insert_in_place(actor, *element))
                        .is_ok()
                },
                |map| map.update(actor, *key, |set, actor| set.insert(actor, *element)).ok(),
            ),
            SetOp::Take(key, element) => laws::in_place(
                map,
                |map| {
                    let take = |set: &mut OrSet<u8, u8>, _| Ok::<_, MintError>(set.remove_in_place(element));
                    map.update_in_place(actor, *key, take).is_ok()
                },
                |map| map.update(actor, *key, |set, _| Ok::<_, MintError>(set.remove(element))).ok(),
            ),
            SetOp::Remove(key) => Some(map.remove(key)),
            SetOp::Clear => Some(map.clear()),
        }
    }

    fn value(map: &Sets) -> BTreeSet<(u8, u8)> {
        map.iter().flat_map(|(key, set)| set.iter().map(|element| (*key, *element))).collect()
    }

    /// What was inserted before no removal of it or of its key.
    fn model(history: &History<SetOp>) -> BTreeSet<(u8, u8)> {
        let inserted = history.iter().filter_map(|(event, op)| match op {
            SetOp::Insert(key, element) => Some((event, (*key, *element))),
            _ => None,
        });
        let live = |event, (key, element)| !history.after(event).any(|op| op.removes(key, element));
        inserted.filter(|&(event, pair)| live(event, pair)).map(|(_, pair)| pair).collect()
    }
}

#[derive(Clone, Debug)]
enum CountOp {
    Add(u8, u64),
    Remove(u8),
}

struct MapOfCounters;

impl Subject for MapOfCounters {
    type State = Counters;
    type Op = CountOp;
    type Value = BTreeMap<u8, i128>;

    fn update(map: &mut Counters, actor: u8, op: &CountOp) -> Option<Counters> {
        match op {
            CountOp::Add(key, by) => laws::in_place(
                map,
                |map| {
                    map.update_in_place(actor, *key, |counter, actor| counter.increment(actor, *by)).is_ok()
                },
                |map| map.update(actor, *key, |counter, actor| counter.increment(actor, *by)).ok(),
            ),
            CountOp::Remove(key) => laws::in_place(
                map,
                |map| {
                    assert_eq!(map.contains_key(key), map.remove_in_place(key));
                    true
                },
                |map| Some(map.remove(key)),
            ),
        }
    }

    fn value(map: &Counters) -> BTreeMap<u8, i128> {
        map.iter().map(|(key, counter)| (*key, counter.joined().value())).collect()
    }

    /// Of each actor whose last addition no removal has seen, that addition and those before it, back to where the
    /// actor began anew because a removal of its latest had come to its eyes.
    fn model(history: &History<CountOp>) -> BTreeMap<u8, i128> {
        let mut counts = BTreeMap::new();
        for (key, actor) in (0..3u8).flat_map(|key| (0..3u8).map(move |actor| (key, actor))) {
            let added: Vec<(usize, u64)> = history
                .iter()
                .filter_map(|(event, op)| match op {
                    CountOp::Add(to, by) if *to == key && history.actor(event) == actor => Some((event, *by)),
                    _ => None,
                })
                .collect();
            let removals: Vec<usize> = history
                .iter()
                .filter(|(_, op)| matches!(op, CountOp::Remove(removed) if *removed == key))
                .map(|(event, _)| event)
                .collect();
            let Some(&(last, _)) = added.last() else {
                continue;
            };
            if removals.iter().any(|&removal| history.before(last, removal)) {
                continue;
            }
            let mut kept = 0;
            let mut next = last;
            for &(event, by) in added.iter().rev() {
                let between =
                    |&removal: &usize| history.before(event, removal) && history.before(removal, next);
                if removals.iter().any(between) {
                    break;
                }
                kept += i128::from(by);
                next = event;
            }
            *counts.entry(key).or_default() += kept;
        }
        counts
    }
}

#[derive(Clone, Debug)]
enum NestOp {
    Write(u8, u8, u8),
    RemoveInner(u8, u8),
    RemoveOuter(u8),
}

struct MapOfMaps;

impl Subject for MapOfMaps {
    type State = Nest;
    type Op = NestOp;
    type Value = BTreeMap<(u8, u8), Vec<u8>>;

    fn update(map: &mut Nest, actor: u8, op: &NestOp) -> Option<Nest> {
        match op {
            NestOp::Write(outer, inner, value) => map
                .update(actor, *outer, |map, actor| {
                    map.update(actor, *inner, |register, actor| register.write(actor, *value))
                })
                .ok(),
            NestOp::RemoveInner(outer, inner) => {
                map.update(actor, *outer, |map, _| Ok::<_, MintError>(map.remove(inner))).ok()
            }
            NestOp::RemoveOuter(outer) => Some(map.remove(outer)),
        }
    }

    fn value(map: &Nest) -> Self::Value {
        let inner = map.iter().flat_map(|(outer, map)| map.iter().map(|(inner, it)| ((*outer, *inner), it)));
        inner
            .map(|(keys, register)| {
                let mut values: Vec<u8> = register.values().copied().collect();
                values.sort_unstable();
                (keys, values)
            })
            .collect()
    }

    /// The values that were written before no other write to their place and no removal of it.
    fn model(history: &History<NestOp>) -> Self::Value {
        let mut values: BTreeMap<(u8, u8), Vec<u8>> = BTreeMap::new();
        for (event, op) in history.iter() {
            let NestOp::Write(outer, inner, value) = op else {
                continue;
            };
            let replaced = history.after(event).any(|later| match later {
                NestOp::Write(o, i, _) | NestOp::RemoveInner(o, i) => (o, i) == (outer, inner),
                NestOp::RemoveOuter(o) => o == outer,
            });
            if !replaced {
                values.entry((*outer, *inner)).or_default().push(*value);
            }
        }
        values.values_mut().for_each(|values| values.sort_unstable());
        values
    }
}

#[derive(Clone, Debug)]
enum ListOp {
    Insert(u8, usize, char),
    Remove(u8),
}

struct MapOfLists;

impl Subject for MapOfLists {
    type State = OrMap<u8, List<char, u8>, u8>;
    type Op = ListOp;
    /// The items by key, sorted: their order is the business of the list's own model.
    type Value = BTreeMap<u8, Vec<char>>;

    fn update(map: &mut Self::State, actor: u8, op: &ListOp) -> Option<Self::State> {
        match op {
            ListOp::Insert(key, at, item) => {
                map.update(actor, *key, |list, actor| list.insert(actor, at % (list.len() + 1), *item)).ok()
            }
            ListOp::Remove(key) => Some(map.remove(key)),
        }
    }

    fn value(map: &Self::State) -> Self::Value {
        let sorted = |list: &ListDots<char, u8>| {
            let mut items: Vec<char> = list.iter().copied().collect();
            items.sort_unstable();
            items
        };
        map.iter().map(|(key, list)| (*key, sorted(list))).collect()
    }

    /// The items that were inserted before no removal of their key.
    fn model(history: &History<ListOp>) -> Self::Value {
        let mut lists: BTreeMap<u8, Vec<char>> = BTreeMap::new();
        for (event, op) in history.iter() {
            let ListOp::Insert(key, _, item) = op else { continue };
            if !history.after(event).any(|later| matches!(later, ListOp::Remove(removed) if removed == key)) {
                lists.entry(*key).or_default().push(*item);
            }
        }
        lists.values_mut().for_each(|items| items.sort_unstable());
        lists
    }
}

#[test]
fn a_key_used_again_begins_empty() {
    let mut us: Sets = OrMap::new();
    us.update(1, 7, |set, actor| set.insert(actor, 1)).unwrap();
    let mut eu = us.clone();
    us.remove(&7);
    us.update(1, 7, |set, actor| set.insert(actor, 2)).unwrap();
    us.merge(&eu);
    eu.merge(&us);
    assert_eq!(us, eu);
    assert_eq!(us.get(&7).unwrap().iter().collect::<Vec<_>>(), [&2]);
}

#[test]
fn an_increment_after_a_removal_counts_beside_one_concurrent_with_it() {
    let mut us: Counters = OrMap::new();
    us.update(1, 7, |counter, actor| counter.increment(actor, 5)).unwrap();
    let mut eu = us.clone();
    eu.update(2, 7, |counter, actor| counter.increment(actor, 1)).unwrap();
    us.remove(&7);
    us.update(1, 7, |counter, actor| counter.increment(actor, 1)).unwrap();
    us.merge(&eu);
    assert_eq!(us.get(&7).unwrap().joined().value(), 2);
}

#[test]
fn a_refused_change_leaves_no_trace() {
    let mut map: Counters = OrMap::new();
    map.update(1, 7, |counter, actor| counter.increment(actor, u64::MAX)).unwrap();
    let before = map.clone();
    let refused = map.update(1, 7, |counter, actor| counter.increment(actor, 1));
    assert!(matches!(refused, Err(CounterError::Overflow { .. })));
    assert_eq!(map, before);
    assert!(map.update(1, 8, |_, _| Err(CounterError::TransferToSelf)).is_err());
    assert_eq!(map, before);
}

#[test]
fn a_change_that_panics_leaves_the_map_as_it_was() {
    let mut map: Sets = OrMap::new();
    map.update(1, 7, |set, actor| set.insert(actor, 1)).unwrap();
    let before = map.clone();
    let panics =
        std::panic::AssertUnwindSafe(|| map.update(1, 7, |_, _| -> Result<_, MintError> { panic!("no") }));
    assert!(std::panic::catch_unwind(panics).is_err());
    assert_eq!(map, before);
}

#[test]
fn encodes_as_a_map_of_stores() {
    let mut map: OrMap<String, OrSet<String, String>, String> = OrMap::new();
    map.update("us".into(), "tags".into(), |set, actor| set.insert(actor, "red".into())).unwrap();
    let json = r#"{"store":{"tags":[["red",[["us",1]]]]},"context":{"clock":{"us":1}}}"#;
    assert_eq!(serde_json::to_string(&map).unwrap(), json);
    for wrong in [
        r#"{"store":{"tags":[]},"context":{"clock":{"us":1}}}"#,
        r#"{"store":{"a":[["red",[["us",1]]]],"b":[["red",[["us",1]]]]},"context":{"clock":{"us":1}}}"#,
    ] {
        assert!(serde_json::from_str::<OrMap<String, OrSet<String, String>, String>>(wrong).is_err());
    }
}

fn set_ops() -> impl Strategy<Value = SetOp> {
    prop_oneof![
        5 => (0..3u8, 0..3u8).prop_map(|(key, element)| SetOp::Insert(key, element)),
        2 => (0..3u8, 0..3u8).prop_map(|(key, element)| SetOp::Take(key, element)),
        3 => (0..3u8).prop_map(SetOp::Remove),
        1 => Just(SetOp::Clear),
    ]
}

fn count_ops() -> impl Strategy<Value = CountOp> {
    prop_oneof![2 => (0..3u8, 0..9u64).prop_map(|(key, by)| CountOp::Add(key, by)), 1 => (0..3u8).prop_map(CountOp::Remove)]
}

fn list_ops() -> impl Strategy<Value = ListOp> {
    prop_oneof![
        4 => (0..2u8, 0..9usize, prop::char::range('a', 'z')).prop_map(|(key, at, item)| ListOp::Insert(key, at, item)),
        1 => (0..2u8).prop_map(ListOp::Remove),
    ]
}

fn nest_ops() -> impl Strategy<Value = NestOp> {
    prop_oneof![
        4 => (0..2u8, 0..2u8, 0..9u8).prop_map(|(outer, inner, value)| NestOp::Write(outer, inner, value)),
        1 => (0..2u8, 0..2u8).prop_map(|(outer, inner)| NestOp::RemoveInner(outer, inner)),
        1 => (0..2u8).prop_map(NestOp::RemoveOuter),
    ]
}

proptest! {
    #[test]
    fn of_sets_holds_the_laws_and_agrees_with_the_model(run in executions(set_ops())) {
        executions::check::<MapOfSets>(&run);
    }

    #[test]
    fn of_counters_holds_the_laws_and_agrees_with_the_model(run in executions(count_ops())) {
        executions::check::<MapOfCounters>(&run);
    }

    #[test]
    fn of_lists_holds_the_laws_and_agrees_with_the_model(run in executions(list_ops())) {
        executions::check::<MapOfLists>(&run);
    }

    #[test]
    fn of_maps_holds_the_laws_and_agrees_with_the_model(run in executions(nest_ops())) {
        executions::check::<MapOfMaps>(&run);
    }
}
