//! A client reads its own writes, and never something older than it has seen.

use archipelago_clock::{Hlc, VersionVector};
use archipelago_engine::Visible;
use archipelago_proto::EntityId;

use crate::simulation::{Ledger, ledger::Deed};

/// What a client has seen of an entity under last writer wins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// When what it saw was written.
    latest: Option<Hlc>,
}

impl Seen {
    pub(crate) fn wrote(&mut self, hlc: Hlc) {
        self.latest = self.latest.max(Some(hlc));
    }

    /// The client reads this, of a replica that has applied all that the client has seen.
    pub(crate) fn reads(
        &mut self,
        entity: &EntityId,
        visible: Option<&Visible>,
        vector: &VersionVector,
        ledger: &Ledger,
    ) -> Result<(), String> {
        let Some(latest) = self.latest else {
            self.latest = visible.map(|visible| visible.hlc);
            return Ok(());
        };
        match visible {
            Some(visible) if visible.hlc >= latest => {
                self.latest = Some(visible.hlc);
                Ok(())
            }
            // A removal that was reclaimed leaves room for what was written without knowing of it.
            Some(visible) if is_removed(entity, latest, vector, ledger) => {
                self.latest = Some(visible.hlc);
                Ok(())
            }
            None if is_removed(entity, latest, vector, ledger) => Ok(()),
            Some(visible) => Err(format!("{entity} is of {:?}, and was of {latest:?} before", visible.hlc)),
            None => Err(format!("{entity} is gone, which was of {latest:?} before, and nobody removed it")),
        }
    }
}

/// Whether the replica has applied a removal at least as new.
fn is_removed(entity: &EntityId, latest: Hlc, vector: &VersionVector, ledger: &Ledger) -> bool {
    ledger.of(entity).any(|write| write.deed == Deed::Delete && write.hlc >= latest && write.is_in(vector))
        || ledger.of(entity).any(|write| write.is_ambiguous)
}
