//! Two states of one entity become one, each with what its holder has applied: how repair works without events.
//!
//! A version that one side holds and the other does not was either not seen there, or superseded there. So what is live
//! on one side stays if the other side holds it too or has not seen it; and what stays is joined as the strategy joins
//! it when events arrive. Under field merge and CRDT merge that goes for each field of a version by itself.
//!
//! Source: the join of causal contexts in Almeida, Shoker, Baquero: "Delta State Replicated Data Types" (2018), with one
//! context for all entities of a replica.

use std::collections::{BTreeMap, BTreeSet};

use archipelago_clock::{Dot, Hlc, VersionVector};
use archipelago_conflict::{Family, Join};
use archipelago_proto::{Body, Record, Slot, Version};
use bytes::Bytes;

use super::{
    crdts::{self, ELSEWHERE, is_update},
    whole::keep_greatest,
};
use crate::mutated;

/// What one replica holds of an entity.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side<'a> {
    /// Its live versions.
    pub(crate) record: &'a Record,
    /// All that the replica has applied.
    pub(crate) seen: &'a VersionVector,
}

/// The state of an entity after all that either side has applied.
pub(crate) fn merge(one: Side<'_>, other: Side<'_>, family: Family) -> Record {
    match family {
        Family::Joined(join @ (Join::Fields | Join::Crdts)) => Slots::merged(one, other, join).into_record(),
        Family::Joined(_) => {
            let mut versions = whole_versions(one, other);
            keep_greatest(&mut versions);
            Record { versions }
        }
        Family::Siblings => Record { versions: whole_versions(one, other) },
    }
}

/// The record in the one form that it has, whoever made it of whatever: its writes went by other names before.
pub(crate) fn in_one_form(record: &Record, seen: &VersionVector, family: Family) -> Record {
    let side = Side { record, seen };
    merge(side, side, family)
}

impl Side<'_> {
    fn version(&self, dot: &Dot) -> Option<&Version> {
        self.record.versions.iter().find(|version| version.dot == *dot)
    }

    /// Whether this side agrees that a version of the other side, as `holds` finds it here, is still live.
    fn leaves(&self, dot: &Dot, holds: impl FnOnce(&Version) -> bool) -> bool {
        !self.seen.contains(dot) || self.version(dot).is_some_and(holds) || mutated!(TakeBackSuperseded)
    }
}

/// The versions that stay, as wholes, by dot.
fn whole_versions(one: Side<'_>, other: Side<'_>) -> Vec<Version> {
    let left = one.record.versions.iter().filter(|version| other.leaves(&version.dot, |_| true));
    let mut versions: Vec<Version> = left.cloned().collect();
    versions.sort_by(|one, other| one.dot.cmp(&other.dot));
    for version in other.record.versions.iter().filter(|version| one.leaves(&version.dot, |_| true)) {
        match versions.binary_search_by(|known| known.dot.cmp(&version.dot)) {
            Ok(at) => versions[at] = version.clone(),
            Err(at) => versions.insert(at, version.clone()),
        }
    }
    versions
}

/// A write by its stamp, by which plain writes contend.
type Written = (Hlc, Dot);

/// The state of an entity slot by slot.
#[derive(Default)]
struct Slots {
    /// Removals of the entity, of which the greatest counts.
    tombstone: Option<Written>,
    /// Whole values, from before the entity was under this strategy.
    wholes: Vec<Version>,
    slots: BTreeMap<Slot, Contents>,
}

/// What stands in one slot.
#[derive(Default)]
struct Contents {
    /// The plain write with the greatest stamp, and what it holds.
    plain: Option<(Written, Option<Bytes>)>,
    /// The updates of a CRDT that are live.
    updates: BTreeSet<Written>,
    /// What all updates that count say together.
    joined: Option<Bytes>,
}

impl Slots {
    fn merged(one: Side<'_>, other: Side<'_>, join: Join) -> Slots {
        let mut slots = Slots::default();
        let pairs = [(one, other), (other, one)];
        // Plain writes first: they decide which updates count.
        for (holder, against) in pairs {
            for version in &holder.record.versions {
                slots.take_plain(version, against, join);
            }
        }
        let tombstone = slots.tombstone.clone();
        for contents in slots.slots.values_mut() {
            contents
                .plain
                .take_if(|(written, _)| tombstone.as_ref().is_some_and(|removed| removed > written));
        }
        for (holder, against) in pairs.into_iter().filter(|_| join == Join::Crdts) {
            slots.take_updates(holder, against);
        }
        slots
    }

