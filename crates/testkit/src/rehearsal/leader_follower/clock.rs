use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use archipelago_manager::WallClock;
use tokio::time::Instant;

/// When runs begin, by a clock that is right.
pub(super) const EPOCH_UNIX_MS: u64 = 1_750_000_000_000;

/// Counts from the beginning of the run. No two moments are the same, so what ended before something else began is known
/// to have.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    began: Instant,
    last_ns: Arc<Mutex<u64>>,
}

impl Clock {
    pub(super) fn new() -> Clock {
        Clock { began: Instant::now(), last_ns: Arc::default() }
    }

    /// How long the run has lasted.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn now_ns(&self) -> u64 {
        let now = u64::try_from(self.began.elapsed().as_nanos()).expect("a run does not last for centuries");
        let mut last = self.last_ns.lock().unwrap_or_else(PoisonError::into_inner);
        *last = now.max(*last + 1);
        *last
    }
}

/// The time of day as a node has it, which is wrong and jumps.
#[derive(Clone, Debug)]
pub(super) struct NodeClock {
    clock: Clock,
    off_ms: Arc<AtomicI64>,
}

impl NodeClock {
    pub(super) fn new(clock: Clock) -> NodeClock {
        NodeClock { clock, off_ms: Arc::default() }
    }

    /// Sets by how much it is wrong from now on.
    pub(super) fn jump(&self, off_ms: i64) {
        self.off_ms.store(off_ms, Ordering::Release);
    }
}

impl WallClock for NodeClock {
    fn now_unix_ms(&self) -> u64 {
        let right = EPOCH_UNIX_MS + self.clock.now_ns() / 1_000_000;
        right.saturating_add_signed(self.off_ms.load(Ordering::Acquire))
    }
}
