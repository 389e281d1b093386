use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{sync::watch, time::Instant};

use super::{MemoryPipeline, lease::Bucket, listener::Listeners, log::Log};
use crate::{Fault, FaultRates, LogId, PipelineStatus, fault::FaultDice};

/// How a [`MemoryBroker`] behaves. The defaults are those of a JetStream server.
#[derive(Clone, Debug)]
pub struct MemoryConfig {
    /// How long a message id is remembered. Default 2 minutes.
    pub duplicate_window: Duration,
    /// After how long a lost acknowledgement is given up. Default 5 seconds.
    pub ack_timeout: Duration,
    /// How many acknowledgements of one handle may be outstanding. Default 256.
    pub in_flight_max: usize,
    /// The largest payload in bytes. Default 64 MiB.
    pub payload_bytes_max: usize,
    /// The largest payload of one message in bytes; a larger one takes several. Default 1 MiB; at least 1.
    pub message_bytes_max: usize,
    /// How many bytes of parts one subscription keeps that wait for others, if one payload does not need more. The
    /// payload that was begun first is given up first. Default 128 MiB.
    pub assembly_bytes_max: usize,
    /// How often published messages meet a mishap. Default never.
    pub fault_rates: FaultRates,
    /// Decides which messages the mishaps strike. Default 0.
    pub fault_seed: u64,
    /// What the broker's clock shows when it is made; from then on it follows tokio's clock, paused or not. Default
    /// now.
    pub epoch: SystemTime,
}

impl Default for MemoryConfig {
    fn default() -> MemoryConfig {
        MemoryConfig {
            duplicate_window: Duration::from_secs(120),
            ack_timeout: Duration::from_secs(5),
            in_flight_max: 256,
            payload_bytes_max: 64 * 1024 * 1024,
            message_bytes_max: 1024 * 1024,
            assembly_bytes_max: 128 * 1024 * 1024,
            fault_rates: FaultRates::default(),
            fault_seed: 0,
            epoch: SystemTime::now(),
        }
    }
}

/// A broker with many named logs. Clones are the same broker.
///
/// Its methods do to it what operators, power cuts and bad disks do to a real one. Each takes effect at once for all
/// pipelines. Those that name a log do nothing if there is none of that name.
#[derive(Clone, Debug)]
pub struct MemoryBroker {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: MemoryConfig,
    pub(super) status: watch::Sender<PipelineStatus>,
    started: Instant,
    state: Mutex<BrokerState>,
}

#[derive(Debug)]
pub(super) struct BrokerState {
    pub(super) running: bool,
    /// Never shrinks: a deleted log leaves its slot, through which its readers learn of the end.
    slots: BTreeMap<String, Slot>,
    created_unix_ns_latest: u64,
    /// How many handles there were.
    handles: u64,
    dice: FaultDice,
    faults_next: VecDeque<Fault>,
    lease_faults_next: VecDeque<Fault>,
}

#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) log: Option<Log>,
    /// What is known of the lease; `None` before its first use.
    pub(super) lease: Option<Bucket>,
    pub(super) listeners: Listeners,
    /// Changes whenever a reader may have something to see.
    pub(super) changed: watch::Sender<()>,
}

impl Default for MemoryBroker {
    fn default() -> MemoryBroker {
        MemoryBroker::new(MemoryConfig::default())
    }
}

impl MemoryBroker {
    /// A running broker without logs.
    pub fn new(config: MemoryConfig) -> MemoryBroker {
        let state = BrokerState {
            running: true,
            slots: BTreeMap::new(),
            created_unix_ns_latest: 0,
            handles: 0,
            dice: FaultDice::new(config.fault_rates, config.fault_seed),
            faults_next: VecDeque::new(),
            lease_faults_next: VecDeque::new(),
        };
        let shared = Shared {
            config,
            status: watch::Sender::new(PipelineStatus::Up),
            started: Instant::now(),
            state: Mutex::new(state),
        };
        MemoryBroker { shared: Arc::new(shared) }
    }

    /// A new handle on the log of `namespace`, as one replica holds it. Several handles are several replicas.
    pub fn pipeline(&self, namespace: &str) -> MemoryPipeline {
        MemoryPipeline::new(self.shared.clone(), namespace)
    }

    /// Stops the broker: every handle is down, publishing is refused, delivery stands still. Logs are kept, and leases go
    /// on expiring.
    pub fn stop(&self) {
        self.set_running(false);
    }

    /// Starts a stopped broker again.
    pub fn start(&self) {
        self.set_running(true);
    }

    fn set_running(&self, running: bool) {
        let mut state = self.shared.lock();
        state.running = running;
        let status = match running {
            true => PipelineStatus::Up,
            false => PipelineStatus::Down { reason: Shared::STOPPED.to_owned() },
        };
        self.shared.status.send_if_modified(|current| {
            let modified = *current != status;
            *current = status;
            modified
        });
        state.announce_all();
    }

