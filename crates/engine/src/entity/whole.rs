//! Entities that are written as a whole: last writer wins, and siblings.

use std::collections::BTreeMap;

use archipelago_conflict::ConflictStrategy;
use archipelago_proto::{
    Body, DecodeError, Event, FieldName, Limits, Record, Version, join_fields, split_fields,
};
use bytes::Bytes;

use super::{Clash, clash, contender, insert, superseded, whole_value};
use crate::mutated;

/// What stays of concurrent versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// The one with the greatest stamp: last writer wins.
    Greatest,
    /// All of them.
    Siblings,
}

/// What the body of a version is as a whole.
pub(super) fn value(body: &Body) -> Option<Bytes> {
    match body {
        Body::Tombstone => None,
        Body::Whole(value) => Some(value.clone()),
        Body::Fields(fields) => Some(super::view::assemble(fields)),
    }
}

pub(super) fn place(record: &mut Record, event: &Event, keep: Keep) -> Vec<Clash> {
    record.versions.retain(|version| !superseded(event, &version.dot, version.body == Body::Tombstone));
    let arriving = whole_value(&event.op);
    let clashes = record
        .versions
        .iter()
        .map(|version| clash(None, contender(version, value(&version.body)), event, arriving.clone()))
        .collect();
    if mutated!(LastArrivalWins) && keep == Keep::Greatest {
        record.versions.clear();
    }
    let body = arriving.map_or(Body::Tombstone, Body::Whole);
    insert(record, Version { dot: event.dot.clone(), hlc: event.hlc, body });
    if keep == Keep::Greatest {
        keep_greatest(&mut record.versions);
    }
    clashes
}

/// Leaves the version with the greatest stamp.
pub(super) fn keep_greatest(versions: &mut Vec<Version>) {
    let stamps = versions.iter().map(|version| (version.hlc, &version.dot)).enumerate();
    if let Some((greatest, _)) = stamps.max_by_key(|(_, stamp)| *stamp) {
        versions.swap(0, greatest);
        versions.truncate(1);
    }
}

/// The visible value of `record` with some fields set and others removed.
///
/// # Errors
/// [`DecodeError::Malformed`] if the visible value is not a map; [`DecodeError::OverLimit`] if the result is too large.
pub(crate) fn patched(
    record: &Record,
    changes: Vec<(FieldName, Option<Bytes>)>,
    strategy: &dyn ConflictStrategy,
    limits: &Limits,
) -> Result<Bytes, DecodeError> {
    let fields = match super::visible(record, strategy, limits) {
        None => Vec::new(),
        Some(visible) => split_fields(&visible.value, limits)?
            .ok_or_else(|| crate::write::malformed("a patch", "the value that it changes is not a map"))?,
    };
    let mut fields: BTreeMap<FieldName, Bytes> = fields.into_iter().collect();
    for (name, value) in changes {
        match value {
            Some(value) => fields.insert(name, value),
            None => fields.remove(&name),
        };
    }
    let value = join_fields(fields.iter().map(|(name, value)| (&**name, &value[..])));
    archipelago_proto::check_value(&value, limits)?;
    Ok(value)
}
