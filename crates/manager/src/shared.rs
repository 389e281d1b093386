use std::{
    collections::VecDeque,
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use archipelago_clock::{ReplicaId, VersionVector};
use archipelago_conflict::StrategyTable;
use archipelago_engine::Engine;
use archipelago_pipeline::PipelineStatus;
use archipelago_proto::{Limits, ReplicaTable};
use archipelago_store::Store;
use tokio::sync::{Notify, broadcast, watch};

use crate::{
    ConflictReport, LinkState, Metrics, Notification, TrustedKeys,
    acknowledge::Spread,
    metrics::{self, Counters},
    persist::LiveIndex,
    random::Random,
    recording::Recording,
    replica::Stored,
    schema::SchemaTable,
    telemetry::Telemetry,
    turns::Tasks,
    wall_clock::WallClock,
};

/// How many conflicts [`MultiMasterManager::conflicts`](crate::MultiMasterManager::conflicts) gives.
pub const CONFLICTS_MAX: usize = 1_024;

/// What the tasks of one manager share.
#[derive(Debug)]
pub(crate) struct Shared {
    replica: RwLock<ReplicaId>,
    pub(crate) namespace: String,
    pub(crate) limits: Limits,
    pub(crate) strategies: StrategyTable,
    pub(crate) schemas: SchemaTable,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) live: LiveIndex,
    /// Whom this master believes, if it signs.
    pub(crate) keys: Option<TrustedKeys>,
    pub(crate) tasks: Tasks,
    pub(crate) random: Random,
    pub(crate) counters: Counters,
    pub(crate) telemetry: Telemetry,
    pub(crate) vector: watch::Sender<VersionVector>,
    pub(crate) link: watch::Sender<LinkState>,
    /// How far the writes of this master have come.
    pub(crate) spread: watch::Sender<Spread>,
    /// True once the log is known to exist: nothing is sent before.
    pub(crate) log_is_open: watch::Sender<bool>,
    /// True once the log was read to where it ended when it was opened.
    pub(crate) log_is_read: watch::Sender<bool>,
    /// This master has not applied all below a floor: it needs all of another one's state, not a part.
    pub(crate) is_below_floor: AtomicBool,
    /// Rung after each commit with local writes.
    pub(crate) outbox_grew: Notify,
    /// Rung when the outbox ran empty.
    pub(crate) outbox_drained: Notify,
    /// `None` once the manager is closed, so that listeners learn of it.
    notifications: RwLock<Option<broadcast::Sender<Notification>>>,
    conflicts: Mutex<VecDeque<Arc<ConflictReport>>>,
    engine: Mutex<Metrics>,
    /// The numbers of replicas in stored records: never behind the store.
    replicas: RwLock<ReplicaTable>,
    /// How many want tombstones to be kept for now.
    tombstones_held: AtomicUsize,
}

/// Tombstones are kept as long as this is.
#[derive(Debug)]
pub(crate) struct HeldTombstones<S: Deref<Target = Shared>>(S);

impl<S: Deref<Target = Shared>> HeldTombstones<S> {
    /// From here on nothing is reclaimed, until the last of these is dropped.
    pub(crate) fn new(shared: S) -> Self {
        shared.tombstones_held.fetch_add(1, Ordering::AcqRel);
        HeldTombstones(shared)
    }
}

