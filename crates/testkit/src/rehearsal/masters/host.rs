use std::sync::{Arc, Mutex, PoisonError};

use archipelago_clock::{ReplicaId, VersionVector};
use archipelago_manager::{self as manager, MultiMasterManager};
use archipelago_pipeline::Switch;
use tokio::time::Instant;

use super::{
    super::schedule::Process,
    disk::Disk,
    platter::{Image, Platter},
    tap::Tap,
};
use crate::simulation::wall_clock::WallClock;

/// One machine: its disk and its clock, which stay, and the process that uses them, if it runs.
pub(super) struct Host {
    pub(super) name: String,
    pub(super) platter: Platter,
    pub(super) clock: HostClock,
    pub(super) life: Option<Life>,
    pub(super) standing: Standing,
    /// A copy of the disk, and of which line it is.
    pub(super) backup: Option<(Image, u64)>,
    /// What its store had applied when it was looked at last, of which lineage it was, and whose.
    pub(super) seen: Option<(u64, ReplicaId, VersionVector)>,
    /// Its process is being started or closed.
    pub(super) is_busy: bool,
}

/// Whether a machine counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Member,
    /// A second process on a copy of a disk, which will be gone.
    Twin,
    /// It was one, and is gone for good.
    Gone,
}

/// A process.
#[derive(Clone)]
pub(super) struct Life {
    /// No other process has it.
    pub(super) number: u64,
    pub(super) manager: MultiMasterManager,
    pub(super) process: Process,
    pub(super) switch: Switch,
    pub(super) tap: Tap,
    pub(super) disk: Disk,
    /// Of which line of copies its disk is.
    pub(super) lineage: u64,
}

impl Life {
    /// Ends at this moment: nothing that it has under way reaches disk or broker.
    pub(super) fn kill(&self) {
        self.disk.kill();
        self.switch.cut();
        self.process.kill();
    }
}

/// The time of day at one host, which need not be right.
#[derive(Clone, Debug)]
pub(super) struct HostClock {
    began: Instant,
    clock: Arc<Mutex<WallClock>>,
}

impl HostClock {
    pub(super) fn new(began: Instant) -> HostClock {
        HostClock { began, clock: Arc::default() }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).expect("a run does not last for ages")
    }

    /// It jumps to another time.
    pub(super) fn is_off_by(&self, offset_ms: i64) {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).is_off_by(offset_ms);
    }

    /// It stands still.
    pub(super) fn stops(&self) {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).stops(self.now_ms());
    }

    /// It is right again.
    pub(super) fn is_right(&self) {
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = WallClock::default();
    }
}

impl manager::WallClock for HostClock {
    fn now_unix_ms(&self) -> u64 {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).unix_ms(self.now_ms())
    }
}
