use std::collections::HashMap;

use thiserror::Error;

use super::{Consistency, History, Operation, Version, Violations, deletions::Deletions};

/// A read that returned less than it was promised.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StalenessViolation {
    /// A later write was acknowledged longer ago than the bound.
    #[error("{read}: but {bound_ns} ns before it was asked for, this was acknowledged: {write}")]
    TooOld {
        /// The read.
        read: String,
        /// How old its answer may be.
        bound_ns: u64,
        /// What it should have seen.
        write: String,
    },
}

/// Whether each read with [`Consistency::BoundedStaleness`] returned what was acknowledged before the bound, counted
/// from its invocation, or something later. Linearizable reads are looked at, too, as those with the bound 0.
///
/// A key may be missing because of a delete that is unknown.
///
/// # Errors
/// All reads that are older.
pub fn check_staleness(history: &History) -> Result<(), Violations<StalenessViolation>> {
    let deletions = Deletions::of(history);
    let mut acknowledged: HashMap<&str, Vec<Acknowledged<'_>>> = HashMap::new();
    for operation in history.operations() {
        if let (Some(version), Some(completed_ns)) = (operation.written(), operation.completed_ns()) {
            let of_key = acknowledged.entry(operation.op.key()).or_default();
            of_key.push(Acknowledged { completed_ns, version, operation });
        }
    }
    for of_key in acknowledged.values_mut() {
        of_key.sort_by_key(|write| write.completed_ns);
        // Each instant has the greatest version until then.
        for later in 1..of_key.len() {
            let before = of_key[later - 1];
            if before.version > of_key[later].version {
                of_key[later] = Acknowledged { completed_ns: of_key[later].completed_ns, ..before };
            }
        }
    }

    let mut found = Vec::new();
    for read in history.operations() {
        let bound_ns = match read.op.consistency() {
            Some(Consistency::BoundedStaleness { bound_ns }) => bound_ns,
            Some(Consistency::Linearizable) => 0,
            _ => continue,
        };
        let (Some(value), Some(completed_ns)) = (read.read(), read.completed_ns()) else { continue };
        let Some(since_ns) = read.invoked_ns.checked_sub(bound_ns) else { continue };
        let of_key = acknowledged.get(read.op.key()).map_or(&[][..], Vec::as_slice);
        let visible = of_key.partition_point(|write| write.completed_ns < since_ns);
        let Some(required) = visible.checked_sub(1).map(|last| of_key[last]) else { continue };
        let is_kept = match value {
            Some((_, version)) => version >= required.version,
            None => {
                required.operation.op.value().is_none()
                    || deletions.next(read.op.key(), required.version, completed_ns).is_some()
            }
        };
        if !is_kept {
            let (read, write) = (read.to_string(), required.operation.to_string());
            found.push(StalenessViolation::TooOld { read, bound_ns, write });
        }
    }
    Violations::none_of(found, ())
}

/// The greatest version that was acknowledged until an instant.
#[derive(Clone, Copy)]
struct Acknowledged<'a> {
    completed_ns: u64,
    version: Version,
    operation: &'a Operation,
}