impl<S: Deref<Target = Shared>> Drop for HeldTombstones<S> {
    fn drop(&mut self) {
        self.0.tombstones_held.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Shared {
    /// What is stored, as the engine asks for it.
    pub(crate) fn stored(&self) -> Stored<'_> {
        Stored::new(&*self.store, &self.live)
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of a master, brought together in one place")]
    pub(crate) fn new(
        replica: ReplicaId,
        store: Arc<dyn Store>,
        live: LiveIndex,
        keys: Option<TrustedKeys>,
        engine: &Engine,
        schemas: SchemaTable,
        link: LinkState,
        tasks: Tasks,
        random: Random,
        clock: Arc<dyn WallClock>,
        recording: Recording,
    ) -> Self {
        let config = engine.config();
        Shared {
            spread: watch::Sender::new(Spread::of(replica.clone())),
            replica: RwLock::new(replica),
            namespace: config.namespace.clone(),
            limits: config.limits.clone(),
            strategies: config.strategies.clone(),
            schemas,
            store,
            live,
            keys,
            tasks,
            random,
            counters: Counters::default(),
            telemetry: Telemetry::new(&config.namespace, clock, recording),
            vector: watch::Sender::new(engine.vector().clone()),
            link: watch::Sender::new(link),
            log_is_open: watch::Sender::new(false),
            log_is_read: watch::Sender::new(false),
            is_below_floor: AtomicBool::new(false),
            outbox_grew: Notify::new(),
            outbox_drained: Notify::new(),
            notifications: RwLock::new(Some(broadcast::Sender::new(crate::NOTIFICATIONS_MAX))),
            conflicts: Mutex::default(),
            engine: Mutex::default(),
            replicas: RwLock::new(engine.replicas().clone()),
            tombstones_held: AtomicUsize::new(0),
        }
    }

    pub(crate) fn holds_tombstones(&self) -> bool {
        self.tombstones_held.load(Ordering::Acquire) > 0
    }

    /// The identity of this master. Only its name never changes.
    pub(crate) fn replica(&self) -> ReplicaId {
        self.replica.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn replica_is(&self, replica: ReplicaId) {
        *self.replica.write().unwrap_or_else(PoisonError::into_inner) = replica;
    }

    /// Tells whoever listens; nobody need to.
    pub(crate) fn notify(&self, notification: Notification) {
        self.telemetry.notified(&notification);
        if let Some(notifications) = &*self.notifications.read().unwrap_or_else(PoisonError::into_inner) {
            let _ = notifications.send(notification);
        }
    }

    /// Whether anybody listens.
    pub(crate) fn is_heard(&self) -> bool {
        let notifications = self.notifications.read().unwrap_or_else(PoisonError::into_inner);
        notifications.as_ref().is_some_and(|notifications| notifications.receiver_count() > 0)
    }

    pub(crate) fn notifications(&self) -> broadcast::Receiver<Notification> {
        let notifications = self.notifications.read().unwrap_or_else(PoisonError::into_inner);
        match &*notifications {
            Some(notifications) => notifications.subscribe(),
            // Of a closed manager there is nothing more to tell.
            None => broadcast::Sender::new(1).subscribe(),
        }
    }

    /// There is nothing more to tell.
    pub(crate) fn fall_silent(&self) {
        self.notifications.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Notes how the pipeline stands and tells whoever listens, if that changed. A lost log stays lost.
    pub(crate) fn pipeline_is(&self, status: PipelineStatus) {
        let next = LinkState::from(status);
        let changed = self.link.send_if_modified(|link| {
            let changes = *link != next && !matches!(link, LinkState::Lost { .. });
            if changes {
                *link = next.clone();
            }
            changes
        });
        match next {
            LinkState::Up if changed => self.notify(Notification::PipelineUp),
            LinkState::Down { reason } if changed => self.notify(Notification::PipelineDown { reason }),
            _ => {}
        }
    }

    /// Notes that the log is lost and tells whoever listens.
    pub(crate) fn log_is_lost(&self, reason: String) {
        let changed = self.link.send_if_modified(|link| {
            let changes = !matches!(link, LinkState::Lost { .. });
            if changes {
                *link = LinkState::Lost { reason: reason.clone() };
            }
            changes
        });
        if changed {
            metrics::add(&self.counters.logs_lost, 1);
            tracing::error!(replica = %self.replica(), %reason, "the shared log is lost");
            self.notify(Notification::LogLost { reason });
        }
    }

    /// Notes that the log is followed again and tells whoever listens.
    pub(crate) fn log_is_back(&self, status: PipelineStatus) {
        let next = LinkState::from(status);
        let changed = self.link.send_if_modified(|link| {
            let changes = matches!(link, LinkState::Lost { .. });
            if changes {
                *link = next.clone();
            }
            changes
        });
        if changed {
            tracing::info!(replica = %self.replica(), "the shared log is followed again");
            self.notify(Notification::LogReopened);
        }
    }

    pub(crate) fn remember(&self, conflict: Arc<ConflictReport>) {
        let mut conflicts = locked(&self.conflicts);
        if conflicts.len() == CONFLICTS_MAX {
            conflicts.pop_front();
        }
        conflicts.push_back(conflict);
    }

    pub(crate) fn conflicts(&self) -> Vec<Arc<ConflictReport>> {
        locked(&self.conflicts).iter().cloned().collect()
    }

    /// The numbers of replicas in stored records.
    pub(crate) fn replicas(&self) -> RwLockReadGuard<'_, ReplicaTable> {
        self.replicas.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over numbers that the next commit stores.
    pub(crate) fn replicas_grew(&self, new: &[ReplicaId]) {
        let mut replicas = self.replicas.write().unwrap_or_else(PoisonError::into_inner);
        for replica in new {
            replicas.intern(replica);
        }
    }

    /// Stores what the engine counted; the counts of the other tasks in it are ignored.
    pub(crate) fn engine_counted(&self, engine: Metrics) {
        *locked(&self.engine) = engine;
    }

    pub(crate) fn metrics(&self) -> Metrics {
        Metrics {
            events_emitted: metrics::value(&self.counters.events_emitted),
            messages_unreadable: metrics::value(&self.counters.messages_unreadable),
            outbox_len: metrics::value(&self.counters.outbox_len),
            logs_lost: metrics::value(&self.counters.logs_lost),
            tombstones_reclaimed: metrics::value(&self.counters.tombstones_reclaimed),
            repairs: metrics::value(&self.counters.repairs),
            repair_bytes_staged: metrics::value(&self.counters.repair_bytes_staged),
            snapshots_taken: metrics::value(&self.counters.snapshots_taken),
            snapshot_bytes_staged: metrics::value(&self.counters.snapshot_bytes_staged),
            scrubs: metrics::value(&self.counters.scrubs),
            ..*locked(&self.engine)
        }
    }
}

/// The lock, also after a panic elsewhere: what is inside is plain data that is always whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
