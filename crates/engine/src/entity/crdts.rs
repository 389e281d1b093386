//! CRDT merge: fields that are CRDTs join, the others are last-writer-wins registers as under field merge.
//!
//! A write of a field is either *plain* (a value or a removal) or an *update* of a CRDT, which says only what is new. Of
//! plain writes the one with the greatest stamp wins, as under field merge, and removing the entity is a plain write of
//! every field. **An update counts if the replica that admitted it had applied the plain write that wins**: it was
//! computed against the state there. So a field is the join of the updates that count, or else what the winning plain
//! write says: removing a counter, or setting it to a number, takes all updates with it that were made without knowing
//! of it, and whoever goes on from there starts anew.
//!
//! What makes that a function of the set of writes, whatever their order: an update that arrives finds the winner of
//! all plain writes before it, and a plain write that arrives finds no update that could have known of it. The winner stays
//! beside the updates as a removal, until it is causally stable, to meet those that arrive late.
//!
//! The updates of a slot that count are stored joined, once: in the version of the newest of those that are live. An
//! update is live until another one comes whose author had seen it; the other live ones hold [`ELSEWHERE`] in place of
//! a content. Almost always there is one.
//!
//! The join of updates is that of Almeida, Shoker, Baquero: "Delta State Replicated Data Types" (2018); the reset by a
//! plain write is the lexicographic product of its section 7, with the stamp of the plain write first.

use std::collections::BTreeSet;

use archipelago_crdt::dynamic::{self, DynamicError};
use archipelago_proto::{Body, Event, Limits, Op, Record, Slot, Version};
use bytes::Bytes;

use super::{
    Clash, Contender, beats, clash, contender,
    fields::{Fields, as_fields, together},
    insert, superseded,
};

pub(super) fn place(record: &mut Record, event: &Event, limits: &Limits) -> Vec<Clash> {
    let mut clashes = Vec::new();
    match &event.op {
        Op::Delete => place_delete(record, event, &mut clashes),
        Op::Patch(fields) => place_fields(record, event, fields.clone(), &mut clashes),
        Op::Put(value) => place_fields(record, event, as_fields(value, limits), &mut clashes),
    }
    record.versions.retain(|version| version.body != Body::Fields(Vec::new()));
    clashes
}

/// Stands for a live update of which a newer version of the same slot holds what it says: the extension of CRDTs
/// without a payload. Stored, never sent.
pub(super) const ELSEWHERE: &[u8] = &[0xc7, 0, dynamic_extension_type()];

const fn dynamic_extension_type() -> u8 {
    archipelago_crdt::EXTENSION_TYPE.cast_unsigned()
}

/// True for an update of a CRDT; every other content is plain.
pub(super) fn is_update(content: Option<&Bytes>) -> bool {
    content.is_some_and(|content| dynamic::is_crdt(content) || content == ELSEWHERE)
}

/// Whether an operation has an update of a CRDT of which only a newer build knows the kind.
pub(crate) fn has_unknown_crdt(op: &Op, limits: &Limits) -> bool {
    match op {
        Op::Delete => false,
        Op::Patch(fields) => are_unknown(fields),
        Op::Put(value) => are_unknown(&as_fields(value, limits)),
    }
}

/// Whether a record has such an update.
pub(crate) fn holds_unknown_crdt(record: &Record) -> bool {
    record.versions.iter().any(|version| match &version.body {
        Body::Fields(fields) => are_unknown(fields),
        Body::Tombstone | Body::Whole(_) => false,
    })
}

fn are_unknown(fields: &[(Slot, Option<Bytes>)]) -> bool {
    fields.iter().filter_map(|(_, content)| content.as_ref()).any(|content| {
        content != ELSEWHERE
            && dynamic::is_crdt(content)
            && matches!(
                dynamic::kind_of(content),
                Err(DynamicError::UnknownKind { .. } | DynamicError::UnknownVersion { .. })
            )
    })
}

