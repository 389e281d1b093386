use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::{
    Crdt,
    executions::{self, History, Subject, executions},
};

#[derive(Clone, Debug)]
enum Op {
    Insert(u8),
    Remove(u8),
}

impl Op {
    fn element(&self) -> u8 {
        let (Op::Insert(element) | Op::Remove(element)) = self;
        *element
    }
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![(0..4u8).prop_map(Op::Insert), (0..4u8).prop_map(Op::Remove)]
}

struct Sets;

impl Subject for Sets {
    type State = RwSet<u8, u8>;
    type Op = Op;
    type Value = BTreeSet<u8>;

    fn update(set: &mut Self::State, actor: u8, op: &Op) -> Option<Self::State> {
        match op {
            Op::Insert(element) => set.insert(actor, *element).ok(),
            Op::Remove(element) => set.remove(actor, *element).ok(),
        }
    }

    fn value(set: &Self::State) -> BTreeSet<u8> {
        set.iter().copied().collect()
    }

    /// An element is in the set if it was inserted and all latest operations on it, those that happened before no
    /// other on it, are inserts.
    fn model(history: &History<Op>) -> BTreeSet<u8> {
        let latest =
            |(event, op): &(usize, &Op)| history.after(*event).all(|later| later.element() != op.element());
        let (inserted, removed): (Vec<_>, Vec<_>) =
            history.iter().filter(latest).map(|(_, op)| op).partition(|op| matches!(op, Op::Insert(_)));
        let removed: BTreeSet<u8> = removed.into_iter().map(Op::element).collect();
        inserted.into_iter().map(Op::element).filter(|element| !removed.contains(element)).collect()
    }
}

#[test]
fn removing_what_was_never_there_wins_over_a_concurrent_insert() {
    let (mut us, mut eu) = (RwSet::new(), RwSet::new());
    us.remove("us", "tea").unwrap();
    eu.insert("eu", "tea").unwrap();
    eu.merge(&us);
    assert!(eu.is_empty());
    eu.insert("eu", "tea").unwrap();
    assert!(eu.contains(&"tea"));
}

#[test]
fn forgets_what_is_stable_and_nothing_else() {
    let mut us = RwSet::new();
    us.insert("us", "tea").unwrap();
    us.remove("us", "tea").unwrap();
    us.insert("us", "milk").unwrap();
    let mut eu = us.clone();
    eu.insert("eu", "water").unwrap();
    let before = us.clone();
    us.forget_stable(&VectorClock::from_iter([("us", 1)]));
    assert_eq!(us, before);
    let delta = us.forget_stable(&VectorClock::from_iter([("us", 2)]));
    assert!(us.covers(&before) && us != before);
    assert_eq!(us.iter().collect::<Vec<_>>(), [&"milk"]);
    // It does not come back from a replica that still remembers it.
    us.merge(&eu);
    eu.merge(&delta);
    assert_eq!(us, eu);
    assert_eq!(us.elements.len(), 2);
}

#[test]
fn encodes_as_elements_with_both_kinds_of_dots() {
    let mut set: RwSet<String, String> = RwSet::new();
    set.insert("us".into(), "tea".into()).unwrap();
    set.remove("us".into(), "milk".into()).unwrap();
    let json = r#"{"store":[["milk",[],[["us",2]]],["tea",[["us",1]],[]]],"context":{"clock":{"us":2}}}"#;
    assert_eq!(serde_json::to_string(&set).unwrap(), json);
}

proptest! {
    #[test]
    fn holds_the_laws_and_agrees_with_the_model(run in executions(ops())) {
        executions::check::<Sets>(&run);
    }

    #[test]
    fn forgetting_what_is_stable_never_shows(run in executions(ops())) {
        executions::check_forgetting::<Sets, _>(&run, RwSet::forget_stable);
    }
}
