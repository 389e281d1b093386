use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use archipelago::manager::{SystemClock, WallClock};

/// The clock of a child: the system's, set wrong by so many milliseconds. Clones are one clock.
#[derive(Clone, Debug, Default)]
pub(crate) struct SetClock(Arc<AtomicI64>);

impl SetClock {
    /// Sets it this far ahead of the system's, or behind it.
    pub(crate) fn set(&self, offset_ms: i64) {
        self.0.store(offset_ms, Ordering::Relaxed);
    }
}

impl WallClock for SetClock {
    fn now_unix_ms(&self) -> u64 {
        SystemClock.now_unix_ms().saturating_add_signed(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_wrong_by_what_it_was_set_to() {
        let clock = SetClock::default();
        let right = SystemClock.now_unix_ms();
        clock.clone().set(3_600_000);
        assert!(clock.now_unix_ms() >= right + 3_600_000);
        clock.set(-3_600_000);
        assert!(clock.now_unix_ms() < right);
    }
}