/// What two updates of one slot say together. Of different kinds the greater stays, and of damaged ones the one that
/// is whole: no application writes these, and replicas agree all the same.
pub(super) fn join(one: &Bytes, other: &Bytes) -> Bytes {
    if one == ELSEWHERE || one == other {
        return other.clone();
    }
    if other == ELSEWHERE {
        return one.clone();
    }
    match dynamic::join(one, other) {
        Ok(joined) => joined.into(),
        Err(_) => {
            let rank = |update: &Bytes| (dynamic::normalize(update).is_ok(), dynamic::kind_of(update).ok());
            let greatest = [one, other].into_iter().max_by_key(|update| (rank(update), *update));
            greatest.unwrap_or(one).clone()
        }
    }
}

fn place_fields(record: &mut Record, event: &Event, arriving: Fields, clashes: &mut Vec<Clash>) {
    for version in &record.versions {
        let unseen = version.body == Body::Tombstone && !superseded(event, &version.dot, true);
        if unseen && !arriving.is_empty() {
            let fields = Contender { dot: event.dot.clone(), hlc: event.hlc, value: together(&arriving) };
            clashes.push(removal_clash(contender(version, None), fields, &arriving));
        }
    }
    let placed: Fields = arriving
        .into_iter()
        .filter_map(|(slot, content)| {
            let content = match content {
                Some(update) if is_update(Some(&update)) => {
                    Some(place_update(record, event, &slot, update, clashes)?)
                }
                plain => place_plain(record, event, &slot, plain, clashes)?,
            };
            Some((slot, content))
        })
        .collect();
    insert(record, Version { dot: event.dot.clone(), hlc: event.hlc, body: Body::Fields(placed) });
}

/// A plain write of one slot meets what stands there. Gives it back if it wins; then nothing else stands there.
fn place_plain(
    record: &mut Record,
    event: &Event,
    slot: &Slot,
    arriving: Option<Bytes>,
    clashes: &mut Vec<Clash>,
) -> Option<Option<Bytes>> {
    let mut loses = false;
    for version in &record.versions {
        let standing = match &version.body {
            Body::Tombstone => None,
            _ => match content(version, slot) {
                Some(standing) => standing.clone(),
                None => continue,
            },
        };
        if !superseded(event, &version.dot, standing.is_none()) {
            loses |= !is_update(standing.as_ref()) && beats(version.hlc, &version.dot, event);
            if version.body != Body::Tombstone {
                clashes.push(plain_clash(slot, contender(version, standing), event, arriving.clone()));
            }
        }
    }
    if loses {
        return None;
    }
    for version in &mut record.versions {
        take(version, slot);
    }
    Some(arriving)
}

/// An update of one slot meets what stands there. Gives what its version holds, if it counts.
fn place_update(
    record: &mut Record,
    event: &Event,
    slot: &Slot,
    update: Bytes,
    clashes: &mut Vec<Clash>,
) -> Option<Bytes> {
    let plain =
        |version: &Version| content(version, slot).is_some_and(|standing| !is_update(standing.as_ref()));
    for version in &record.versions {
        let concerns = match &version.body {
            // A removal of the entity that a later plain write of the slot has beaten is none of its business.
            Body::Tombstone => !record.versions.iter().any(|other| plain(other) && after(other, version)),
            _ => plain(version),
        };
        if concerns && !event.deps_contain(&version.dot) {
            if let Some(standing) = content(version, slot) {
                let winner = contender(version, standing.clone());
                let loser = Contender { dot: event.dot.clone(), hlc: event.hlc, value: Some(update) };
                clashes.push(Clash { field: Some(slot.clone()), winner, loser });
            }
            return None;
        }
    }
    let (mut joined, mut newest) = (update, (event.hlc, event.dot.clone()));
    for version in &mut record.versions {
        let (this, seen) = ((version.hlc, version.dot.clone()), event.context_contains(&version.dot));
        let Some(standing) = content_mut(version, slot) else { continue };
        match standing {
            Some(known) if is_update(Some(known)) => {
                joined = join(known, &joined);
                match seen {
                    true => take(version, slot),
                    false => {
                        *known = Bytes::from_static(ELSEWHERE);
                        newest = newest.max(this);
                    }
                }
            }
            // It stays to meet the updates that had not seen it.
            plain => *plain = None,
        }
    }
    if newest.1 == event.dot {
        return Some(joined);
    }
    for version in record.versions.iter_mut().filter(|version| version.dot == newest.1) {
        if let Some(holder) = content_mut(version, slot) {
            *holder = Some(joined.clone());
        }
    }
    Some(Bytes::from_static(ELSEWHERE))
}

