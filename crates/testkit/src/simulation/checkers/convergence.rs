//! Equal vectors mean equal states.

use super::Broken;
use crate::simulation::{Scenario, view::Verdict};

pub(crate) fn check(verdict: &Verdict<'_>, scenario: &Scenario) -> Result<(), Broken> {
    let Some((first, others)) = verdict.islands.split_first() else { return Ok(()) };
    for other in others {
        let (one, two) = (first.name(), other.name());
        for entity in scenario.entities().iter().map(|entity| &**entity).chain(verdict.ledger.entities()) {
            let (ours, theirs) = (first.read(entity), other.read(entity));
            if ours != theirs {
                let detail = format!("of {entity} {one} shows {ours:?} and {two} {theirs:?}");
                return Err(("convergence", detail));
            }
        }
        if first.digest().root() != other.digest().root() {
            return Err(("convergence", format!("{one} and {two} show the same and have unequal digests")));
        }
    }
    Ok(())
}
