//! No acknowledged write is lost: in the end every replica has applied it.

use super::Broken;
use crate::simulation::{ledger::Fate, view::Verdict};

pub(crate) fn check(verdict: &Verdict<'_>) -> Result<(), Broken> {
    for write in verdict.ledger.writes() {
        if write.fate != Fate::Acknowledged || write.is_ambiguous {
            continue;
        }
        for island in &verdict.islands {
            if !write.is_in(island.vector()) {
                let (number, dot, name) = (write.number, &write.dot, island.name());
                return Err((
                    "acknowledged",
                    format!("write #{number}, {dot}, was acknowledged, and {name} never got it"),
                ));
            }
        }
    }
    Ok(())
}
