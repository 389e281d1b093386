//! Whoever has applied a write has applied all that its admitting replica had. And nothing is applied that nobody wrote.

use archipelago_clock::{Dot, VersionVector};

use super::Broken;
use crate::simulation::Ledger;

/// Looks at what came since `seen`.
pub(crate) fn check(seen: &VersionVector, vector: &VersionVector, ledger: &Ledger) -> Result<(), Broken> {
    for (replica, last) in vector.iter() {
        for sequence in seen.get(replica) + 1..=last {
            let dot = Dot::new(replica.clone(), sequence);
            let Some(write) = ledger.by_dot(&dot) else {
                if ledger.knows(&dot) {
                    continue;
                }
                return Err(("causality", format!("{dot} was applied, and nobody wrote it")));
            };
            if let Some((other, needed)) = write
                .deps
                .iter()
                .find(|(other, needed)| vector.get(other) < *needed && !is_renamed(other, *needed, ledger))
            {
                let found = vector.get(other);
                return Err((
                    "causality",
                    format!("{dot} is visible, which had seen {needed} of {other}; {found} are here"),
                ));
            }
        }
    }
    Ok(())
}

/// Whether the write has, or once had, more names than this one, so that a vector may cover it without this name.
fn is_renamed(replica: &archipelago_clock::ReplicaId, sequence: u64, ledger: &Ledger) -> bool {
    let dot = Dot::new(replica.clone(), sequence);
    ledger.by_dot(&dot).is_none_or(|write| write.dot != dot || write.is_ambiguous)
}
