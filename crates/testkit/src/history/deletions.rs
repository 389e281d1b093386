use std::collections::{BTreeMap, HashMap};

use super::{History, KvOp, Version};

/// The deletes of a history, by key: why a read may have found nothing.
#[derive(Default)]
pub(super) struct Deletions<'a>(HashMap<&'a str, OfKey>);

#[derive(Default)]
struct OfKey {
    /// By version, with the instants of their invocations.
    done: BTreeMap<Version, u64>,
    /// The first invocation of an unknown one.
    unknown_ns: Option<u64>,
}

impl<'a> Deletions<'a> {
    pub(super) fn of(history: &'a History) -> Self {
        let mut deletions = Deletions::default();
        for operation in history.operations() {
            if !matches!(operation.op, KvOp::Delete { .. }) {
                continue;
            }
            let of_key = deletions.0.entry(operation.op.key()).or_default();
            if let Some(version) = operation.written() {
                of_key.done.insert(version, operation.invoked_ns);
            } else if operation.is_unknown() {
                let first = of_key.unknown_ns.unwrap_or(u64::MAX).min(operation.invoked_ns);
                of_key.unknown_ns = Some(first);
            }
        }
        deletions
    }

    /// The least version greater than `above` that a delete of the key can have that was asked for by then.
    pub(super) fn next(&self, key: &str, above: Version, until_ns: u64) -> Option<Version> {
        let of_key = self.0.get(key)?;
        if of_key.unknown_ns.is_some_and(|invoked| invoked <= until_ns) {
            return Some(above + 1);
        }
        let mut later = of_key.done.range(above + 1..);
        later.find(|(_, invoked)| **invoked <= until_ns).map(|(version, _)| *version)
    }
}
