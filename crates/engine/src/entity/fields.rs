//! Field merge: each field at the top of a record is a last-writer-wins register with a stamp of its own.
//!
//! A record that is not a map, or is an empty one, lives in the slot `Root`. Removing the entity is a tombstone that
//! stands beside the fields: it hides every field written before it or concurrently with a lower stamp, also those
//! that arrive later, and goes once it is causally stable.

use archipelago_clock::VersionVector;
use archipelago_conflict::Join;
use archipelago_proto::{Body, Event, Limits, Op, Record, Slot, Version, split_fields};
use bytes::Bytes;

use super::{Clash, beats, clash, contender, crdts, insert, superseded, view};
use crate::mutated;

pub(super) type Fields = Vec<(Slot, Option<Bytes>)>;

pub(super) fn place(record: &mut Record, event: &Event, limits: &Limits) -> Vec<Clash> {
    let mut clashes = Vec::new();
    match &event.op {
        Op::Delete => place_delete(record, event, &mut clashes),
        Op::Patch(fields) => place_fields(record, event, fields.clone(), &mut clashes),
        // From a replica that is configured otherwise: every field it names is set, none is removed.
        Op::Put(value) => place_fields(record, event, as_fields(value, limits), &mut clashes),
    }
    record.versions.retain(|version| version.body != Body::Fields(Vec::new()));
    clashes
}

pub(super) fn as_fields(value: &Bytes, limits: &Limits) -> Fields {
    match split_fields(value, limits) {
        Ok(Some(fields)) if !fields.is_empty() => {
            let mut fields: Fields =
                fields.into_iter().map(|(name, value)| (Slot::Field(name), Some(value))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            fields
        }
        _ => vec![(Slot::Root, Some(value.clone()))],
    }
}

fn place_fields(record: &mut Record, event: &Event, mut arriving: Fields, clashes: &mut Vec<Clash>) {
    for version in &mut record.versions {
        match &mut version.body {
            Body::Tombstone if superseded(event, &version.dot, true) || arriving.is_empty() => {}
            Body::Tombstone => {
                clashes.push(clash(None, contender(version, None), event, together(&arriving)));
                if beats(version.hlc, &version.dot, event) {
                    arriving.clear();
                }
            }
            Body::Fields(_) | Body::Whole(_) => contend(version, event, &mut arriving, clashes),
        }
    }
    let is_beaten = |version: &Version| beats(version.hlc, &version.dot, event);
    if mutated!(WholeRecordStamps) && record.versions.iter().any(is_beaten) {
        arriving.clear();
    }
    let body = Body::Fields(arriving);
    insert(record, Version { dot: event.dot.clone(), hlc: event.hlc, body });
}

/// What fields that clash with a removal of the entity say together; `None` if they only remove.
pub(super) fn together(fields: &Fields) -> Option<Bytes> {
    fields.iter().any(|(_, value)| value.is_some()).then(|| view::assemble(fields))
}

/// Lets the fields of one version and those that arrive contend, slot by slot.
fn contend(version: &mut Version, event: &Event, arriving: &mut Fields, clashes: &mut Vec<Clash>) {
    let (dot, hlc) = (version.dot.clone(), version.hlc);
    let Body::Fields(standing) = &mut version.body else { return };
    standing.retain(|(slot, value)| {
        let Ok(at) = arriving.binary_search_by(|(other, _)| other.cmp(slot)) else { return true };
        if superseded(event, &dot, value.is_none()) {
            return false;
        }
        let stands = beats(hlc, &dot, event);
        let contender = super::Contender { dot: dot.clone(), hlc, value: value.clone() };
        clashes.push(clash(Some(slot.clone()), contender, event, arriving[at].1.clone()));
        if stands {
            arriving.remove(at);
        }
        stands
    });
}

fn place_delete(record: &mut Record, event: &Event, clashes: &mut Vec<Clash>) {
    let mut outlived = false;
    record.versions.retain_mut(|version| {
        let (dot, hlc) = (version.dot.clone(), version.hlc);
        match &mut version.body {
            Body::Tombstone if superseded(event, &dot, true) => false,
            Body::Tombstone => {
                clashes.push(clash(None, contender(version, None), event, None));
                outlived |= beats(hlc, &dot, event);
                beats(hlc, &dot, event)
            }
            Body::Fields(fields) => {
                fields.retain(|(_, value)| !superseded(event, &dot, value.is_none()));
                if fields.is_empty() {
                    return false;
                }
                let standing = super::Contender { dot: dot.clone(), hlc, value: together(fields) };
                clashes.push(clash(None, standing, event, None));
                beats(hlc, &dot, event)
            }
            Body::Whole(_) => !event.context_contains(&dot),
        }
    });
    if !outlived {
        insert(record, Version { dot: event.dot.clone(), hlc: event.hlc, body: Body::Tombstone });
    }
}

/// What a write of `value` changes: the fields that differ from the visible ones, and the visible ones that it lacks
/// and whose write its author had seen (`None` of `context` means all). Fields that are equal are not written again,
/// so that two writers of whole records who change different fields do not clash.
pub(crate) fn difference(
    record: &Record,
    value: &Bytes,
    join: Join,
    context: Option<&VersionVector>,
    limits: &Limits,
) -> Fields {
    let wanted = as_fields(value, limits);
    let standing = view::live_fields(record);
    let mut changes: Fields = wanted
        .iter()
        .filter_map(|(slot, value)| {
            let standing = standing.iter().find(|field| field.slot == *slot);
            Some((slot.clone(), change(value.as_ref(), standing.map(|field| &field.value), join)?))
        })
        .collect();
    for field in standing {
        let seen = context.is_none_or(|context| context.contains(&field.dot));
        if seen && !wanted.iter().any(|(slot, _)| *slot == field.slot) {
            changes.push((field.slot, None));
        }
    }
    changes.sort_by(|a, b| a.0.cmp(&b.0));
    changes
}

/// What must be written for a field to become `wanted`, or `None` if nothing: of a CRDT under CRDT merge only what is
/// new in it.
pub(crate) fn change(wanted: Option<&Bytes>, standing: Option<&Bytes>, join: Join) -> Option<Option<Bytes>> {
    if let (Join::Crdts, Some(new), Some(old)) = (join, wanted, standing)
        && crdts::is_update(Some(new))
        && crdts::is_update(Some(old))
        && let Ok(delta) = archipelago_crdt::dynamic::delta(new, old)
    {
        return delta.map(|delta| Some(Bytes::from(delta)));
    }
    (wanted != standing).then(|| wanted.cloned())
}
