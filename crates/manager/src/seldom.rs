use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How long nothing more of one kind is told after it was told.
const INTERVAL: Duration = Duration::from_secs(60);

/// Keeps what others can make happen from filling the log: it is told the first time, and from then on once a minute.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Tally>);

#[derive(Debug, Default)]
struct Tally {
    untold: u64,
    told_at: Option<Instant>,
}

impl Seldom {
    /// It happened once more. If it is to be told now, how often it happened since it was told last, this time included.
    pub(crate) fn happened(&self) -> Option<u64> {
        let mut tally = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tally.untold += 1;
        if tally.told_at.is_some_and(|told_at| told_at.elapsed() < INTERVAL) {
            return None;
        }
        tally.told_at = Some(Instant::now());
        Some(std::mem::take(&mut tally.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_happens_often_is_told_once_a_minute_with_how_often_it_did() {
        let seldom = Seldom::default();
        assert_eq!(seldom.happened(), Some(1));
        for _ in 0..1_000 {
            assert_eq!(seldom.happened(), None);
        }
        tokio::time::advance(INTERVAL).await;
        assert_eq!(seldom.happened(), Some(1_001));
        assert_eq!(seldom.happened(), None);
    }
}
