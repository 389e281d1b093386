//! No effect is lost, and none comes twice: a counter is the sum of what was added, a set holds what was put in.

use std::collections::BTreeSet;

use archipelago_clock::ReplicaId;
use archipelago_crdt::{GSet, PnCounter};
use archipelago_proto::EntityId;

use super::Broken;
use crate::simulation::{
    Ledger,
    ledger::{Deed, Entry},
    view::{self, IslandView},
    world::{COUNTER, SET},
};

/// An update counts if the replica that admitted it had applied the removal that wins. Where that was reclaimed, later
/// ones may count that did not know of it.
pub(super) fn check(
    island: &IslandView<'_>,
    entity: &EntityId,
    writes: &[&Entry],
    ledger: &Ledger,
) -> Result<(), Broken> {
    let removal = writes.iter().filter(|write| write.deed == Deed::Delete).max_by_key(|write| write.stamp());
    let counts = |write: &Entry| removal.is_none_or(|removal| write.followed(removal));
    let is_reclaimed = removal.is_some_and(|removal| removal.is_in(island.floor()));
    if removal.is_some_and(|removal| removal.is_renamed()) {
        // Under its other name it is a removal that nobody had seen.
        return Ok(());
    }
    // An update says all that its author had seen of the CRDT. Under a new name it may be the only one that does.
    let vector = island.vector();
    let is_carried = |write: &&Entry| {
        let mut anew = writes.iter().filter(|other| other.is_anew_in(vector));
        !write.is_in(vector) && anew.any(|other| other.saw(write))
    };
    let carried: Vec<&Entry> = ledger.of(entity).filter(is_carried).collect();
    let visible = island.visible(entity);
    let read = visible.as_ref();

    let added = |write: &Entry| if let Deed::Increment(by) = write.deed { i128::from(by) } else { 0 };
    // What copies of one store counted under one name is the greater of the two, not the sum.
    let is_certain = !writes.iter().any(|write| write.is_shared && matches!(write.deed, Deed::Increment(_)));
    let counter: Option<PnCounter<ReplicaId>> =
        read.and_then(|value| view::field(value, COUNTER, island.limits));
    let counted = counter.map_or(0, |counter| counter.value());
    let least: i128 = writes.iter().filter(|write| counts(write)).map(|write| added(write)).sum();
    let most: i128 = writes.iter().map(|write| added(write)).sum();
    let most = if is_reclaimed { most } else { least };
    let most = most + carried.iter().map(|write| added(write)).sum::<i128>();
    if is_certain && !(least..=most).contains(&counted) {
        return Err((
            "counters",
            format!("the counter is {counted}, and what was added makes {least} to {most}"),
        ));
    }

    let set: Option<GSet<u64>> = read.and_then(|value| view::field(value, SET, island.limits));
    let held: BTreeSet<u64> = set.map(|set| set.iter().copied().collect()).unwrap_or_default();
    let put = writes.iter().filter(|write| write.deed == Deed::Insert);
    for write in put.clone().filter(|write| counts(write)) {
        if !held.contains(&write.value) {
            return Err(("counters", format!("#{} was put into the set, and is not there", write.value)));
        }
    }
    let may_be_held = put.filter(|write| is_reclaimed || counts(write)).chain(&carried);
    let may_be_held: BTreeSet<u64> = may_be_held.map(|write| write.value).collect();
    match held.iter().find(|number| !may_be_held.contains(number)) {
        Some(number) => Err(("counters", format!("#{number} is in the set, and should not be"))),
        None => Ok(()),
    }
}
