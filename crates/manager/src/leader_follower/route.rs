//! Who is asked, and in which order.

use std::cmp::Reverse;

use super::{Health, LeaderReads, NodeStatus, ReadConsistency, Routing};

/// One node that is to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    /// Which of the nodes.
    pub(super) at: usize,
    pub(super) waits: bool,
    /// The leader is asked because nobody else could answer.
    pub(super) is_fallback: bool,
}

/// A node that may be asked.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) status: NodeStatus,
    /// When it was chosen last: the number of that choice; 0 for never.
    pub(super) chosen: u64,
}

/// How much is thought of a node; the best ones first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// It takes part.
    Member,
    /// It leads, and is asked where the members cannot answer.
    Fallback,
    /// Nothing was heard of it, or by it: it may be cut off.
    Unheard,
    /// It shows nothing until it has taken the state anew.
    Desynced,
}

impl Candidate {
    fn rank(&self, leader: LeaderReads) -> Rank {
        match self.status.health {
            Health::Desynced => Rank::Desynced,
            Health::Unknown => Rank::Unheard,
            _ if self.status.is_leader && leader == LeaderReads::Fallback => Rank::Fallback,
            Health::Healthy | Health::Lagging => Rank::Member,
        }
    }
}

/// In which order they are asked: first, without waiting, those that should be able to answer at once, and then all those
/// for which waiting may help.
pub(super) fn route(
    candidates: &[Candidate],
    consistency: ReadConsistency,
    routing: Routing,
    leader: LeaderReads,
) -> Vec<Attempt> {
    let rank = |at: usize| candidates[at].rank(leader);
    let advanced = |at: usize| Reverse(candidates[at].status.applied_sequence);
    let mut turns: Vec<usize> = (0..candidates.len()).collect();
    turns.sort_by_key(|at| candidates[*at].chosen);
    if routing == Routing::LeastLag {
        turns.sort_by_key(|at| advanced(*at));
    }
    turns.sort_by_key(|at| rank(*at));

    let has = |at: usize| rank(at) != Rank::Desynced && candidates[at].status.has(consistency);
    let (now, later): (Vec<usize>, Vec<usize>) = turns.iter().partition(|at| has(**at));
    let attempt = |at: usize, waits| Attempt { at, waits, is_fallback: rank(at) == Rank::Fallback };
    let mut attempts: Vec<Attempt> = now.iter().map(|at| attempt(*at, false)).collect();
    if matches!(consistency, ReadConsistency::BoundedStaleness(_))
        && let Some(at) = later.iter().find(|at| rank(**at) == Rank::Member)
    {
        // A node that is asked for more than it knows finds out, so that it can answer the next time.
        let place = attempts.partition_point(|attempt| rank(attempt.at) == Rank::Member);
        attempts.insert(place, attempt(*at, false));
    }
    let mut waiting = match consistency {
        // There is nothing to wait for.
        ReadConsistency::Eventual => later,
        _ => turns,
    };
    if matches!(consistency, ReadConsistency::Session(_)) {
        waiting.sort_by_key(|at| (rank(*at), advanced(*at)));
    }
    attempts.extend(waiting.into_iter().map(|at| attempt(at, true)));
    attempts
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::leader_follower::SessionToken;

    fn candidate(health: Health, applied_sequence: u64, chosen: u64) -> Candidate {
        let staleness = Some(Duration::from_millis(100));
        Candidate { status: NodeStatus { health, applied_sequence, staleness, ..Default::default() }, chosen }
    }

    fn leading(applied_sequence: u64) -> Candidate {
        let mut leader = candidate(Health::Healthy, applied_sequence, 0);
        (leader.status.is_leader, leader.status.staleness) = (true, Some(Duration::ZERO));
        leader
    }

    fn order(candidates: &[Candidate], consistency: ReadConsistency, routing: Routing) -> Vec<(usize, bool)> {
        let attempts = route(candidates, consistency, routing, LeaderReads::Fallback);
        attempts.iter().map(|attempt| (attempt.at, attempt.waits)).collect()
    }

    #[test]
    fn whoever_was_not_chosen_for_longest_is_first_and_the_leader_comes_before_those_that_are_not_heard() {
        let nodes = [
            leading(9),
            candidate(Health::Unknown, 9, 0),
            candidate(Health::Lagging, 3, 2),
            candidate(Health::Healthy, 8, 1),
            candidate(Health::Desynced, 0, 0),
        ];
        let eventual = order(&nodes, ReadConsistency::Eventual, Routing::RoundRobin);
        assert_eq!(eventual, [(3, false), (2, false), (0, false), (1, false), (4, true)]);
    }

    #[test]
    fn those_that_have_what_a_session_has_seen_are_first_and_only_then_is_waited() {
        let nodes = [leading(9), candidate(Health::Healthy, 3, 0), candidate(Health::Healthy, 8, 1)];
        let token = SessionToken { index: 9, term: 1 };
        let session = order(&nodes, ReadConsistency::Session(token), Routing::RoundRobin);
        assert_eq!(session, [(0, false), (2, true), (1, true), (0, true)]);
        let token = SessionToken { index: 4, term: 1 };
        let session = order(&nodes, ReadConsistency::Session(token), Routing::RoundRobin);
        assert_eq!(session[..2], [(2, false), (0, false)]);
    }

    #[test]
    fn one_that_is_too_stale_is_asked_all_the_same_before_the_leader_so_that_it_finds_out() {
        let nodes = [leading(9), candidate(Health::Healthy, 9, 3), candidate(Health::Healthy, 9, 2)];
        let bound = ReadConsistency::BoundedStaleness(Duration::from_millis(50));
        let bounded = order(&nodes, bound, Routing::RoundRobin);
        assert_eq!(bounded, [(2, false), (0, false), (2, true), (1, true), (0, true)]);
    }

    #[test]
    fn the_most_advanced_is_first_where_that_is_asked_for_and_equals_take_turns() {
        let nodes = [
            candidate(Health::Healthy, 5, 0),
            candidate(Health::Healthy, 7, 2),
            candidate(Health::Healthy, 7, 1),
        ];
        let eventual = order(&nodes, ReadConsistency::Eventual, Routing::LeastLag);
        assert_eq!(eventual, [(2, false), (1, false), (0, false)]);
    }

    #[test]
    fn a_leader_that_takes_part_takes_its_turn() {
        let nodes = [leading(9), candidate(Health::Healthy, 9, 1)];
        let attempts = route(&nodes, ReadConsistency::Eventual, Routing::RoundRobin, LeaderReads::TakesPart);
        assert_eq!(attempts[0], Attempt { at: 0, waits: false, is_fallback: false });
    }
}
