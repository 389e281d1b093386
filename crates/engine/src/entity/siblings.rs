//! What a reader sees of concurrent siblings.

use archipelago_conflict::{ConflictStrategy, Reading, Sibling, Stamp};
use archipelago_crdt::Value;
use archipelago_proto::{Limits, Record, Version, decode_value, encode_value};
use bytes::Bytes;

use super::{Visible, whole};

/// The visible value of two or more siblings, as `strategy` reads them.
pub(super) fn visible(record: &Record, strategy: &dyn ConflictStrategy, limits: &Limits) -> Option<Visible> {
    let greatest = record.versions.iter().max_by_key(|version| (version.hlc, &version.dot))?;
    let value = match &record.versions[..] {
        [_] => whole::value(&greatest.body),
        versions => match strategy.read(&siblings(versions, limits)) {
            Reading::Greatest | Reading::All => whole::value(&greatest.body),
            // A value over the limits could not be written either; the greatest stands in for it.
            Reading::Computed(Some(value)) => {
                encode_value(&value, limits).ok().or_else(|| whole::value(&greatest.body))
            }
            Reading::Computed(None) => None,
        },
    };
    value.map(|value| Visible { value, dot: greatest.dot.clone(), hlc: greatest.hlc })
}

/// Versions as a strategy sees them: in order of dot, which is the same everywhere.
fn siblings(versions: &[Version], limits: &Limits) -> Vec<Sibling> {
    let sibling = |version: &Version| Sibling {
        stamp: Stamp::new(version.hlc, version.dot.clone()),
        value: whole::value(&version.body).map(|value| shown(&value, limits)),
    };
    versions.iter().map(sibling).collect()
}

/// Bytes that are no value are shown as bytes.
fn shown(value: &Bytes, limits: &Limits) -> Value {
    decode_value(value, &limits.for_state()).unwrap_or_else(|_| Value::Bytes(value.to_vec()))
}
