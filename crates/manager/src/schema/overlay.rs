use std::collections::BTreeMap;

use archipelago_proto::{FieldName, Limits, split_fields};
use bytes::Bytes;

use super::mark::joined;

/// The stored value with the difference of `after` from `before` applied: what a program sees of the stored value before
/// and after its change. What it does not see stays, and what it did not change stays byte by byte.
///
/// Maps are compared field by field, also within one another; everything else is replaced as a whole, lists and CRDTs
/// too.
pub(super) fn overlay(stored: &Bytes, before: &Bytes, after: &Bytes, limits: &Limits) -> Bytes {
    if before == after {
        return stored.clone();
    }
    let limits = limits.for_state();
    let fields = |value: &Bytes| split_fields(value, &limits).ok().flatten();
    let (Some(stored), Some(before), Some(after)) = (fields(stored), fields(before), fields(after)) else {
        return after.clone();
    };
    let before: BTreeMap<FieldName, Bytes> = before.into_iter().collect();
    let mut changed: BTreeMap<&FieldName, &Bytes> = after.iter().map(|(name, value)| (name, value)).collect();
    let mut fields = Vec::with_capacity(stored.len());
    for (name, value) in &stored {
        let field = match (before.get(name), changed.remove(name)) {
            (None, None) => Some(value.clone()),
            (Some(_), None) => None,
            (None, Some(new)) => Some(new.clone()),
            (Some(old), Some(new)) => Some(overlay(value, old, new, &limits)),
        };
        fields.extend(field.map(|field| (name.clone(), field)));
    }
    // A field that is not stored and that the program did not change is a default of the program.
    let added =
        after.iter().filter(|(name, value)| changed.contains_key(name) && before.get(name) != Some(value));
    fields.extend(added.cloned());
    joined(&fields)
}
