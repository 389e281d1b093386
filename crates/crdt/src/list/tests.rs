use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{node::Side, *};
use crate::{
    Crdt, OrMap,
    executions::{self, History, Subject, executions},
};

#[derive(Clone, Debug)]
enum Op {
    /// Where, modulo the number of places, and what.
    Insert(usize, char),
    Remove(usize),
}

fn ops() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0..64usize, prop::char::range('a', 'z')).prop_map(|(at, item)| Op::Insert(at, item)),
        2 => (0..64usize).prop_map(Op::Remove),
    ]
}

fn apply(list: &mut List<char, u8>, actor: u8, op: &Op) -> Option<List<char, u8>> {
    match op {
        Op::Insert(at, item) => list.insert(actor, at % (list.len() + 1), *item).ok(),
        Op::Remove(_) if list.is_empty() => None,
        Op::Remove(at) => list.remove(actor, at % list.len()).ok(),
    }
}

struct Lists;

/// The tree of the paper, grown from the operations one by one and walked by recursion, without any of the
/// shortcuts of the type.
#[derive(Default)]
struct Tree {
    /// By event.
    inserts: BTreeMap<usize, Insert>,
    /// By event: the insert that it removes.
    removals: BTreeMap<usize, usize>,
}

struct Insert {
    id: (u8, u64),
    /// The event that it hangs on.
    parent: Option<usize>,
    side: Side,
    item: char,
}

impl Tree {
    fn walk(&self, parent: Option<usize>, side: Side, out: &mut Vec<usize>) {
        let mut children: Vec<(&usize, _)> =
            self.inserts.iter().filter(|(_, node)| node.parent == parent && node.side == side).collect();
        children.sort_by_key(|(_, node)| node.id);
        for (&child, _) in children {
            self.walk(Some(child), Side::Left, out);
            out.push(child);
            self.walk(Some(child), Side::Right, out);
        }
    }

    /// The inserts that are in the list, in order, for one who knows what `knows` says.
    fn list(&self, knows: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut all = Vec::new();
        self.walk(None, Side::Left, &mut all);
        self.walk(None, Side::Right, &mut all);
        let removed = |insert| self.removals.iter().any(|(&event, &it)| it == insert && knows(event));
        all.retain(|&insert| knows(insert) && !removed(insert));
        all
    }

    fn is_right_of(&self, mut node: usize, ancestor: Option<usize>) -> bool {
        loop {
            let Insert { parent, side, .. } = self.inserts[&node];
            if parent == ancestor && side == Side::Right {
                return true;
            }
            let Some(parent) = parent else { return false };
            node = parent;
        }
    }
}

impl Subject for Lists {
    type State = List<char, u8>;
    type Op = Op;
    type Value = String;

    fn update(list: &mut Self::State, actor: u8, op: &Op) -> Option<Self::State> {
        apply(list, actor, op)
    }

    fn value(list: &Self::State) -> String {
        let text: String = list.iter().collect();
        assert_eq!(list.len(), text.chars().count());
        text
    }

    fn model(history: &History<Op>) -> String {
        let mut tree = Tree::default();
        let mut sequences = [0u64; 3];
        for (event, op) in history.iter() {
            let actor = history.actor(event);
            sequences[usize::from(actor)] += 1;
            let before = tree.list(|earlier| history.before(earlier, event));
            match op {
                Op::Remove(at) => {
                    tree.removals.insert(event, before[at % before.len()]);
                }
                Op::Insert(at, item) => {
                    let at = at % (before.len() + 1);
                    let left = at.checked_sub(1).map(|left| before[left]);
                    let (parent, side) = match before.get(at) {
                        Some(&right) if tree.is_right_of(right, left) => (Some(right), Side::Left),
                        _ => (left, Side::Right),
                    };
                    let id = (actor, sequences[usize::from(actor)]);
                    tree.inserts.insert(event, Insert { id, parent, side, item: *item });
                }
            }
        }
        tree.list(|_| true).into_iter().map(|insert| tree.inserts[&insert].item).collect()
    }
}

fn text(list: &List<char, u8>) -> String {
    list.iter().collect()
}

#[test]
fn edits_by_index_and_by_id() {
    let mut list: List<char, u8> = List::new();
    for item in "abd".chars() {
        list.push(1, item).unwrap();
    }
    let b = list.id(1).unwrap().clone();
    list.insert_after(1, &b, 'c').unwrap();
    list.insert(1, 0, '>').unwrap();
    assert_eq!((text(&list).as_str(), list.get(2), list.index_of(&b)), (">abcd", Some(&'b'), Some(2)));
    list.remove_id(1, &b).unwrap();
    list.remove(1, 0).unwrap();
    assert_eq!(text(&list), "acd");
    assert_eq!(list.entries().count(), 3);
}

#[test]
fn misuse_is_refused_and_changes_nothing() {
    let mut list: List<char, u8> = List::new();
    list.push(1, 'a').unwrap();
    let id = list.id(0).unwrap().clone();
    let last = list.remove(1, 0).unwrap();
    let before = list.clone();
    assert_eq!(list.insert(1, 1, 'b'), Err(ListError::OutOfBounds { index: 1, len: 0 }));
    assert_eq!(list.remove(1, 0), Err(ListError::OutOfBounds { index: 0, len: 0 }));
    assert_eq!(list.remove_id(1, &id), Err(ListError::NoSuchItem));
    assert_eq!(list.insert_after(1, &id, 'b'), Err(ListError::NoSuchItem));
    assert_eq!(list, before);
    // The delta of the removal names both dots, so only a later one alone leaves a gap.
    let later = list.push(1, 'b').unwrap();
    let mut elsewhere = List::new();
    elsewhere.merge(&later);
    assert_eq!(elsewhere.push(1, 'c'), Err(ListError::Mint(MintError::OwnDotsMissing)));
    elsewhere.merge(&last);
    assert_eq!(elsewhere, list);
}

