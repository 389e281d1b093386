//! Two candidates under a strategy that keeps siblings.

use archipelago_clock::ClockOrdering;
use archipelago_clock::{Dot, Hlc, Incarnation, ReplicaId};
use archipelago_crdt::Value;

use super::{conflicting, joined_clock};
use crate::{Candidate, ConflictStrategy, Reading, Resolution, Resolved, Sibling, Stamp};

pub(super) fn resolve(strategy: &dyn ConflictStrategy, local: &Candidate, remote: &Candidate) -> Resolved {
    let ordering = local.vector_clock.as_ref().zip(remote.vector_clock.as_ref()).map(|(l, r)| l.compare(r));
    match ordering {
        Some(ClockOrdering::After) => side(local, local, remote, Resolution::Local),
        Some(ClockOrdering::Before) => side(remote, local, remote, Resolution::Remote),
        _ if local == remote => side(local, local, remote, Resolution::Local),
        _ => concurrent(strategy, local, remote),
    }
}

fn concurrent(strategy: &dyn ConflictStrategy, local: &Candidate, remote: &Candidate) -> Resolved {
    let (greatest, resolution) =
        if local.rank() >= remote.rank() { (local, Resolution::Local) } else { (remote, Resolution::Remote) };
    // In an order that does not depend on which side is local.
    let (first, second) =
        if node_order(local) <= node_order(remote) { (local, remote) } else { (remote, local) };
    match strategy.read(&[sibling(first, 1), sibling(second, 2)]) {
        Reading::Greatest => side(greatest, local, remote, resolution),
        Reading::All => side(greatest, local, remote, Resolution::Merged),
        Reading::Computed(value) => {
            let value = value.unwrap_or(Value::Null);
            Resolved { value, ..side(greatest, local, remote, Resolution::Custom) }
        }
    }
}

fn node_order(candidate: &Candidate) -> (&str, u64, &Value) {
    (&candidate.node_id, candidate.timestamp, &candidate.value)
}

/// A candidate as the strategy sees it. Node ids that are no replica names are told apart by their place alone.
fn sibling(candidate: &Candidate, place: u64) -> Sibling {
    let replica = ReplicaId::new(&candidate.node_id, Incarnation::from_bits(place));
    let replica = replica.or_else(|_| ReplicaId::new("node", Incarnation::from_bits(place)));
    let dot = Dot::new(replica.expect("a legal name"), place);
    let stamp = Stamp::new(Hlc::from_bits(candidate.timestamp), dot);
    Sibling { stamp, value: Some(candidate.value.clone()) }
}

fn side(chosen: &Candidate, local: &Candidate, remote: &Candidate, resolution: Resolution) -> Resolved {
    Resolved {
        value: chosen.value.clone(),
        resolution,
        conflicting: conflicting(local, remote),
        stamp: chosen.stamp(),
        vector_clock: joined_clock(local, remote),
        record: None,
    }
}
