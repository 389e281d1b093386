use std::time::Duration;

use archipelago_clock::ReplicaId;
use archipelago_engine::Round;
use tokio::time::Instant;

use super::staging::Staged;
use crate::{Notification, shared::Shared};

/// How often it is told how far a fetch is.
const INTERVAL: Duration = Duration::from_millis(500);

/// Tells now and then how far a fetch is.
pub(super) struct Progress {
    told: Instant,
}

impl Progress {
    pub(super) fn begin() -> Self {
        Progress { told: Instant::now() }
    }

    /// Tells of it, if that is due.
    pub(super) fn moved(&mut self, shared: &Shared, from: &ReplicaId, staged: &Staged<Round>) {
        if self.told.elapsed() >= INTERVAL {
            self.tell(shared, from, staged);
        }
    }

    /// Tells of it.
    pub(super) fn tell(&mut self, shared: &Shared, from: &ReplicaId, staged: &Staged<Round>) {
        self.told = Instant::now();
        let (entities, bytes, entities_total) = (staged.entities(), staged.bytes(), staged.entities_total());
        tracing::info!(%from, entities, bytes, entities_total, "fetched so far");
        shared.notify(Notification::RepairProgress { from: from.clone(), entities, bytes, entities_total });
    }
}
