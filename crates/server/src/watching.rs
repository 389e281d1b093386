//! What a namespace tells by itself and nobody can ask it for.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use archipelago::{MultiMasterManager, Notification, clock::Dot};

use crate::namespace::Running;

/// How many events in quarantine are remembered; of more, the count is known.
const QUARANTINED_MAX: usize = 1_000;

/// What was told since the namespace was started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watching(Arc<Mutex<Told>>);

#[derive(Debug, Default)]
struct Told {
    /// Why the store failed.
    failure: Option<String>,
    /// What was seen of another process that uses the identity of this node.
    fenced: Option<String>,
    /// How far ahead of the clock events were stamped.
    quarantined: BTreeMap<Dot, Duration>,
}

impl Watching {
    /// Listens until what runs is closed.
    pub(crate) fn begin(running: &Running) -> Watching {
        let watching = Watching::default();
        match running {
            Running::MultiMaster(master) => {
                let (mut notifications, told) = (master.subscribe(), watching.clone());
                tokio::spawn(async move {
                    while let Some(notification) = notifications.next().await {
                        told.hear(notification);
                    }
                });
            }
            // It can be asked.
            Running::LeaderFollower(_) => {}
        }
        watching
    }

    fn hear(&self, notification: Notification) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match notification {
            Notification::StoreFailed { reason } => told.failure = Some(reason),
            Notification::Fenced { dot } => {
                told.fenced = Some(format!("another process wrote {dot} under the identity of this node"));
            }
            Notification::EventQuarantined { dot, ahead } => {
                if told.quarantined.len() >= QUARANTINED_MAX {
                    told.quarantined.pop_first();
                }
                told.quarantined.insert(dot, ahead);
            }
            _ => {}
        }
    }

    /// Why the store failed, if it did.
    pub(crate) fn failure(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).failure.clone()
    }

    /// What was seen of another process that uses the identity of this node, if anything.
    pub(crate) fn fenced(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fenced.clone()
    }

    /// The events that still wait for the time that they are stamped with, and how far that was ahead.
    pub(crate) fn quarantined(&self, master: &MultiMasterManager) -> Vec<(Dot, Duration)> {
        let vector = master.vector_clock();
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.quarantined.retain(|dot, _| !vector.contains(dot));
        told.quarantined.iter().map(|(dot, ahead)| (dot.clone(), *ahead)).collect()
    }
}
