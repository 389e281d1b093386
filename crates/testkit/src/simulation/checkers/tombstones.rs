//! What was removed does not come back.

use archipelago_clock::VersionVector;

use super::Broken;
use crate::simulation::ledger::Entry;

/// A value is shown although a removal with a greater stamp was applied. That may be only if the removal was reclaimed, and
/// whoever wrote the value did not know of it: its replica came back so late that it counts as written afterwards. The same
/// goes for a write that another replica made its own, on an old copy of its store where it was not removed yet.
pub(super) fn check(shown: &Entry, removal: &Entry, floor: &VersionVector) -> Result<(), Broken> {
    let may_be_reclaimed = removal.is_in(floor);
    match may_be_reclaimed && !shown.followed(removal) && (shown.was_taken_over() || !removal.followed(shown))
    {
        true => Ok(()),
        false => {
            let (shown, removal) = (&shown.dot, &removal.dot);
            Err(("tombstones", format!("{shown} is shown, which {removal} removed")))
        }
    }
}
