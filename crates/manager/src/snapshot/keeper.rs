//! Snapshots at intervals, and what follows from them: old ones go, and the log is trimmed below what they cover.

use std::{sync::Arc, time::Duration};

use archipelago_pipeline::{Pipeline, PipelineError, snapshots::SnapshotStore};
use archipelago_proto::LogPlace;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{Maker, SnapshotError, name};
use crate::{Notification, WallClock, replica::Command, shared::Shared};

/// How often within an interval it is looked whether a snapshot is due: should whoever makes them go away, the next one
/// notices.
const LOOKS: u32 = 10;
const LOOK_EVERY_MIN: Duration = Duration::from_millis(20);
const LOOK_EVERY_MAX: Duration = Duration::from_secs(60);

/// Makes snapshots when they are due, if this master is the one to do it: of those that are there, the one with the least
/// name.
pub(crate) struct Keeper {
    pub(crate) shared: Arc<Shared>,
    /// Weak, or the owner of the engine would never see the last handle go.
    pub(crate) commands: mpsc::WeakSender<Command>,
    pub(crate) clock: Arc<dyn WallClock>,
    pub(crate) snapshots: Arc<dyn SnapshotStore>,
    pub(crate) every: Duration,
    /// How long the others are listened to first.
    pub(crate) patience: Duration,
    pub(crate) keep: usize,
    /// The log that is trimmed, if it is to be.
    pub(crate) trimmed: Option<Arc<dyn Pipeline>>,
}

/// How this master stands among the others.
#[derive(Clone, Debug)]
pub(crate) struct Neighbourhood {
    /// True if this master is active, and no other active one that is there has a lesser name.
    pub(crate) is_first: bool,
    /// The place up to which every awaited member is done with the log, or why that is not known.
    pub(crate) trimmable: Result<LogPlace, String>,
}

/// Why a snapshot that was due is not there, or the log not trimmed.
#[derive(Debug, thiserror::Error)]
enum KeeperError {
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error("the log is not trimmed: {0}")]
    Trim(#[from] PipelineError),
}

impl Keeper {
    /// Runs until the owner of the engine is gone.
    pub(crate) async fn run(self) {
        let look_every = (self.every / LOOKS).clamp(LOOK_EVERY_MIN, LOOK_EVERY_MAX);
        let mut looks = tokio::time::interval_at(Instant::now() + self.patience, look_every);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            match self.look().await {
                Ok(()) => {}
                Err(KeeperError::Snapshot(SnapshotError::Closed)) => return,
                Err(error) => {
                    tracing::error!(%error, "the snapshot that is due is not made; tried again soon");
                    self.shared.notify(Notification::SnapshotFailed { reason: error.to_string() });
                }
            }
        }
    }

    async fn look(&self) -> Result<(), KeeperError> {
        if !self.neighbourhood().await?.is_first || !self.is_due().await? {
            return Ok(());
        }
        let commands = self.commands.upgrade().ok_or(SnapshotError::Closed)?;
        let maker = Maker { shared: &self.shared, commands: &commands, snapshots: &*self.snapshots };
        let (_, place) = maker.make().await?;
        self.remove_old().await?;
        self.trim(place).await
    }

    async fn is_due(&self) -> Result<bool, SnapshotError> {
        let namespace = &self.shared.namespace;
        let names = name::newest_first(self.snapshots.list().await?, namespace);
        let newest = names.first().and_then(|newest| name::made_unix_ms(newest, namespace));
        let age_ms = newest.map(|newest| self.clock.now_unix_ms().saturating_sub(newest));
        Ok(age_ms.is_none_or(|age_ms| u128::from(age_ms) >= self.every.as_millis()))
    }

    async fn remove_old(&self) -> Result<(), SnapshotError> {
        let names = name::newest_first(self.snapshots.list().await?, &self.shared.namespace);
        for old in names.iter().skip(self.keep) {
            self.snapshots.remove(old).await?;
            tracing::info!(name = %old, "an old snapshot is removed");
        }
        Ok(())
    }

    /// Removes from the log what the snapshot covers and every awaited member is done with.
    async fn trim(&self, place: Option<LogPlace>) -> Result<(), KeeperError> {
        let (Some(log), Some(place)) = (&self.trimmed, place) else { return Ok(()) };
        let done = match self.neighbourhood().await?.trimmable {
            Ok(done) if done.created_unix_ns == place.created_unix_ns => done,
            Ok(_) => return Ok(()),
            Err(reason) => {
                tracing::info!(%reason, "the log is not trimmed");
                return Ok(());
            }
        };
        let state = log.state().await?;
        let up_to = place.sequence.min(done.sequence);
        if state.id.created_unix_ns == place.created_unix_ns && up_to >= state.first_sequence {
            log.trim(up_to).await?;
            tracing::info!(up_to, "the log is trimmed below the snapshot");
        }
        Ok(())
    }

    async fn neighbourhood(&self) -> Result<Neighbourhood, SnapshotError> {
        let commands = self.commands.upgrade().ok_or(SnapshotError::Closed)?;
        let (reply, neighbourhood) = oneshot::channel();
        let asked = commands.send(Command::Neighbourhood { reply }).await;
        asked.map_err(|_| SnapshotError::Closed)?;
        neighbourhood.await.map_err(|_| SnapshotError::Closed)
    }
}
