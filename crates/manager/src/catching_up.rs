//! When a master that was started has caught up with the others.

use archipelago_clock::VersionVector;

use crate::{MultiMasterManager, ReadError, SessionToken};

/// In how many heartbeat intervals every other master that is there is heard.
const HEARING_INTERVALS: u32 = 2;

impl MultiMasterManager {
    /// Waits until this master has caught up with what there was when it was started: it has read the log to where it ended
    /// then, has listened to the other masters for two heartbeat intervals, and has applied all that they were heard to
    /// have. Returns at once if it has no pipeline. While the broker is away, that is not known, and waited for.
    ///
    /// # Errors
    /// [`ReadError::Closed`] if the manager is closed.
    pub async fn caught_up(&self) -> Result<(), ReadError> {
        if self.running.pipeline.is_none() {
            return Ok(());
        }
        let caught_up = async {
            let mut is_read = self.shared().log_is_read.subscribe();
            is_read.wait_for(|is_read| *is_read).await.map_err(|_| ReadError::Closed)?;
            let hearing = self.running.heartbeat_interval.saturating_mul(HEARING_INTERVALS);
            tokio::time::sleep(hearing).await;
            let mut target = VersionVector::new();
            for peer in self.peers().await? {
                target.merge(&peer.vector);
            }
            let target = SessionToken::from(target);
            let mut vector = self.shared().vector.subscribe();
            let covered = vector.wait_for(|vector| vector.dominates(target.vector()));
            covered.await.map(drop).map_err(|_| ReadError::Closed)
        };
        tokio::select! {
            biased;
            () = self.running.stop.cancelled() => Err(ReadError::Closed),
            caught_up = caught_up => caught_up,
        }
    }
}
