//! Counters: merging, against `crdts` and `crdt-kit`. The latter's actors are `u64`, so everyone's are.

use std::fmt::Debug;

use archipelago_crdt::{Crdt, GCounter, PnCounter};
use crdt_kit::{Crdt as _, GCounter as KitGCounter, PNCounter as KitPnCounter};
use crdts::{CmRDT, CvRDT, GCounter as CrdtsGCounter, PNCounter as CrdtsPnCounter};

use super::{ACTORS, states_per_lap};
use crate::contest::{Case, Contender, Contest, OURS};

pub(super) fn contests() -> Vec<Contest> {
    ACTORS.into_iter().flat_map(|actors| [grow_only(actors), positive_negative(actors)]).collect()
}

/// What every second actor has counted on one side, and the others on the other.
const AHEAD: u64 = 9;
const BEHIND: u64 = 7;

fn counts(actors: usize, parity: usize) -> impl Iterator<Item = (u64, u64)> {
    (0..actors).map(move |n| (n as u64, if n % 2 == parity { AHEAD } else { BEHIND }))
}

fn grow_only(actors: usize) -> Contest {
    let sum = AHEAD * actors as u64;
    let ours = side_by_side(actors, |actors, parity| {
        let mut counter = GCounter::new();
        for (actor, count) in counts(actors, parity) {
            counter.increment(actor, count).expect("small counts");
        }
        counter
    });
    let ours = by_reference(OURS, ours, Crdt::merge, move |counter| counter.value() == u128::from(sum));
    let crdts = side_by_side(actors, |actors, parity| {
        let mut counter = CrdtsGCounter::new();
        for (actor, count) in counts(actors, parity) {
            counter.apply(counter.inc_many(actor, count));
        }
        counter
    });
    let crdts = by_value("crdts", crdts, CvRDT::merge, move |counter| counter.read() == sum.into());
    let kit = side_by_side(actors, |actors, parity| {
        let mut counter = KitGCounter::new(0);
        for (actor, count) in counts(actors, parity) {
            let mut one = KitGCounter::new(actor);
            one.increment_by(count);
            counter.merge(&one);
        }
        counter
    });
    let kit = by_reference("crdt-kit", kit, crdt_kit::Crdt::merge, move |counter| counter.value() == sum);
    contest("counter-merge", "grow-only counters", actors, vec![ours, crdts, kit])
}

fn positive_negative(actors: usize) -> Contest {
    // Each has counted up as often as the grow-only one, and down once.
    let sum = (AHEAD - 1) * actors as u64;
    let ours = side_by_side(actors, |actors, parity| {
        let mut counter = PnCounter::new();
        for (actor, count) in counts(actors, parity) {
            counter.increment(actor, count).expect("small counts");
            counter.decrement(actor, 1).expect("small counts");
        }
        counter
    });
    let ours = by_reference(OURS, ours, Crdt::merge, move |counter| counter.value() == i128::from(sum));
    let crdts = side_by_side(actors, |actors, parity| {
        let mut counter = CrdtsPnCounter::new();
        for (actor, count) in counts(actors, parity) {
            counter.apply(counter.inc_many(actor, count));
            counter.apply(counter.dec(actor));
        }
        counter
    });
    let crdts = by_value("crdts", crdts, CvRDT::merge, move |counter| counter.read() == sum.into());
    let kit = side_by_side(actors, |actors, parity| {
        let mut counter = KitPnCounter::new(0);
        for (actor, count) in counts(actors, parity) {
            let mut one = KitPnCounter::new(actor);
            (0..count).for_each(|_| one.increment());
            one.decrement();
            counter.merge(&one);
        }
        counter
    });
    let value = i64::try_from(sum).expect("small counts");
    let kit = by_reference("crdt-kit", kit, crdt_kit::Crdt::merge, move |counter| counter.value() == value);
    contest("pn-counter-merge", "positive-negative counters", actors, vec![ours, crdts, kit])
}

/// Many pairs of counters, cloned anew for each lap.
fn side_by_side<C: Clone>(actors: usize, side: fn(usize, usize) -> C) -> impl FnMut() -> (Vec<C>, Vec<C>) {
    let (left, right) = (side(actors, 0), side(actors, 1));
    move || (vec![left.clone(); states_per_lap(actors)], vec![right.clone(); states_per_lap(actors)])
}

fn by_reference<C: Debug + 'static>(
    library: &'static str,
    prepare: impl FnMut() -> (Vec<C>, Vec<C>) + 'static,
    merge: fn(&mut C, &C),
    reached: impl Fn(&C) -> bool + 'static,
) -> Contender {
    Contender::of(
        library,
        prepare,
        move |(lefts, rights)| lefts.iter_mut().zip(&*rights).for_each(|(left, right)| merge(left, right)),
        move |(lefts, _), ()| assert!(lefts.iter().all(&reached), "{library} counts otherwise"),
    )
}

fn by_value<C: Debug + 'static>(
    library: &'static str,
    prepare: impl FnMut() -> (Vec<C>, Vec<C>) + 'static,
    merge: fn(&mut C, C),
    reached: impl Fn(&C) -> bool + 'static,
) -> Contender {
    Contender::of(
        library,
        prepare,
        move |(lefts, rights)| {
            lefts.iter_mut().zip(std::mem::take(rights)).for_each(|(left, right)| merge(left, right));
        },
        move |(lefts, _), ()| assert!(lefts.iter().all(&reached), "{library} counts otherwise"),
    )
}

fn contest(name: &str, what: &str, actors: usize, contenders: Vec<Contender>) -> Contest {
    let case = Case {
        name: format!("{name}/{actors}"),
        about: format!(
            "Merge two {what} of the same {actors} actors (u64), each ahead in every second entry."
        ),
        operations: states_per_lap(actors) as u64,
        goal: Some(if actors == 100 { 3.0 } else { 1.0 }),
    };
    Contest { cases: vec![case], contenders }
}
