//! Sets in which adding wins: adding and merging, against `crdts` (`Orswot`) and `crdt-kit` (`ORSet`).
//!
//! Actors are `u64`, as `crdt-kit` has no others.

use std::{fmt::Debug, hash::Hash};

use archipelago_crdt::{Crdt, OrSet};
use crdt_kit::{Crdt as _, ORSet};
use crdts::{CmRDT, CvRDT, Orswot};

use super::{Size, shuffled};
use crate::contest::{Case, Contender, Contest, OURS};

/// How many elements are added, and how many each of two merged sets has.
const ELEMENTS: usize = 20_000;

const LEFT: u64 = 1;
const RIGHT: u64 = 2;

pub(super) fn contests(size: Size) -> Vec<Contest> {
    let elements = size.of(ELEMENTS);
    let number = |n: usize| n as u64;
    let text = |n: usize| format!("element/{n:08}");
    vec![
        add("u64", elements, number),
        add("string", elements, text),
        merge("u64", elements, number),
        merge("string", elements, text),
    ]
}

fn scattered<T>(count: usize, element: fn(usize) -> T) -> Vec<T> {
    shuffled(count).into_iter().map(element).collect()
}

fn our_add<T: Ord + Clone>(set: &mut OrSet<T, u64>, actor: u64, elements: Vec<T>) {
    for element in elements {
        set.insert_in_place(actor, element).expect("the actor's own state");
    }
}

fn crdts_add<T: Hash + Eq + Clone>(set: &mut Orswot<T, u64>, actor: u64, elements: Vec<T>) {
    for element in elements {
        let context = set.read_ctx().derive_add_ctx(actor);
        set.apply(set.add(element, context));
    }
}

fn kit_add<T: Ord + Clone>(set: &mut ORSet<T>, elements: Vec<T>) {
    for element in elements {
        set.insert(element);
    }
}

fn add<T: Ord + Hash + Clone + Debug + 'static>(
    kind: &str,
    count: usize,
    element: fn(usize) -> T,
) -> Contest {
    let elements = scattered(count, element);
    let ours = Contender::of(
        OURS,
        {
            let elements = elements.clone();
            move || (OrSet::new(), elements.clone())
        },
        |(set, elements)| our_add(set, LEFT, std::mem::take(elements)),
        move |(set, _), ()| assert_eq!(set.len(), count),
    );
    let crdts = Contender::of(
        "crdts",
        {
            let elements = elements.clone();
            move || (Orswot::new(), elements.clone())
        },
        |(set, elements)| crdts_add(set, LEFT, std::mem::take(elements)),
        move |(set, _), ()| assert_eq!(set.read().val.len(), count),
    );
    let kit = Contender::of(
        "crdt-kit",
        move || (ORSet::new(LEFT), elements.clone()),
        |(set, elements)| kit_add(set, std::mem::take(elements)),
        move |(set, _), ()| assert_eq!(set.len(), count),
    );
    let case = Case {
        name: format!("set-add/{kind}"),
        about: format!("Add {count} elements in random order, one by one, to an empty set, without deltas."),
        operations: count as u64,
        goal: Some(1.0),
    };
    Contest { cases: vec![case], contenders: vec![ours, crdts, kit] }
}

/// What both sets begin with, and what each adds of its own: half and half.
fn thirds<T>(count: usize, element: fn(usize) -> T) -> [Vec<T>; 3] {
    let half = count / 2;
    let mut elements = scattered(3 * half, element);
    let right = elements.split_off(2 * half);
    let left = elements.split_off(half);
    [elements, left, right]
}

fn merge<T: Ord + Hash + Clone + Debug + 'static>(
    kind: &str,
    count: usize,
    element: fn(usize) -> T,
) -> Contest {
    let [common, left, right] = thirds(count, element);
    let union = common.len() + left.len() + right.len();

    let mut base = OrSet::new();
    our_add(&mut base, LEFT, common.clone());
    let (mut our_left, mut our_right) = (base.clone(), base);
    our_add(&mut our_left, LEFT, left.clone());
    our_add(&mut our_right, RIGHT, right.clone());
    let mut expected = our_right.clone();
    expected.merge(&our_left);
    let ours = Contender::of(
        OURS,
        move || (our_left.clone(), our_right.clone()),
        |(left, right)| left.merge(right),
        move |(left, _), ()| assert!(left.len() == union && *left == expected),
    );

    let mut base = Orswot::new();
    crdts_add(&mut base, LEFT, common.clone());
    let (mut crdts_left, mut crdts_right) = (base.clone(), base);
    crdts_add(&mut crdts_left, LEFT, left.clone());
    crdts_add(&mut crdts_right, RIGHT, right.clone());
    let mut expected = crdts_right.clone();
    expected.merge(crdts_left.clone());
    let crdts = Contender::of(
        "crdts",
        move || (crdts_left.clone(), crdts_right.clone()),
        |(left, right)| left.merge(std::mem::take(right)),
        move |(left, _), ()| assert!(left.read().val.len() == union && *left == expected),
    );

    // A set of `crdt-kit` belongs to one actor for good: each begins on its own and takes in the common elements.
    let mut base = ORSet::new(0);
    kit_add(&mut base, common);
    let (mut kit_left, mut kit_right) = (ORSet::new(LEFT), ORSet::new(RIGHT));
    kit_left.merge(&base);
    kit_right.merge(&base);
    kit_add(&mut kit_left, left);
    kit_add(&mut kit_right, right);
    let mut expected = kit_right.clone();
    expected.merge(&kit_left);
    let kit = Contender::of(
        "crdt-kit",
        move || (kit_left.clone(), kit_right.clone()),
        |(left, right)| left.merge(right),
        move |(left, _), ()| assert!(left.len() == union && left.iter().eq(expected.iter())),
    );
    let case = Case {
        name: format!("set-merge/{kind}"),
        about: format!(
            "Merge two sets of {count} elements, half of them in common. One operation is one merge."
        ),
        operations: 1,
        goal: Some(1.0),
    };
    Contest { cases: vec![case], contenders: vec![ours, crdts, kit] }
}