fn place_delete(record: &mut Record, event: &Event, clashes: &mut Vec<Clash>) {
    // Slots whose last plain write is later: what counts there has seen that one.
    let mut outlive: BTreeSet<Slot> = BTreeSet::new();
    for version in record.versions.iter().filter(|version| beats(version.hlc, &version.dot, event)) {
        if let Body::Fields(fields) = &version.body {
            let plain = fields.iter().filter(|(_, value)| {
                !is_update(value.as_ref()) && !superseded(event, &version.dot, value.is_none())
            });
            outlive.extend(plain.map(|(slot, _)| slot.clone()));
        }
    }
    // A later removal of the entity is the last plain write of every slot.
    let outlived = record
        .versions
        .iter()
        .any(|version| version.body == Body::Tombstone && beats(version.hlc, &version.dot, event));
    record.versions.retain_mut(|version| {
        let (dot, hlc) = (version.dot.clone(), version.hlc);
        match &mut version.body {
            Body::Tombstone if superseded(event, &dot, true) => false,
            Body::Tombstone => {
                clashes.push(clash(None, contender(version, None), event, None));
                beats(hlc, &dot, event)
            }
            Body::Whole(_) => !event.context_contains(&dot),
            Body::Fields(fields) => {
                let unseen: Fields = fields
                    .iter()
                    .filter(|(_, value)| !superseded(event, &dot, value.is_none()))
                    .cloned()
                    .collect();
                if !unseen.is_empty() {
                    let standing = Contender { dot: dot.clone(), hlc, value: together(&unseen) };
                    let removal = Contender { dot: event.dot.clone(), hlc: event.hlc, value: None };
                    clashes.push(removal_clash(removal, standing, &unseen));
                }
                fields.retain(|(slot, value)| match value {
                    Some(update) if is_update(Some(update)) => outlived || outlive.contains(slot),
                    plain => !superseded(event, &dot, plain.is_none()) && beats(hlc, &dot, event),
                });
                !fields.is_empty()
            }
        }
    });
    if !outlived {
        insert(record, Version { dot: event.dot.clone(), hlc: event.hlc, body: Body::Tombstone });
    }
}

fn after(one: &Version, other: &Version) -> bool {
    (one.hlc, &one.dot) > (other.hlc, &other.dot)
}

/// A plain write of a slot and what it had not seen there: an update loses whatever its stamp.
fn plain_clash(slot: &Slot, standing: Contender, event: &Event, value: Option<Bytes>) -> Clash {
    if is_update(standing.value.as_ref()) {
        let winner = Contender { dot: event.dot.clone(), hlc: event.hlc, value };
        return Clash { field: Some(slot.clone()), winner, loser: standing };
    }
    clash(Some(slot.clone()), standing, event, value)
}

/// A removal of the entity and fields that did not know of each other: updates alone lose whatever their stamp, for all
/// others the stamps decide.
fn removal_clash(removal: Contender, standing: Contender, fields: &Fields) -> Clash {
    let only_updates = fields.iter().all(|(_, value)| is_update(value.as_ref()));
    let removal_wins = only_updates || (removal.hlc, &removal.dot) > (standing.hlc, &standing.dot);
    let (winner, loser) = if removal_wins { (removal, standing) } else { (standing, removal) };
    Clash { field: None, winner, loser }
}

/// What the version says of the slot.
pub(super) fn content<'v>(version: &'v Version, slot: &Slot) -> Option<&'v Option<Bytes>> {
    let Body::Fields(fields) = &version.body else { return None };
    let at = fields.binary_search_by(|(other, _)| other.cmp(slot)).ok()?;
    Some(&fields[at].1)
}

fn content_mut<'v>(version: &'v mut Version, slot: &Slot) -> Option<&'v mut Option<Bytes>> {
    let Body::Fields(fields) = &mut version.body else { return None };
    let at = fields.binary_search_by(|(other, _)| other.cmp(slot)).ok()?;
    Some(&mut fields[at].1)
}

/// Removes what the version says of the slot.
fn take(version: &mut Version, slot: &Slot) {
    if let Body::Fields(fields) = &mut version.body
        && let Ok(at) = fields.binary_search_by(|(other, _)| other.cmp(slot))
    {
        fields.remove(at);
    }
}
