use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How long nothing more of one kind is told after it was told.
const INTERVAL: Duration = Duration::from_secs(60);

/// How many kinds are told apart. All others are one.
const KINDS_MAX: usize = 16;

/// Keeps what others can make happen from filling the log: each kind of it is told the first time, and from then on once a
/// minute.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<BTreeMap<String, Tally>>);

#[derive(Debug, Default)]
struct Tally {
    untold: u64,
    told_at: Option<Instant>,
}

impl Seldom {
    /// Something of this kind happened once more. If it is to be told now, how often it happened since it was told last, this
    /// time included.
    pub(crate) fn happened(&self, kind: &str) -> Option<u64> {
        let mut kinds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = kinds.len() < KINDS_MAX || kinds.contains_key(kind);
        let tally = kinds.entry(if is_known { kind.to_owned() } else { String::new() }).or_default();
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
        assert_eq!(seldom.happened("a"), Some(1));
        for _ in 0..1_000 {
            assert_eq!(seldom.happened("a"), None);
        }
        assert_eq!(seldom.happened("b"), Some(1), "of another kind nothing was told yet");
        tokio::time::advance(INTERVAL).await;
        assert_eq!(seldom.happened("a"), Some(1_001));
        assert_eq!(seldom.happened("a"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn kinds_without_end_are_told_as_one() {
        let seldom = Seldom::default();
        let told = (0..10_000).filter(|kind| seldom.happened(&kind.to_string()).is_some()).count();
        assert_eq!(told, KINDS_MAX + 1);
    }
}