    fn take_plain(&mut self, version: &Version, against: Side<'_>, join: Join) {
        let is_plain = |content: &Option<Bytes>| join == Join::Fields || !is_update(content.as_ref());
        let written = (version.hlc, version.dot.clone());
        match &version.body {
            Body::Tombstone => {
                if against.leaves(&version.dot, |held| held.body == Body::Tombstone) {
                    self.tombstone = self.tombstone.take().max(Some(written));
                }
            }
            Body::Whole(_) => {
                let known = self.wholes.iter().any(|whole| whole.dot == version.dot);
                if !known && against.leaves(&version.dot, |_| true) {
                    self.wholes.push(version.clone());
                }
            }
            Body::Fields(fields) => {
                for (slot, content) in fields.iter().filter(|(_, content)| is_plain(content)) {
                    if against.leaves(&version.dot, |held| crdts::content(held, slot).is_some()) {
                        self.slots.entry(slot.clone()).or_default().meet(&written, content);
                    }
                }
            }
        }
    }

    fn take_updates(&mut self, holder: Side<'_>, against: Side<'_>) {
        let stays = |version: &Version, slot: &Slot| {
            against.leaves(&version.dot, |held| crdts::content(held, slot).is_some())
        };
        // What the updates of a slot say together stands in one place. If none of them is live on the other side, it is part
        // of what is said there, or was removed there, and the removal may be gone.
        let stay: BTreeSet<&Slot> = updates(holder.record)
            .filter(|(version, slot, _)| stays(version, slot))
            .map(|(_, slot, _)| slot)
            .collect();
        for (version, slot, update) in updates(holder.record) {
            if !stay.contains(slot) && !mutated!(KeepRemovedContent) {
                continue;
            }
            let contents = self.slots.entry(slot.clone()).or_default();
            let plain = contents.plain.as_ref().map(|(written, _)| written);
            // An update counts if whoever admitted it had applied the plain write that wins: every update of a side that
            // has it, and none of a side that has not.
            if plain.max(self.tombstone.as_ref()).is_some_and(|(_, dot)| !holder.seen.contains(dot)) {
                continue;
            }
            contents.joined = Some(match contents.joined.take() {
                Some(joined) => crdts::join(&joined, update),
                None => update.clone(),
            });
            if stays(version, slot) {
                contents.updates.insert((version.hlc, version.dot.clone()));
            }
        }
    }

    fn into_record(self) -> Record {
        let mut versions: BTreeMap<Dot, Version> = BTreeMap::new();
        versions.extend(self.wholes.into_iter().map(|whole| (whole.dot.clone(), whole)));
        if let Some((hlc, dot)) = self.tombstone {
            versions.insert(dot.clone(), Version { dot, hlc, body: Body::Tombstone });
        }
        let mut put = |(hlc, dot): Written, slot: Slot, content: Option<Bytes>| {
            let empty = Version { dot: dot.clone(), hlc, body: Body::Fields(Vec::new()) };
            if let Body::Fields(fields) = &mut versions.entry(dot).or_insert(empty).body {
                fields.push((slot, content));
            }
        };
        for (slot, Contents { plain, mut updates, joined }) in self.slots {
            let newest = updates.pop_last();
            if let Some((written, content)) = plain {
                // Beside updates it stays, as a removal by now, to meet those that had not seen it.
                put(written, slot.clone(), content);
            }
            if let Some(newest) = newest {
                put(newest, slot.clone(), joined);
                for written in updates {
                    put(written, slot.clone(), Some(Bytes::from_static(ELSEWHERE)));
                }
            }
        }
        Record { versions: versions.into_values().collect() }
    }
}

/// Every update of a CRDT in the record, and where it is.
fn updates(record: &Record) -> impl Iterator<Item = (&Version, &Slot, &Bytes)> {
    record.versions.iter().flat_map(|version| {
        let fields = if let Body::Fields(fields) = &version.body { &fields[..] } else { &[] };
        let updates = fields.iter().filter(|(_, content)| is_update(content.as_ref()));
        updates.filter_map(move |(slot, content)| Some((version, slot, content.as_ref()?)))
    })
}

impl Contents {
    fn meet(&mut self, written: &Written, content: &Option<Bytes>) {
        match &mut self.plain {
            Some((standing, _)) if *standing > *written => {}
            // Both sides hold it; where updates came upon it, it holds nothing any more.
            Some((standing, held)) if standing == written => {
                held.take_if(|_| content.is_none());
            }
            plain => *plain = Some((written.clone(), content.clone())),
        }
    }
}
