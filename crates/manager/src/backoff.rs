use std::time::Duration;

use crate::random::Random;

/// The wait after the first failure.
const BASE: Duration = Duration::from_millis(50);
/// The longest wait.
const CAP: Duration = Duration::from_secs(2);

/// Waits longer after each failure, with jitter so that many replicas do not come back in step.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    random: Random,
}

impl Backoff {
    pub(crate) fn new(random: Random) -> Self {
        Backoff { failures: 0, random }
    }

    /// Waits for half to all of 50 ms, doubled with each earlier failure up to 2 s.
    pub(crate) async fn wait(&mut self) {
        let ceiling = BASE.saturating_mul(1 << self.failures.min(10)).min(CAP);
        self.failures += 1;
        let share: f64 = self.random.word();
        tokio::time::sleep(ceiling.mul_f64(0.5 + share / 2.0)).await;
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}
