use std::{sync::Arc, time::Duration};

use archipelago::clock::VersionVector;
use tokio::{
    sync::{oneshot, watch},
    task::AbortHandle,
    time::{Instant, MissedTickBehavior},
};

use super::{DemoError, island::Island, protocol::Status};

/// How often the masters are asked how they are.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How long nothing may move while the masters converge.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// Asks all masters again and again how they are, and tells of trouble as soon as there is any.
#[derive(Debug)]
pub(crate) struct Watcher {
    seen: watch::Receiver<Vec<Seen>>,
    polling: AbortHandle,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.polling.abort();
    }
}

/// What is known of one master.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    /// As it answered last; `None` while it is killed.
    pub(crate) status: Option<Status>,
    /// Over all its lives.
    pub(crate) conflicts: Counter,
    /// Over all its lives.
    pub(crate) messages_unreadable: Counter,
    /// Over all its lives.
    pub(crate) logs_lost: Counter,
    /// Over all its lives.
    pub(crate) repairs: Counter,
}

/// A count that begins anew when its master is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counter {
    earlier: u64,
    last: u64,
}

impl Counter {
    fn read(&mut self, now: u64) {
        if now < self.last {
            self.earlier += self.last;
        }
        self.last = now;
    }

    pub(crate) fn total(self) -> u64 {
        self.earlier + self.last
    }
}

impl Seen {
    fn read(&mut self, status: Option<Status>) {
        if let Some(status) = &status {
            self.conflicts.read(status.conflicts);
            self.messages_unreadable.read(status.messages_unreadable);
            self.logs_lost.read(status.logs_lost);
            self.repairs.read(status.repairs);
        }
        self.status = status;
    }

    /// How many events of others the master has applied.
    pub(crate) fn applied(&self) -> u64 {
        let Some(status) = &self.status else { return 0 };
        status.vector.iter().filter(|(actor, _)| **actor != status.replica).map(|(_, last)| last).sum()
    }
}

impl Watcher {
    /// Gives also what resolves when a master has trouble.
    pub(crate) fn start(islands: Arc<Vec<Island>>) -> (Watcher, oneshot::Receiver<DemoError>) {
        let (seen_now, seen) = watch::channel(vec![Seen::default(); islands.len()]);
        let (tell_trouble, trouble) = oneshot::channel();
        let polling = tokio::spawn(async move {
            let mut interval = tokio::time::interval(POLL_INTERVAL);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                interval.tick().await;
                if let Err(error) = poll(&islands, &seen_now).await {
                    let _ = tell_trouble.send(error);
                    return;
                }
            }
        });
        (Watcher { seen, polling: polling.abort_handle() }, trouble)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }

    /// Returns once all masters have all that `expected` covers and all that the others have, with empty outboxes.
    /// `show` is told how many events each master still misses.
    pub(crate) async fn converged(
        &self,
        expected: &VersionVector,
        mut show: impl FnMut(&[u64], &[Seen]),
    ) -> Result<(), DemoError> {
        let mut seen = self.seen.clone();
        let mut last = Vec::new();
        let mut moved_at = Instant::now();
        loop {
            let now = seen.borrow_and_update().clone();
            let missing = missing(expected, &now);
            show(&missing, &now);
            let outbox = |seen: &Seen| seen.status.as_ref().map(|status| status.outbox);
            if missing.iter().all(|events| *events == 0) && now.iter().all(|seen| outbox(seen) == Some(0)) {
                return Ok(());
            }
            if !same(&now, &last) {
                moved_at = Instant::now();
            }
            last = now;
            match tokio::time::timeout_at(moved_at + STALL_TIMEOUT, seen.changed()).await {
                Ok(Ok(())) if moved_at.elapsed() < STALL_TIMEOUT => {}
                _ => return Err(stalled(&missing, &last)),
            }
        }
    }
}

/// Whether nothing moved in between. What is said about a pipeline that is away may change all the time.
fn same(now: &[Seen], before: &[Seen]) -> bool {
    let place = |seen: &Seen| {
        seen.status.as_ref().map(|status| (status.vector.clone(), status.outbox, status.down.is_some()))
    };
    now.iter().map(place).eq(before.iter().map(place))
}

/// How many events each master lacks of what is expected and of what any master has.
pub(crate) fn missing(expected: &VersionVector, seen: &[Seen]) -> Vec<u64> {
    let mut all = expected.clone();
    for status in seen.iter().filter_map(|seen| seen.status.as_ref()) {
        all.merge(&status.vector);
    }
    let lacks = |vector: &VersionVector| all.iter().map(|(actor, last)| last - vector.get(actor)).sum();
    let nothing = VersionVector::new();
    seen.iter().map(|seen| lacks(seen.status.as_ref().map_or(&nothing, |status| &status.vector))).collect()
}

fn stalled(missing: &[u64], seen: &[Seen]) -> DemoError {
    let states = seen.iter().zip(missing).filter_map(|(seen, missing)| {
        let status = seen.status.as_ref()?;
        let name = status.replica.name();
        let away = status.down.as_ref().map(|reason| format!(", its pipeline is away: {reason}"));
        Some(format!(
            "{name} misses {missing} events and has {} to send{}",
            status.outbox,
            away.unwrap_or_default()
        ))
    });
    let state = states.collect::<Vec<_>>().join("; ");
    DemoError::Stalled { waited_s: STALL_TIMEOUT.as_secs(), state }
}

async fn poll(islands: &[Island], seen: &watch::Sender<Vec<Seen>>) -> Result<(), DemoError> {
    let statuses = futures::future::try_join_all(islands.iter().map(Island::status)).await?;
    let trouble = islands.iter().zip(&statuses).find_map(|(island, status)| {
        let reason = status.as_ref()?.trouble.clone()?;
        Some(DemoError::MasterFailed { master: island.name, reason })
    });
    seen.send_modify(|seen| {
        for (seen, status) in seen.iter_mut().zip(statuses) {
            seen.read(status);
        }
    });
    trouble.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_goes_on_over_a_restart() {
        let mut counter = Counter::default();
        for now in [0, 5, 7, 0, 2, 3] {
            counter.read(now);
        }
        assert_eq!(counter.total(), 10);
    }
}
