use std::time::Duration;

use crate::{ClockError, Hlc};

/// How far the persisted ceiling runs ahead of issued stamps: one write of it a second at most, and a restarted
/// clock starts at most this far ahead.
const CEILING_STEP_MS: u64 = 1_000;

/// Issues [`Hlc`] stamps. Wall time comes in as an argument, so the clock itself is deterministic.
///
/// So that stamps never go back across restarts, whatever the wall clock does meanwhile, the clock keeps a *ceiling*:
/// a stamp that is stored durably before any stamp above it may leave the process. Usage, for each commit:
/// [`tick`](Self::tick) and [`observe`](Self::observe) as writes and events come, then store
/// [`raise_ceiling`](Self::raise_ceiling)'s answer in the same atomic batch. A new process starts by
/// [`resume`](Self::resume) from the stored ceiling.
#[derive(Clone, Debug)]
pub struct HlcClock {
    last: Hlc,
    ceiling: Hlc,
}

/// A stamp is further ahead of this replica's wall clock than allowed. Worth retrying once time has caught up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stamped {ahead:?} ahead of this replica's clock, more than the {max_drift:?} allowed")]
pub struct DriftError {
    /// How far the stamp is ahead.
    pub ahead: Duration,
    /// The bound it exceeds.
    pub max_drift: Duration,
}

impl HlcClock {
    /// A clock that has issued nothing, for a new replica.
    pub const fn new() -> Self {
        HlcClock { last: Hlc::ZERO, ceiling: Hlc::ZERO }
    }

    /// The clock of a restarted replica, from the last ceiling that [`raise_ceiling`](Self::raise_ceiling) gave.
    pub const fn resume(ceiling: Hlc) -> Self {
        HlcClock { last: ceiling, ceiling }
    }

    /// A stamp greater than all that were issued or observed, and no less than `now_unix_ms`.
    ///
    /// # Errors
    /// [`ClockError::TimeExhausted`] at the largest stamp; the clock is unchanged.
    pub fn tick(&mut self, now_unix_ms: u64) -> Result<Hlc, ClockError> {
        let next = self.last.next().ok_or(ClockError::TimeExhausted)?;
        self.last = next.max(Hlc::new(now_unix_ms, 0));
        Ok(self.last)
    }

    /// Takes note of a stamp issued elsewhere: later ticks are greater.
    ///
    /// Call [`check_drift`](Self::check_drift) first, or one peer with a broken clock drags all others along.
    pub fn observe(&mut self, stamp: Hlc) {
        self.last = self.last.max(stamp);
    }

    /// Whether a stamp issued elsewhere may be observed now. Changes nothing.
    ///
    /// # Errors
    /// [`DriftError`] if the stamp is more than `max_drift` ahead of `now_unix_ms`.
    pub fn check_drift(stamp: Hlc, now_unix_ms: u64, max_drift: Duration) -> Result<(), DriftError> {
        let ahead = Duration::from_millis(stamp.unix_ms().saturating_sub(now_unix_ms));
        if ahead > max_drift { Err(DriftError { ahead, max_drift }) } else { Ok(()) }
    }

    /// The last stamp issued or observed.
    pub const fn last(&self) -> Hlc {
        self.last
    }

    /// The ceiling to store with the commit at hand, or `None` if the stored one still holds.
    pub fn raise_ceiling(&mut self) -> Option<Hlc> {
        if self.last <= self.ceiling {
            return None;
        }
        self.ceiling = Hlc::new(self.last.unix_ms() + CEILING_STEP_MS, u16::MAX);
        Some(self.ceiling)
    }
}

impl Default for HlcClock {
    fn default() -> Self {
        Self::new()
    }
}
