//! Removals that are forgotten once all members have them: every interleaving of a few writes by real engines that share a
//! log, read it at their own pace, hear one another's heartbeats late or never, tell floors, reclaim, repair and crash.
//!
//! Whoever is compared at whatever moment, equal vectors mean the same visible state, and that is what the rules say of a
//! replica which never forgets a removal: so no forgotten removal ever lets an older write come back.

mod locals;
mod numbers;
mod rules;
mod world;

use archipelago_conflict::Strategy;

use crate::{
    Depth,
    search::{Searched, Violation, search},
};
use world::Stability;

/// More than any search here comes to.
const STATES_MAX: usize = 50_000_000;

/// What there is of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    strategy: Strategy,
    replicas: usize,
    writes: u8,
    /// How often replicas say how they stand.
    beats: u8,
    /// How often one asks another for what it lacks.
    asks: u8,
    crashes: u8,
}

/// What is wrong with a run, on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    Nothing,
    /// An event counts although it was admitted without what is below a floor.
    NoBarrier,
}

/// What happened in some run: a search that never comes to it shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Coverage {
    /// States in which a replica has forgotten a removal.
    reclaimed: usize,
    /// Comparisons of one that has with one that has not.
    compared: usize,
    /// Events that were left to repair.
    below_floor: usize,
    /// Deltas that were taken in.
    taken: usize,
}

const fn bounds(strategy: Strategy, replicas: usize, writes: u8, beats: u8, asks: u8, crashes: u8) -> Bounds {
    Bounds { strategy, replicas, writes, beats, asks, crashes }
}

fn searched(bounds: Bounds, flaw: Flaw) -> (Result<Searched, Violation>, Coverage) {
    let mut stability = Stability::new(bounds, flaw);
    let searched = search(&mut stability, STATES_MAX);
    (searched, stability.coverage)
}

const USUAL: [Bounds; 2] =
    [bounds(Strategy::Lww, 2, 2, 2, 0, 0), bounds(Strategy::VersionVector, 2, 2, 2, 0, 0)];
const DEEP: [Bounds; 5] = [
    bounds(Strategy::Lww, 2, 2, 1, 1, 0),
    bounds(Strategy::VersionVector, 2, 2, 1, 1, 0),
    bounds(Strategy::Lww, 2, 2, 2, 0, 1),
    bounds(Strategy::Lww, 2, 2, 3, 0, 0),
    bounds(Strategy::Lww, 2, 3, 2, 0, 0),
];

#[test]
fn a_forgotten_removal_never_lets_an_older_write_come_back() {
    for bounds in if Depth::asked() == Depth::Deep { &DEEP[..] } else { &USUAL } {
        let began = std::time::Instant::now();
        let (searched, coverage) = searched(*bounds, Flaw::Nothing);
        let searched = searched.unwrap_or_else(|violation| panic!("{bounds:?}: {violation}"));
        println!("{bounds:?}: {searched:?}, {coverage:?} in {:?}", began.elapsed());
        let Coverage { reclaimed, compared, below_floor, taken } = coverage;
        assert!(reclaimed > 0 && compared > 0 && below_floor > 0, "{coverage:?}");
        assert_eq!(taken > 0, bounds.asks > 0);
    }
}

#[test]
fn an_event_that_counts_although_it_was_admitted_without_a_forgotten_removal_is_found() {
    let violation = searched(USUAL[0], Flaw::NoBarrier).0.expect_err("it is found");
    assert!(violation.what.contains("a replica holds"), "{violation}");
}