    /// Deletes a log. Its readers end with [`LogMissing`](crate::PipelineError::LogMissing), or with
    /// [`LogReplaced`](crate::PipelineError::LogReplaced) if it is opened again before they look.
    pub fn delete_log(&self, namespace: &str) {
        let mut state = self.shared.lock();
        let slot = state.slot(namespace);
        slot.log = None;
        slot.changed.send_replace(());
    }

    /// Forgets the lease of a namespace and all its revisions, as when its bucket is deleted: nobody holds it, and the
    /// next one who does has the revision 1.
    pub fn drop_lease(&self, namespace: &str) {
        let mut state = self.shared.lock();
        let slot = state.slot(namespace);
        slot.lease = None;
        slot.changed.send_replace(());
    }

    /// Deletes all logs and leases, as a broker that lost its disk.
    pub fn wipe(&self) {
        let mut state = self.shared.lock();
        for slot in state.slots.values_mut() {
            slot.log = None;
            slot.lease = None;
        }
        state.announce_all();
    }

    /// Loses the newest `count` messages of a log although they were acknowledged, as JetStream does on a power cut
    /// before it has synced. The next messages take their sequences.
    pub fn truncate_tail(&self, namespace: &str, count: usize) {
        self.change_log(namespace, |log| log.truncate_tail(count));
    }

    /// Drops the oldest `count` messages of a log, as a retention limit does.
    pub fn trim_head(&self, namespace: &str, count: usize) {
        self.change_log(namespace, |log| log.trim_head(count));
    }

    /// Drops all messages of a log. Sequences go on from where they were, and message ids stay known.
    pub fn purge(&self, namespace: &str) {
        self.change_log(namespace, Log::purge);
    }

    /// Strikes the next published or appended message with `fault`. Several calls strike the next several messages in order,
    /// before the configured rates come into play again.
    pub fn fault_next(&self, fault: Fault) {
        self.shared.lock().faults_next.push_back(fault);
    }

    /// Strikes the next acquiring, renewing or releasing of a lease with `fault`: [`Fault::LoseMessage`] has no effect on
    /// the lease, [`Fault::LoseAck`] has, and both time out. [`Fault::StoreTwice`] does nothing. Several calls strike the
    /// next several calls in order.
    pub fn fault_next_lease_call(&self, fault: Fault) {
        self.shared.lock().lease_faults_next.push_back(fault);
    }

    /// Sets how often published messages meet a mishap from now on. The sequence of random numbers goes on.
    pub fn set_fault_rates(&self, rates: FaultRates) {
        self.shared.lock().dice.set_rates(rates);
    }

    /// Strikes nothing any more: forgets the rates, and the faults that were set for next messages and next calls.
    pub fn forget_faults(&self) {
        let mut state = self.shared.lock();
        state.dice.set_rates(FaultRates::default());
        state.faults_next.clear();
        state.lease_faults_next.clear();
    }

    fn change_log(&self, namespace: &str, change: impl FnOnce(&mut Log)) {
        let mut state = self.shared.lock();
        let slot = state.slot(namespace);
        if let Some(log) = &mut slot.log {
            change(log);
            slot.changed.send_replace(());
        }
    }
}

impl Shared {
    pub(super) const STOPPED: &str = "the broker is stopped";

    pub(super) fn lock(&self) -> MutexGuard<'_, BrokerState> {
        // No code panics between two halves of a change, so a poisoned state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The broker's clock.
    pub(super) fn now(&self) -> SystemTime {
        self.config.epoch + self.started.elapsed()
    }
}

impl BrokerState {
    pub(super) fn slot(&mut self, namespace: &str) -> &mut Slot {
        if !self.slots.contains_key(namespace) {
            self.slots.insert(namespace.to_owned(), Slot::default());
        }
        self.slots.get_mut(namespace).expect("inserted above")
    }

    /// Makes the log, which ends at `sequence`. Creation times strictly increase, so that no two logs share an identity.
    pub(super) fn create_log(&mut self, name: &str, sequence: u64, now: SystemTime) {
        let now_ns = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let now_ns = u64::try_from(now_ns).unwrap_or(u64::MAX);
        self.created_unix_ns_latest = now_ns.max(self.created_unix_ns_latest + 1);
        let id = LogId { name: name.to_owned(), created_unix_ns: self.created_unix_ns_latest };
        let slot = self.slot(name);
        slot.log = Some(Log::new(id, sequence));
        slot.changed.send_replace(());
    }

    /// The number of a new handle.
    pub(super) fn count_handle(&mut self) -> u64 {
        self.handles += 1;
        self.handles
    }

    /// The mishap of the message that is published now.
    pub(super) fn draw_fault(&mut self) -> Option<Fault> {
        self.faults_next.pop_front().or_else(|| self.dice.roll())
    }

    /// The mishap of the change of a lease that is made now.
    pub(super) fn draw_lease_fault(&mut self) -> Option<Fault> {
        self.lease_faults_next.pop_front()
    }

    fn announce_all(&self) {
        for slot in self.slots.values() {
            slot.changed.send_replace(());
        }
    }
}
