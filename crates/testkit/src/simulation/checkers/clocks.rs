//! If one write caused another, its stamp is the lesser one. And nothing is applied before its time.

use archipelago_clock::Hlc;

use super::Broken;
use crate::simulation::{
    Ledger,
    ledger::{Entry, Fate},
};

/// Looks at a write that was just made.
pub(in crate::simulation) fn made(write: &Entry, ledger: &Ledger) -> Result<(), Broken> {
    let same_entity = ledger.of(&write.entity).filter(|other| other.number < write.number);
    for cause in same_entity
        .filter(|other| write.followed(other) && !other.is_ambiguous && other.fate != Fate::Dropped)
    {
        if cause.hlc >= write.hlc {
            let (dot, other) = (&write.dot, &cause.dot);
            return Err((
                "clocks",
                format!("{dot} is stamped {:?}, and {other} before it {:?}", write.hlc, cause.hlc),
            ));
        }
    }
    Ok(())
}

/// Looks at what was just applied.
pub(super) fn applied(hlc: Hlc, now_unix_ms: u64, max_drift_ms: u64) -> Result<(), Broken> {
    match hlc.unix_ms() <= now_unix_ms.saturating_add(max_drift_ms) {
        true => Ok(()),
        false => {
            Err(("clocks", format!("a write stamped {} ms ahead was applied", hlc.unix_ms() - now_unix_ms)))
        }
    }
}
