use std::{sync::Arc, time::Duration};

use archipelago_manager::leader_follower::{Health, LeaderFollowerManager};
use archipelago_pipeline::Switch;
use archipelago_store::MemoryStore;
use tokio::time::Instant;

use super::super::schedule::Process;
use super::{clock::NodeClock, disk::Disk, scenario::NodePlan, way::Way};

/// One node: its disk, which stays, and the process that uses it, if it runs.
pub(super) struct Host {
    pub(super) plan: NodePlan,
    pub(super) disk: Arc<MemoryStore>,
    pub(super) clock: NodeClock,
    pub(super) life: Option<Life>,
    pub(super) lives: u64,
    /// Its process is being started or closed.
    pub(super) is_busy: bool,
    /// The last entry that is known to be on the disk.
    pub(super) had: u64,
    /// It was told to take the state anew, which may go on until then.
    pub(super) resyncs_until: Option<Instant>,
}

/// A process.
#[derive(Clone)]
pub(super) struct Life {
    pub(super) manager: LeaderFollowerManager,
    pub(super) process: Process,
    pub(super) switch: Switch,
    pub(super) disk: Disk,
    pub(super) way: Way,
}

impl Life {
    /// It can be heard, and hears.
    pub(super) fn is_reachable(&self) -> bool {
        !self.switch.is_cut() && !self.switch.is_held() && !self.process.is_paused()
    }
}

impl Host {
    pub(super) fn new(plan: NodePlan, clock: NodeClock) -> Host {
        let disk = Arc::new(MemoryStore::new());
        Host { plan, disk, clock, life: None, lives: 0, is_busy: false, had: 0, resyncs_until: None }
    }

    /// The process ends at this moment, and nothing that it has under way reaches disk or broker.
    pub(super) fn kill(&mut self) {
        if let Some(life) = self.life.take() {
            self.had = life.manager.last_applied_sequence();
            life.disk.kill();
            life.switch.cut();
            // What is left of it ends by itself, and nobody can tell.
            life.process.resume();
            life.process.spawn(async move { life.manager.close().await });
        }
    }

    /// It runs, and what it says and is asked goes through.
    pub(super) fn reachable(&self) -> Option<&Life> {
        self.life.as_ref().filter(|life| life.is_reachable())
    }

    /// The last entry of a state that others can have from it.
    pub(super) fn gives(&self) -> Option<u64> {
        if self.resyncs_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let life = self.reachable()?;
        let manager = &life.manager;
        (life.disk.works() && manager.health() != Health::Desynced).then(|| manager.last_applied_sequence())
    }

    /// The last entry that is on the disk.
    pub(super) fn has(&self) -> u64 {
        self.life.as_ref().map_or(self.had, |life| life.manager.last_applied_sequence())
    }

    pub(super) fn is_told_to_resync(&mut self, for_at_most: Duration) {
        self.resyncs_until = Some(Instant::now() + for_at_most);
    }
}
