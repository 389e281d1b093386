use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use archipelago::manager::leader_follower::LeaderFollowerManager;
use tokio::{sync::Semaphore, time::Instant};

use super::samples::Samples;

/// A follower that does not have a sampled write after so long has it as late as this.
const GIVE_UP: Duration = Duration::from_secs(30);
/// How many sampled writes are waited for at a time; a sample beyond that is left out, and counted.
const WAITING_MAX: usize = 16_384;

/// When followers had what was acknowledged.
#[derive(Debug)]
pub(crate) struct Lag {
    nodes: Vec<LeaderFollowerManager>,
    waiting: Arc<Semaphore>,
    seen: Arc<Mutex<Seen>>,
}

/// What was measured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// From the acknowledgement.
    pub(crate) lag: Samples,
    /// From the call.
    pub(crate) visible: Samples,
    pub(crate) left_out: u64,
}

impl Lag {
    pub(crate) fn new(nodes: Vec<LeaderFollowerManager>) -> Lag {
        Lag { nodes, waiting: Arc::new(Semaphore::new(WAITING_MAX)), seen: Arc::default() }
    }

    /// Waits, beside whatever else goes on, until each node but `leader` has applied the entry.
    pub(crate) fn sample(&self, leader: usize, sequence: u64, called: Instant, acknowledged: Instant) {
        for (_, node) in self.nodes.iter().enumerate().filter(|(at, _)| *at != leader) {
            let seen = self.seen.clone();
            let Ok(permit) = self.waiting.clone().try_acquire_owned() else {
                lock(&seen).left_out += 1;
                continue;
            };
            let node = node.clone();
            tokio::spawn(async move {
                node.wait_for_sequence(sequence, GIVE_UP).await;
                let now = Instant::now();
                let mut seen = lock(&seen);
                seen.lag.add(now.saturating_duration_since(acknowledged));
                seen.visible.add(now.saturating_duration_since(called));
                drop(permit);
            });
        }
    }

    /// Waits for what is sampled, and gives what was measured.
    pub(crate) async fn finish(self) -> Seen {
        let all = u32::try_from(WAITING_MAX).expect("it is small");
        drop(self.waiting.acquire_many(all).await);
        std::mem::take(&mut lock(&self.seen))
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