#[test]
fn an_item_waits_for_what_it_hangs_on() {
    let mut list: List<char, u8> = List::new();
    let deltas: Vec<_> = "abc".chars().map(|item| list.push(1, item).unwrap()).collect();
    let mut elsewhere = List::new();
    elsewhere.merge(&deltas[2]);
    elsewhere.merge(&deltas[1]);
    assert_eq!(text(&elsewhere), "");
    elsewhere.merge(&deltas[0]);
    assert_eq!(text(&elsewhere), "abc");
}

#[test]
fn what_is_inserted_into_a_list_in_a_map_survives_the_removal_of_its_key() {
    let mut us: OrMap<u8, List<char, u8>, u8> = OrMap::new();
    us.update(1, 7, |list, actor| list.push(actor, 'a')).unwrap();
    us.update(1, 7, |list, actor| list.push(actor, 'b')).unwrap();
    let mut eu = us.clone();
    us.remove(&7);
    eu.update(2, 7, |list, actor| list.insert(actor, 1, 'x')).unwrap();
    eu.update(2, 7, |list, actor| list.insert(actor, 2, 'y')).unwrap();
    us.merge(&eu);
    eu.merge(&us);
    assert_eq!(us, eu);
    assert_eq!(us.get(&7).unwrap().iter().collect::<String>(), "xy");
    assert_eq!(eu.get(&7).unwrap().iter().collect::<String>(), "xy");
    us.update(1, 7, |list, actor| list.push(actor, 'z')).unwrap();
    assert_eq!(us.get(&7).unwrap().iter().collect::<String>(), "xyz");
}

#[test]
fn a_tombstone_goes_when_nothing_hangs_on_it() {
    let mut us: List<char, u8> = List::new();
    "abc".chars().for_each(|item| drop(us.push(1, item).unwrap()));
    us.remove(1, 1).unwrap();
    us.remove(1, 0).unwrap();
    let stable = us.context().clock().clone();
    us.forget_stable(&stable);
    assert_eq!((us.tombstones(), text(&us).as_str()), (2, "c"));
    us.remove(1, 0).unwrap();
    us.forget_stable(&stable);
    assert_eq!(us.tombstones(), 3);
    let stable = us.context().clock().clone();
    us.forget_stable(&stable);
    assert_eq!(us.tombstones(), 0);
    us.push(1, 'd').unwrap();
    assert_eq!(text(&us), "d");
}

#[test]
fn encodes_as_nodes() {
    let mut list: List<char, String> = List::new();
    list.push("us".into(), 'a').unwrap();
    list.push("us".into(), 'b').unwrap();
    list.remove("us".into(), 0).unwrap();
    let json = concat!(
        r#"{"store":[["us",1,null,"right",{"deleted":["us",3]}],["us",2,["us",1],"right",{"live":"b"}]],"#,
        r#""context":{"clock":{"us":3}}}"#
    );
    assert_eq!(serde_json::to_string(&list).unwrap(), json);
    let read: List<char, String> = serde_json::from_str(json).unwrap();
    assert_eq!(read.iter().collect::<String>(), "b");
}

#[test]
fn nodes_in_a_circle_are_nowhere() {
    let circle = concat!(
        r#"{"store":[[1,1,[1,2],"right",{"live":"a"}],[1,2,[1,1],"left",{"live":"b"}],[1,3,[1,3],"left",{"live":"c"}]],"#,
        r#""context":{"clock":{"1":3}}}"#
    );
    let mut list: List<char, u8> = serde_json::from_str(circle).unwrap();
    assert!(list.is_empty());
    list.push(1, 'd').unwrap();
    list.forget_stable(&VectorClock::from_iter([(1, 9)]));
    assert_eq!(text(&list), "d");
}

/// Types a run at one place, forwards or backwards.
fn typed(base: &List<char, u8>, actor: u8, run: &str, backwards: bool) -> List<char, u8> {
    let mut list = base.clone();
    let at = base.len() / 2;
    for (count, item) in run.chars().enumerate() {
        list.insert(actor, if backwards { at } else { at + count }, item).unwrap();
    }
    list
}

proptest! {
    #[test]
    fn holds_the_laws_and_agrees_with_the_model(run in executions(ops())) {
        executions::check::<Lists>(&run);
    }

    #[test]
    fn concurrent_runs_do_not_mix(
        base in proptest::collection::vec(ops(), 0..20),
        directions in any::<[bool; 3]>(),
    ) {
        let mut list: List<char, u8> = List::new();
        base.iter().for_each(|op| { apply(&mut list, 0, op); });
        let mut merged = list.clone();
        for (actor, (run, backwards)) in (1u8..).zip(["123456", "ABCDEF", "!$%&/="].into_iter().zip(directions)) {
            merged.merge(&typed(&list, actor, run, backwards));
        }
        let text = text(&merged);
        for (run, backwards) in ["123456", "ABCDEF", "!$%&/="].into_iter().zip(directions) {
            let run: String = if backwards { run.chars().rev().collect() } else { run.to_owned() };
            prop_assert!(text.contains(&run), "{text} {run}");
        }
    }

    #[test]
    fn forgetting_what_is_stable_never_shows(run in executions(ops())) {
        executions::check_forgetting::<Lists, _>(&run, List::forget_stable);
    }
}
