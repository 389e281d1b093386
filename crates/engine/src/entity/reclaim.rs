//! Tombstones: which a record holds, and the record without those that are no more of use.

use archipelago_clock::{Dot, VersionVector};
use archipelago_conflict::Family;
use archipelago_proto::{Body, Record, Version};

/// The writes of which the record holds a tombstone that may be reclaimed once it is stable. A removal among siblings with
/// values is part of what people see, and stays until someone resolves it.
pub fn tombstones(record: &Record, family: Family) -> impl Iterator<Item = &Dot> + Clone {
    let is_reclaimable = is_reclaimable(record, family);
    let versions = record.versions.iter().filter(move |version| is_reclaimable && holds_tombstone(version));
    versions.map(|version| &version.dot)
}

/// The record without the tombstones that `floor` covers.
pub(crate) fn reclaim(record: &Record, floor: &VersionVector, family: Family) -> Record {
    let mut record = record.clone();
    if is_reclaimable(&record, family) {
        record.versions.retain_mut(|version| {
            let is_below = floor.contains(&version.dot);
            match &mut version.body {
                Body::Tombstone => !is_below,
                Body::Whole(_) => true,
                Body::Fields(fields) => {
                    fields.retain(|(_, value)| value.is_some() || !is_below);
                    !fields.is_empty()
                }
            }
        });
    }
    record
}

fn is_reclaimable(record: &Record, family: Family) -> bool {
    family != Family::Siblings || record.versions.iter().all(|version| version.body == Body::Tombstone)
}

fn holds_tombstone(version: &Version) -> bool {
    match &version.body {
        Body::Tombstone => true,
        Body::Whole(_) => false,
        Body::Fields(fields) => fields.iter().any(|(_, value)| value.is_none()),
    }
}
