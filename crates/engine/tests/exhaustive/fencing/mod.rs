//! A lease that gives fencing tokens, and a log that takes an append only from whoever knows its end: every interleaving of
//! a few nodes that stand for election, lead, pause, crash and are deposed.
//!
//! What decides is the code of the engine: [`History`], [`Proposer`] and [`Application`]. What a manager does around it with
//! lease and log is done here in the smallest steps, each of which may come at any time or never: so a
//! node that is paused is one that takes no step, a message that is lost is one that never arrives, and a clock that is
//! wrong is a lease that goes to another one while its holder still believes in it. Of the lease nothing is assumed but that
//! each acquisition gives a greater token. A node reads the log only where that decides what it does next, and then to its
//! end: what it has applied in between is nobody else's business, and an append by one that did not read to the end of a
//! log which grows only changes nothing.
//!
//! [`History`]: archipelago_engine::leader_follower::History
//! [`Proposer`]: archipelago_engine::leader_follower::Proposer
//! [`Application`]: archipelago_engine::leader_follower::Application

mod batches;
mod broker;
mod disk;
mod node;
mod verdict;
mod world;

use crate::{
    Depth,
    search::{Searched, Violation, search},
};
use world::Fencing;

/// More than any search here comes to.
const STATES_MAX: usize = 50_000_000;

/// What there is of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    nodes: usize,
    /// How often the lease is acquired.
    tokens: u64,
    /// The last term that anyone tries to start.
    terms: u64,
    writes: u8,
    crashes: u8,
}

/// What is wrong with a run, on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    Nothing,
    /// The broker takes every append.
    AppendsWithoutCompare,
    /// A leader acknowledges what it sent.
    AcknowledgesWhatItSent,
    /// A candidate takes any start of the term that it claimed for its own.
    KnowsItsStartByTheTerm,
    /// A candidate starts its term at the end of a log that it did not read.
    ClaimsUnread,
    /// A leader in doubt goes on at the end of the log without reading it.
    ResendsUnread,
}

/// What happened in some run: a search that never comes to it shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Coverage {
    /// The most terms in one log.
    terms: usize,
    /// The most writes that were acknowledged.
    acknowledged: usize,
    /// Writes of a leader that the log did not take.
    fenced: usize,
    /// Writes that a leader did not take, because of the version that they demanded.
    refused: usize,
    /// Messages of the log that did not count for a node.
    ignored: usize,
    /// Writes without an answer that their leader found in the log.
    found_written: usize,
    /// Starts of terms without an answer that their candidate found in the log.
    found_started: usize,
    /// Leaders that found that they are deposed.
    deposed: usize,
}

const fn bounds(nodes: usize, tokens: u64, writes: u8, crashes: u8) -> Bounds {
    Bounds { nodes, tokens, terms: tokens, writes, crashes }
}

const SMALL: Bounds = bounds(2, 2, 2, 0);
const USUAL: [Bounds; 4] = [bounds(2, 2, 3, 0), bounds(2, 3, 1, 0), bounds(2, 2, 2, 1), bounds(3, 2, 2, 0)];
const DEEP: [Bounds; 4] = [bounds(2, 3, 3, 0), bounds(2, 4, 2, 0), bounds(2, 3, 2, 1), bounds(3, 3, 2, 0)];

fn searched(bounds: Bounds, flaw: Flaw) -> (Result<Searched, Violation>, Coverage) {
    let mut fencing = Fencing::new(bounds, flaw);
    let searched = search(&mut fencing, STATES_MAX);
    (searched, fencing.coverage)
}

#[test]
fn what_was_acknowledged_stays_and_whatever_a_deposed_leader_writes_does_not_count() {
    for bounds in if Depth::asked() == Depth::Deep { &DEEP } else { &USUAL } {
        let began = std::time::Instant::now();
        let (searched, coverage) = searched(*bounds, Flaw::Nothing);
        let searched = searched.unwrap_or_else(|violation| panic!("{bounds:?}: {violation}"));
        println!("{bounds:?}: {searched:?}, {coverage:?} in {:?}", began.elapsed());
        let Coverage { terms, acknowledged, fenced, refused, ignored, .. } = coverage;
        let Coverage { found_written, found_started, deposed, .. } = coverage;
        assert_eq!((terms as u64, acknowledged), (bounds.terms, usize::from(bounds.writes)));
        assert!(fenced > 0 && deposed > 0 && found_written > 0 && found_started > 0, "{coverage:?}");
        // Of several that are under way, one is refused for the others, and one may find its place in the log too late.
        assert!(bounds.writes == 1 || refused > 0 && ignored > 0, "{coverage:?}");
    }
}

fn found(flaw: Flaw) -> Violation {
    searched(SMALL, flaw).0.expect_err("it is found")
}

#[test]
fn a_broker_that_takes_every_append_is_found() {
    let violation = found(Flaw::AppendsWithoutCompare);
    assert!(violation.what.contains("without any loss"), "{violation}");
}

#[test]
fn a_candidate_that_takes_the_start_of_another_for_its_own_is_found() {
    let violation = searched(USUAL[1], Flaw::KnowsItsStartByTheTerm).0.expect_err("it is found");
    assert!(violation.what.starts_with("entries of two leaders count"), "{violation}");
}

#[test]
fn a_leader_who_acknowledges_what_it_sent_is_found() {
    let violation = found(Flaw::AcknowledgesWhatItSent);
    assert!(violation.what.starts_with("acknowledged, and it does not count"), "{violation}");
}

#[test]
fn a_candidate_that_did_not_read_the_log_is_found() {
    let violation = found(Flaw::ClaimsUnread);
    assert!(violation.what.contains("without any loss"), "{violation}");
}

#[test]
fn a_leader_who_goes_on_without_reading_the_log_is_found() {
    let violation = found(Flaw::ResendsUnread);
    assert!(violation.what.starts_with("acknowledged, and it does not count"), "{violation}");
}
