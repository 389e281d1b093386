//! Vector clocks: comparing and merging, against `crdts`. `crdt-kit` has none.

use std::{cmp::Ordering, fmt::Debug, hint::black_box};

use archipelago_clock::{ClockOrdering, VectorClock};
use crdts::{CmRDT, CvRDT, Dot, VClock};

use super::{ACTORS, states_per_lap};
use crate::contest::{Case, Contender, Contest, OURS};

pub(super) fn contests() -> Vec<Contest> {
    let number = |n: usize| n as u64;
    let name = |n: usize| format!("replica-{n:03}");
    ACTORS
        .into_iter()
        .flat_map(|actors| {
            [
                compare("u64", actors, number, &Outcome::ALL),
                compare("string", actors, name, &Outcome::ALL),
                compare("u64-equal", actors, number, &[Outcome::Equal]),
                compare("string-equal", actors, name, &[Outcome::Equal]),
                merge("u64", actors, number),
                merge("string", actors, name),
            ]
        })
        .collect()
}

/// How two clocks may relate.
#[derive(Clone, Copy)]
enum Outcome {
    Equal,
    Before,
    After,
    Concurrent,
}

impl Outcome {
    const ALL: [Outcome; 4] = [Outcome::Equal, Outcome::Before, Outcome::After, Outcome::Concurrent];

    /// The entries of two clocks of so many actors that relate so.
    fn entries<A>(self, actors: usize, actor: fn(usize) -> A) -> [Vec<(A, u64)>; 2] {
        let side = |first: u64, last: u64| {
            let sequence = move |n| match n {
                0 => first,
                n if n == actors - 1 => last,
                _ => 7,
            };
            (0..actors).map(move |n| (actor(n), sequence(n))).collect()
        };
        match self {
            Outcome::Equal => [side(7, 7), side(7, 7)],
            Outcome::Before => [side(7, 7), side(7, 8)],
            Outcome::After => [side(7, 8), side(7, 7)],
            Outcome::Concurrent => [side(8, 7), side(7, 8)],
        }
    }
}

fn theirs<A: Ord + Clone + Debug>(entries: Vec<(A, u64)>) -> VClock<A> {
    let mut clock = VClock::new();
    for (actor, sequence) in entries {
        clock.apply(Dot::new(actor, sequence));
    }
    clock
}

fn compare<A: Ord + Clone + Debug + 'static>(
    kind: &str,
    actors: usize,
    actor: fn(usize) -> A,
    outcomes: &'static [Outcome],
) -> Contest {
    let pairs = states_per_lap(actors).next_multiple_of(outcomes.len());
    let entries = move || (0..pairs).map(move |n| outcomes[n % outcomes.len()].entries(actors, actor));
    let of_each = pairs / outcomes.len();
    let expected = if outcomes.len() == 1 { [of_each, 0, 0, 0] } else { [of_each; 4] };

    let our_pairs: Vec<[VectorClock<A>; 2]> =
        entries().map(|pair| pair.map(VectorClock::from_iter)).collect();
    let ours = Contender::of(
        OURS,
        || (),
        move |()| {
            let mut counts = [0; 4];
            for [left, right] in black_box(&our_pairs) {
                counts[match left.compare(right) {
                    ClockOrdering::Equal => 0,
                    ClockOrdering::Before => 1,
                    ClockOrdering::After => 2,
                    ClockOrdering::Concurrent => 3,
                }] += 1;
            }
            counts
        },
        move |(), counts| assert_eq!(*counts, expected),
    );
    let their_pairs: Vec<[VClock<A>; 2]> = entries().map(|pair| pair.map(theirs)).collect();
    let crdts = Contender::of(
        "crdts",
        || (),
        move |()| {
            let mut counts = [0; 4];
            for [left, right] in black_box(&their_pairs) {
                counts[match left.partial_cmp(right) {
                    Some(Ordering::Equal) => 0,
                    Some(Ordering::Less) => 1,
                    Some(Ordering::Greater) => 2,
                    None => 3,
                }] += 1;
            }
            counts
        },
        move |(), counts| assert_eq!(*counts, expected),
    );
    let case = Case {
        name: format!("clock-compare/{kind}/{actors}"),
        about: format!(
            "Compare two vector clocks of the same {actors} actors: {}.",
            match outcomes.len() {
                1 => "equal ones",
                _ => "equal, before, after and concurrent ones in turn",
            }
        ),
        operations: pairs as u64,
        goal: Some(if actors == 3 { 3.0 } else { 1.0 }),
    };
    Contest { cases: vec![case], contenders: vec![ours, crdts] }
}

fn merge<A: Ord + Clone + Debug + 'static>(kind: &str, actors: usize, actor: fn(usize) -> A) -> Contest {
    let states = states_per_lap(actors);
    // Every second entry is ahead on the one side, the others on the other.
    let side = move |parity: usize| {
        (0..actors).map(move |n| (actor(n), if n % 2 == parity { 9 } else { 7 })).collect::<Vec<_>>()
    };
    let sum = 9 * actors as u64;

    let (left, right) = (VectorClock::from_iter(side(0)), VectorClock::from_iter(side(1)));
    let ours = Contender::of(
        OURS,
        move || (vec![left.clone(); states], vec![right.clone(); states]),
        |(lefts, rights)| {
            for (left, right) in lefts.iter_mut().zip(&*rights) {
                left.merge(right);
            }
        },
        move |(lefts, _), ()| {
            assert!(lefts.iter().all(|left| left.iter().map(|(_, sequence)| sequence).sum::<u64>() == sum));
        },
    );
    let (left, right) = (theirs(side(0)), theirs(side(1)));
    let crdts = Contender::of(
        "crdts",
        move || (vec![left.clone(); states], vec![right.clone(); states]),
        |(lefts, rights)| {
            for (left, right) in lefts.iter_mut().zip(std::mem::take(rights)) {
                left.merge(right);
            }
        },
        move |(lefts, _), ()| {
            assert!(lefts.iter().all(|left| left.iter().map(|dot| dot.counter).sum::<u64>() == sum));
        },
    );
    let case = Case {
        name: format!("clock-merge/{kind}/{actors}"),
        about: format!(
            "Merge two vector clocks of the same {actors} actors, each ahead in every second entry."
        ),
        operations: states as u64,
        goal: Some(if actors == 100 { 3.0 } else { 1.0 }),
    };
    Contest { cases: vec![case], contenders: vec![ours, crdts] }
}
