use std::{sync::Arc, time::Duration};

use archipelago_manager::leader_follower::{Health, LeaderFollowerManager};
use archipelago_pipeline::Switch;
use archipelago_store::MemoryStore;
use tokio::time::Instant;

use crate::{disk::Disk, scenario::NodePlan};

/// One node: its disk, which stays, and the process that uses it, if it runs.
pub(crate) struct Host {
    pub(crate) plan: NodePlan,
    pub(crate) disk: Arc<MemoryStore>,
    pub(crate) life: Option<Life>,
    pub(crate) lives: u64,
    /// Its process is being started or closed.
    pub(crate) is_busy: bool,
    /// The last entry that is known to be on the disk.
    pub(crate) had: u64,
    /// It was told to take the state anew, which may go on until then.
    pub(crate) resyncs_until: Option<Instant>,
}

/// A process.
#[derive(Clone)]
pub(crate) struct Life {
    pub(crate) manager: LeaderFollowerManager,
    pub(crate) switch: Switch,
    pub(crate) disk: Disk,
}

impl Host {
    pub(crate) fn new(plan: NodePlan) -> Host {
        let disk = Arc::new(MemoryStore::new());
        Host { plan, disk, life: None, lives: 0, is_busy: false, had: 0, resyncs_until: None }
    }

    /// The process ends at this moment, and nothing that it has under way reaches disk or broker.
    pub(crate) fn kill(&mut self) {
        if let Some(life) = self.life.take() {
            self.had = life.manager.last_applied_sequence();
            life.disk.kill();
            life.switch.cut();
        }
    }

    /// It runs, and what it says and is asked goes through.
    pub(crate) fn reachable(&self) -> Option<&Life> {
        self.life.as_ref().filter(|life| !life.switch.is_cut() && !life.switch.is_held())
    }

    /// The last entry of a state that others can have from it.
    pub(crate) fn gives(&self) -> Option<u64> {
        if self.resyncs_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let manager = &self.reachable()?.manager;
        (manager.health() != Health::Desynced).then(|| manager.last_applied_sequence())
    }

    /// The last entry that is on the disk.
    pub(crate) fn has(&self) -> u64 {
        self.life.as_ref().map_or(self.had, |life| life.manager.last_applied_sequence())
    }

    pub(crate) fn is_told_to_resync(&mut self, for_at_most: Duration) {
        self.resyncs_until = Some(Instant::now() + for_at_most);
    }
}
