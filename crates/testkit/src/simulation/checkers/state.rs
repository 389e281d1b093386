//! The state is a function of the vector: what a replica shows is what follows from the writes that it has applied.

use archipelago_clock::{Dot, VersionVector};
use archipelago_conflict::{Family, Join};
use archipelago_proto::{Body, EntityId, Record, Slot};

use super::{Broken, counters, tombstones};
use crate::simulation::{
    Ledger,
    ledger::{Deed, Entry},
    view::IslandView,
};

/// Holds an entity against the writes that the replica has applied.
pub(crate) fn check(island: &IslandView<'_>, entity: &EntityId, ledger: &Ledger) -> Result<(), Broken> {
    if ledger.of(entity).any(|write| write.is_ambiguous) {
        // Two writes have one name: what a vector means is not known.
        return Ok(());
    }
    let vector = island.vector();
    let writes: Vec<&Entry> = ledger.of(entity).filter(|write| write.is_in(vector)).collect();
    if writes.iter().any(|write| write.deed == Deed::Other) {
        return Ok(());
    }
    let record = island.record(entity);
    let floor = island.floor();
    match island.strategies().strategy(entity).family() {
        Family::Siblings => siblings(&writes, &record, vector, ledger),
        Family::Joined(Join::Whole) => {
            let shown = record.versions.iter().find(|version| version.body != Body::Tombstone);
            register(&writes, shown.map(|version| &version.dot), floor, ledger)
        }
        Family::Joined(join) => {
            for field in 0..FIELDS {
                let slot = Slot::Field(format!("f{field}").as_str().into());
                let plain = writes.iter().copied().filter(|write| match write.deed {
                    Deed::SetField(name) | Deed::RemoveField(name) => name == field,
                    Deed::Delete => true,
                    _ => false,
                });
                let plain: Vec<&Entry> = plain.collect();
                register(&plain, written(&record, &slot), floor, ledger)?;
            }
            if join == Join::Crdts {
                counters::check(island, entity, &writes, ledger)?;
            }
            Ok(())
        }
    }
    .map_err(|(checker, detail)| (checker, format!("{entity} at {}: {detail}", island.name())))
}

/// How many fields workloads write to.
const FIELDS: u8 = 4;

/// Of a register the write with the greatest stamp is shown.
fn register(
    writes: &[&Entry],
    shown: Option<&Dot>,
    floor: &VersionVector,
    ledger: &Ledger,
) -> Result<(), Broken> {
    let greatest = writes.iter().max_by_key(|write| write.stamp());
    let Some(shown) = shown else {
        return match greatest {
            Some(write) if !is_removal(write) => {
                Err(("state", format!("nothing is shown, and {} was written last", write.dot)))
            }
            _ => Ok(()),
        };
    };
    let Some(shown) = ledger.by_dot(shown) else {
        return Err(("state", format!("{shown} is shown, which nobody wrote")));
    };
    for write in writes.iter().filter(|write| write.hlc > shown.hlc) {
        match is_removal(write) {
            true => tombstones::check(shown, write, floor)?,
            false => {
                let (shown, write) = (&shown.dot, &write.dot);
                return Err(("state", format!("{shown} is shown, and {write} was written later")));
            }
        }
    }
    Ok(())
}

/// Every value is live that no other write had seen.
fn siblings(
    writes: &[&Entry],
    record: &Record,
    vector: &VersionVector,
    ledger: &Ledger,
) -> Result<(), Broken> {
    let is_superseded =
        |write: &Entry| writes.iter().any(|other| other.number != write.number && other.saw(write));
    let live = record.versions.iter().filter(|version| version.body != Body::Tombstone);
    let live = live.map(|version| ledger.by_dot(&version.dot).map(|write| write.number));
    let live: Option<Vec<u64>> = live.collect();
    let Some(mut live) = live else {
        return Err(("state", "a sibling is live that nobody wrote".to_owned()));
    };
    let expected = writes.iter().filter(|write| !is_removal(write) && !is_superseded(write));
    let mut expected: Vec<u64> = expected.map(|write| write.number).collect();
    live.sort_unstable();
    // A write that was known before its replica took another identity may stand beside itself under its new name, and
    // whoever had seen it under one name has not seen it under the other.
    live.dedup();
    // Under another name than its first one a write has superseded what was live where it was given that name, and not what
    // comes back there from the log, until the write itself comes back, too.
    let is_back = |write: &Entry| {
        let mut later = writes.iter().filter(|other| other.number != write.number && other.saw(write));
        later.all(|other| other.is_anew_in(vector))
    };
    let is_excused = |number: &u64| {
        let mut excused = writes.iter().filter(|write| write.is_renamed() || is_back(write));
        excused.any(|write| write.number == *number)
    };
    live.retain(|number| expected.contains(number) || !is_excused(number));
    expected.sort_unstable();
    if live == expected {
        return Ok(());
    }
    let back = live.iter().any(|number| !expected.contains(number));
    let checker = if back { "tombstones" } else { "state" };
    Err((checker, format!("the writes {live:?} are live instead of {expected:?}")))
}

fn is_removal(write: &Entry) -> bool {
    matches!(write.deed, Deed::Delete | Deed::RemoveField(_))
}

/// The write whose value a field has.
fn written<'r>(record: &'r Record, slot: &Slot) -> Option<&'r Dot> {
    record.versions.iter().find_map(|version| match &version.body {
        Body::Fields(fields) => {
            let has = fields.iter().any(|(name, value)| name == slot && value.is_some());
            has.then_some(&version.dot)
        }
        _ => None,
    })
}
