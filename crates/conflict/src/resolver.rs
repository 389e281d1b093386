mod siblings;

use std::sync::Arc;

use archipelago_clock::{ClockOrdering, VectorClock};
use archipelago_crdt::Crdt;

use crate::{Candidate, ConflictStrategy, Family, Join, Resolution, Resolved, candidate::shown};

/// Brings two versions of a record together by a [`ConflictStrategy`]; for use on its own, without the rest of
/// Archipelago.
///
/// Which candidate is local and which is remote never decides the value, only how the outcome names it. With
/// [`Resolved::into_candidate`] resolutions chain, and any number of versions gives the same value in any order; with
/// one exception under [`CrdtMerge`](crate::Strategy::CrdtMerge): if a field is a CRDT in some versions and a plain
/// value, removed, or a CRDT of another kind in others, then the stamps of each two decide, and which two meet first
/// shows in how much of the CRDT is left. The replication engine knows what an update had seen, and has no exception.
///
/// Under the joined strategies vector clocks tell conflicts from ordinary updates; they do not decide who wins. If
/// they did where they can, and stamps where they cannot, three versions could beat one another in a circle as soon
/// as one node's wall clock is behind, and replicas would disagree. Stamps of a hybrid logical clock agree with
/// vector clocks. Under the strategies that keep siblings, a clock that covers the other decides.
///
/// ```
/// use archipelago_conflict::{Candidate, ConflictResolver, Resolution, Strategy};
///
/// let resolver = ConflictResolver::new(Strategy::Lww);
/// let resolved = resolver.resolve(&Candidate::new("Alice", 1000, "us"), &Candidate::new("Bob", 2000, "eu"));
/// assert_eq!(resolved.value.as_text(), Some("Bob"));
/// assert_eq!(resolved.resolution, Resolution::Remote);
/// ```
#[derive(Clone, Debug)]
pub struct ConflictResolver {
    strategy: Arc<dyn ConflictStrategy>,
}

impl ConflictResolver {
    /// A resolver that goes by `strategy`: a [`Strategy`](crate::Strategy), a [`Custom`](crate::Custom), or another.
    pub fn new(strategy: impl ConflictStrategy) -> Self {
        ConflictResolver { strategy: Arc::new(strategy) }
    }

    /// What it goes by.
    pub fn strategy(&self) -> &dyn ConflictStrategy {
        &*self.strategy
    }

    /// The one version that follows from both.
    ///
    /// The strategies that keep siblings go by vector clocks: the side whose clock covers the other's is the outcome.
    /// If they are concurrent, or one is missing, the outcome is the strategy's reading of both:
    /// [`Custom`](Resolution::Custom) if it computed a value, [`Merged`](Resolution::Merged) if both versions stay
    /// readable, and otherwise the side with the greater stamp.
    pub fn resolve(&self, local: &Candidate, remote: &Candidate) -> Resolved {
        match self.strategy.family() {
            Family::Joined(Join::Whole) => last_writer_wins(local, remote),
            Family::Joined(join @ (Join::Fields | Join::Crdts)) => field_merge(local, remote, join),
            Family::Siblings => siblings::resolve(&*self.strategy, local, remote),
        }
    }
}

fn last_writer_wins(local: &Candidate, remote: &Candidate) -> Resolved {
    let (winner, resolution) =
        if local.rank() >= remote.rank() { (local, Resolution::Local) } else { (remote, Resolution::Remote) };
    Resolved {
        value: winner.value.clone(),
        resolution,
        conflicting: conflicting(local, remote),
        stamp: winner.stamp(),
        vector_clock: joined_clock(local, remote),
        // The fields have no history of their own: the winner is one write.
        record: None,
    }
}

fn field_merge(local: &Candidate, remote: &Candidate, join: Join) -> Resolved {
    let (ours, theirs) = (local.stamped(), remote.stamped());
    let mut merged = ours.clone();
    merged.merge(&theirs);
    if join == Join::Crdts {
        merged.join_crdts(&ours, &theirs);
    }
    let resolution = if merged == ours {
        Resolution::Local
    } else if merged == theirs {
        Resolution::Remote
    } else {
        Resolution::Merged
    };
    Resolved {
        value: shown(&merged),
        resolution,
        conflicting: conflicting(local, remote),
        stamp: local.stamp().max(remote.stamp()),
        vector_clock: joined_clock(local, remote),
        record: Some(merged),
    }
}

fn conflicting(local: &Candidate, remote: &Candidate) -> Vec<Candidate> {
    let ordering = local.vector_clock.as_ref().zip(remote.vector_clock.as_ref()).map(|(l, r)| l.compare(r));
    let one_follows_the_other = matches!(ordering, Some(ClockOrdering::Before | ClockOrdering::After));
    if one_follows_the_other || local == remote { Vec::new() } else { vec![local.clone(), remote.clone()] }
}

fn joined_clock(local: &Candidate, remote: &Candidate) -> Option<VectorClock<String>> {
    let (mut joined, theirs) = (local.vector_clock.clone()?, remote.vector_clock.as_ref()?);
    joined.merge(theirs);
    Some(joined)
}

#[cfg(test)]
mod tests;
