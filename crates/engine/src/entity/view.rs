//! What a reader sees of a record.

use archipelago_clock::{Dot, Hlc};
use archipelago_conflict::{ConflictStrategy, Family, Join};
use archipelago_proto::{Body, Limits, Record, Slot, join_fields};
use bytes::Bytes;

use super::{crdts, siblings};

/// The visible value of an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visible {
    /// The value, as MessagePack.
    pub value: Bytes,
    /// The newest write that is visible in it.
    pub dot: Dot,
    /// When that was.
    pub hlc: Hlc,
}

/// One live field of a record under field merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldView {
    /// Which field.
    pub slot: Slot,
    /// Its value, as MessagePack.
    pub value: Bytes,
    /// The write that set it.
    pub dot: Dot,
    /// When that was.
    pub hlc: Hlc,
}

/// The empty map, which marks a record without fields.
const EMPTY_MAP: &[u8] = &[0x80];

/// What a reader sees of `record`: of siblings what the strategy reads in them, of fields all together; `None` if the
/// entity was removed or never written.
pub fn visible(record: &Record, strategy: &dyn ConflictStrategy, limits: &Limits) -> Option<Visible> {
    match strategy.family() {
        Family::Joined(Join::Fields | Join::Crdts) => visible_fields(live_fields(record)),
        _ => siblings::visible(record, strategy, limits),
    }
}

fn visible_fields(mut live: Vec<FieldView>) -> Option<Visible> {
    let newest = |fields: &[FieldView]| fields.iter().map(|field| (field.hlc, field.dot.clone())).max();
    let root = live.iter().position(|field| field.slot == Slot::Root).map(|at| live.remove(at));
    match (root, newest(&live)) {
        (None, None) => None,
        // A record that one side made a map and another side something else: the newer side decides.
        (Some(root), fields)
            if fields.as_ref().is_none_or(|newest| {
                root.value != EMPTY_MAP && (root.hlc, &root.dot) > (newest.0, &newest.1)
            }) =>
        {
            Some(Visible { value: root.value, dot: root.dot, hlc: root.hlc })
        }
        (_, Some((hlc, dot))) => {
            live.sort_by(|a, b| a.slot.cmp(&b.slot));
            let fields: Vec<(Slot, Option<Bytes>)> =
                live.into_iter().map(|field| (field.slot, Some(field.value))).collect();
            Some(Visible { value: assemble(&fields), dot, hlc })
        }
        (Some(_), None) => unreachable!("a root without fields was taken above"),
    }
}

/// Every field that has a value.
pub(crate) fn live_fields(record: &Record) -> Vec<FieldView> {
    let mut live = Vec::new();
    for version in &record.versions {
        let view = |slot: &Slot, value: &Bytes| FieldView {
            slot: slot.clone(),
            value: value.clone(),
            dot: version.dot.clone(),
            hlc: version.hlc,
        };
        match &version.body {
            Body::Tombstone => {}
            // Written before the entity was under this strategy.
            Body::Whole(value) => live.push(view(&Slot::Root, value)),
            Body::Fields(fields) => {
                let contents = fields.iter().filter_map(|(slot, value)| Some((slot, value.as_ref()?)));
                let contents = contents.filter(|(_, value)| *value != crdts::ELSEWHERE);
                live.extend(contents.map(|(slot, value)| view(slot, value)));
            }
        }
    }
    live
}

/// The value that consists of these fields; removed ones are left out.
pub(super) fn assemble(fields: &[(Slot, Option<Bytes>)]) -> Bytes {
    let named: Vec<(&str, &[u8])> = fields
        .iter()
        .filter_map(|(slot, value)| match (slot, value) {
            (Slot::Field(name), Some(value)) => Some((&**name, &value[..])),
            _ => None,
        })
        .collect();
    match fields.iter().find(|(slot, _)| *slot == Slot::Root) {
        Some((_, Some(root))) if named.is_empty() => root.clone(),
        _ => join_fields(named.into_iter()),
    }
}

/// True for a content that says only that a newer version of the same field holds it. Nothing to show.
pub fn is_held_elsewhere(content: &[u8]) -> bool {
    content == crdts::ELSEWHERE
}
