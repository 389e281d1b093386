use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use archipelago_conflict::Strategy;
use archipelago_manager::{MultiMasterManager, Notification, StartError};
use archipelago_pipeline::{FaultRates, MemoryBroker, MemoryConfig, Switch, snapshots::MemorySnapshots};
use archipelago_store::Durability;
use bytes::Bytes;
use tokio::{task::JoinHandle, time::Instant};

use super::{
    super::schedule::{Process, Schedule},
    book::Book,
    disk::Disk,
    host::{Host, HostClock, Life, Standing},
    platter::{End, Image, Platter, Recorder, Stored},
    scenario::{Scenario, Snapshots},
    tap::{Silence, Tap, Witness},
};
use crate::{
    StoredMaster,
    simulation::{
        Deed, Dice,
        scenario::{MERGED_PREFIX, PREFIXES, merged},
        wall_clock::START_UNIX_MS,
    },
};

pub(super) const NAMESPACE: &str = "rehearsed";

/// How often it is looked whether something has come about.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// How long it takes until a process is started again whose store failed.
const REOPEN_AFTER: Duration = Duration::from_millis(200);

/// The broker, the machines, and what is known of them.
pub(super) struct World {
    pub(super) scenario: Scenario,
    pub(super) broker: MemoryBroker,
    snapshots: MemorySnapshots,
    schedule: Schedule,
    /// That of all that is no master.
    outside: Process,
    began: Instant,
    hosts: Mutex<Vec<Host>>,
    book: Arc<Mutex<Book>>,
    dice: Mutex<Dice>,
    lives: AtomicU64,
    lineages: AtomicU64,
    trace: Mutex<Vec<String>>,
    faults: Mutex<BTreeMap<&'static str, u64>>,
    troubled: Mutex<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes what reaches disks and log.
#[derive(Debug)]
struct Clerk(Arc<Mutex<Book>>);

impl Recorder for Clerk {
    fn stored(&self, host: usize, stored: &Stored<'_>) {
        lock(&self.0).stored(host, stored);
    }
}

impl Witness for Clerk {
    fn published(&self, payload: &Bytes) {
        lock(&self.0).published(payload);
    }
}

impl World {
    pub(super) fn new(scenario: Scenario, schedule: Schedule) -> Arc<World> {
        let settings = scenario.settings();
        let config = MemoryConfig {
            duplicate_window: Duration::from_millis(settings.deduplication_ms),
            ack_timeout: scenario.options.ack_timeout,
            fault_rates: scenario.fault_rates(),
            fault_seed: scenario.case.seed,
            epoch: SystemTime::UNIX_EPOCH + Duration::from_millis(START_UNIX_MS),
            ..MemoryConfig::default()
        };
        let strategies = scenario.simulated.strategies().clone();
        let world = World {
            broker: MemoryBroker::new(config),
            snapshots: MemorySnapshots::default(),
            outside: schedule.process(),
            schedule,
            began: Instant::now(),
            hosts: Mutex::default(),
            book: Arc::new(Mutex::new(Book::new(strategies))),
            dice: Mutex::new(Dice::keyed(scenario.case.seed, [INSIDE, 0, 0])),
            lives: AtomicU64::new(0),
            lineages: AtomicU64::new(0),
            trace: Mutex::default(),
            faults: Mutex::default(),
            troubled: Mutex::new(true),
            scenario,
        };
        world.note(format!("{:?} {:?}", world.scenario.settings(), world.scenario.options));
        Arc::new(world)
    }

    pub(super) fn hosts(&self) -> MutexGuard<'_, Vec<Host>> {
        lock(&self.hosts)
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    pub(super) fn dice(&self) -> MutexGuard<'_, Dice> {
        lock(&self.dice)
    }

    pub(super) fn life(&self, at: usize) -> Option<Life> {
        self.hosts()[at].life.clone()
    }

    /// Adds a line to what is told of a run that failed.
    pub(super) fn note(&self, line: impl Into<String>) {
        let at_ms = self.began.elapsed().as_millis();
        lock(&self.trace).push(format!("{at_ms:>7} ms  {}", line.into()));
    }

    pub(super) fn count(&self, fault: &'static str) {
        *lock(&self.faults).entry(fault).or_default() += 1;
    }

    pub(super) fn trace(&self) -> Vec<String> {
        lock(&self.trace).clone()
    }

    pub(super) fn fault_counts(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.faults).clone()
    }

    /// Things still break.
    pub(super) fn is_troubled(&self) -> bool {
        *lock(&self.troubled)
    }

    /// Runs what is no part of a master.
    pub(super) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.outside.spawn(future)
    }

    /// Does something to the world after a while.
    pub(super) fn after<F>(self: &Arc<Self>, time: Duration, what: impl FnOnce(Arc<World>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let what = what(Arc::clone(self));
        self.spawn(async move {
            tokio::time::sleep(time).await;
            what.await;
        });
    }

    pub(super) async fn begin(self: &Arc<Self>) {
        for _ in 0..self.scenario.settings().replicas {
            let at = self.settle_host();
            self.start(at).await;
        }
    }

    /// A new machine with an empty disk. Gives its number.
    pub(super) fn settle_host(&self) -> usize {
        let name = format!("m{}", self.hosts().len());
        self.add(name, None, Standing::Member)
    }

    /// A machine with this on its disk, a copy of one of this lineage.
    pub(super) fn add(&self, name: String, copy: Option<(Image, u64)>, standing: Standing) -> usize {
        let mut hosts = self.hosts();
        let at = hosts.len();
        let platter = self.platter(at, copy);
        hosts.push(Host {
            name,
            seen: None,
            platter,
            clock: HostClock::new(self.began),
            life: None,
            standing,
            backup: None,
            is_busy: false,
        });
        at
    }

    /// A disk for a host: an empty one, or with a copy of one of this lineage.
    pub(super) fn platter(&self, at: usize, copy: Option<(Image, u64)>) -> Platter {
        let (image, of) = copy.map_or((Image::new(), None), |(image, of)| (image, Some(of)));
        let lineage = self.lineages.fetch_add(1, Ordering::Relaxed);
        let platter = Platter::new(at, lineage, image, Arc::new(Clerk(self.book.clone())));
        if let Some(of) = of {
            self.book().copied(lineage, of, &platter);
        }
        platter
    }

    /// What is left on a disk is a copy of what was there. Gives of which lineage that was.
    pub(super) fn is_a_copy(&self, platter: &Platter) -> u64 {
        let (before, lineage) = (platter.lineage(), self.lineages.fetch_add(1, Ordering::Relaxed));
        platter.has_lineage(lineage);
        self.book().copied(lineage, before, platter);
        before
    }

    /// Starts a process that does not run, on the disk that is there. Waits until that is possible.
    pub(super) async fn start(self: &Arc<Self>, at: usize) {
        while self.may_start(at) {
            let started = self.started(at).await;
            match self.has_started(at, started) {
                Ok(life) => return self.listen(at, &life),
                Err(error @ StartError::Store(_)) => self.note(format!("{at} cannot start: {error}")),
                Err(error) => return self.book().violates("start", format!("{at} cannot start: {error}")),
            }
            tokio::time::sleep(REOPEN_AFTER).await;
        }
    }

    fn may_start(&self, at: usize) -> bool {
        let host = &mut self.hosts()[at];
        let may = host.life.is_none() && !host.is_busy && host.standing != Standing::Gone;
        host.is_busy |= may;
        may
    }

    fn has_started(&self, at: usize, started: Result<Life, StartError>) -> Result<Life, StartError> {
        let mut hosts = self.hosts();
        hosts[at].is_busy = false;
        match &started {
            Ok(life) => {
                hosts[at].life = Some(life.clone());
                drop(hosts);
                self.note(format!("{at} starts as {}, the life {}", life.manager.master_id(), life.number));
            }
            Err(_) => drop(hosts[at].platter.ends(End::Killed { keep: usize::MAX })),
        }
        started
    }

    async fn started(&self, at: usize) -> Result<Life, StartError> {
        let (name, platter, clock) = {
            let host = &self.hosts()[at];
            (host.name.clone(), host.platter.clone(), host.clock.clone())
        };
        let number = self.lives.fetch_add(1, Ordering::Relaxed);
        let (settings, options) = (self.scenario.settings(), &self.scenario.options);
        let seed = Dice::keyed(self.scenario.case.seed, [LIFE, number, 0]).word();
        let tap = Tap::new(
            self.broker.pipeline(NAMESPACE),
            Clerk(self.book.clone()),
            self.scenario.latency(),
            seed,
        );
        let switch = Switch::new(Arc::new(tap.clone()));
        let disk = Disk::new(Arc::new(platter.clone()));
        let process = self.schedule.process_with_disk(options.disk_time_max);
        let durability = match settings.durability {
            crate::simulation::Durability::Os => Durability::Os,
            crate::simulation::Durability::Fsync => Durability::Fsync,
        };
        let mut builder = MultiMasterManager::builder()
            .master_id(name)
            .namespace(NAMESPACE)
            .store(disk.clone())
            .pipeline(switch.clone())
            .clock(clock)
            .seed(seed)
            .turns(Arc::new(process.clone()))
            .durability(durability)
            .heartbeat_interval(Duration::from_millis(settings.heartbeat_ms))
            .max_drift(Duration::from_millis(settings.max_drift_ms))
            .event_buffer_size(settings.event_buffer_events_max)
            .outbox_events_max(options.outbox_events_max)
            .conflict_journal_max(options.conflict_journal_max)
            .conflict_strategy(Strategy::Lww)
            .prefix_strategy(MERGED_PREFIX, merged());
        for (prefix, strategy) in PREFIXES {
            builder = builder.prefix_strategy(prefix, strategy);
        }
        if let Snapshots::Every { interval, threshold } = options.snapshots {
            builder = builder
                .snapshots(self.snapshots.clone())
                .snapshot_every(interval)
                .snapshot_threshold(threshold);
        }
        let lineage = platter.lineage();
        let manager = builder.start().await?;
        Ok(Life { number, manager, process, switch, tap, disk, lineage })
    }

    /// Notes what a master tells of itself.
    fn listen(self: &Arc<Self>, at: usize, life: &Life) {
        let (world, number) = (Arc::clone(self), life.number);
        let mut notifications = life.manager.subscribe();
        self.spawn(async move {
            while let Some(what) = notifications.next().await {
                world.told(at, number, &what);
            }
        });
    }

    fn told(self: &Arc<Self>, at: usize, number: u64, what: &Notification) {
        match what {
            Notification::EventApplied { dot, .. } => self.note(format!("{at} applies {dot}")),
            Notification::ConflictDetected(report) => {
                self.note(format!("{at} tells of a conflict on {}", report.entity_id));
            }
            what => self.note(format!("{at} tells {what:?}")),
        }
        let forked = self.book().ledger.has_forked();
        match what {
            // Copies of one store may stand for different states by one vector, until they are told apart.
            Notification::Diverged { master_id } if !forked => {
                self.book().violates("convergence", format!("{at} tells that {master_id} diverged"));
            }
            Notification::Damaged { .. }
            | Notification::StrategyMismatch { .. }
            | Notification::FormatMismatch { .. } => {
                self.book().violates("alarm", format!("{at} tells {what:?}"));
            }
            Notification::StoreFailed { .. } => {
                self.after(REOPEN_AFTER, |world| async move {
                    if world.life(at).is_some_and(|life| life.number == number) {
                        world.kill(at, End::Killed { keep: 0 });
                        world.start(at).await;
                    }
                });
            }
            _ => {}
        }
    }

    /// The process of a host ends, if it runs. Gives how many commits are lost with it.
    pub(super) fn kill(&self, at: usize, end: End) -> Option<usize> {
        let mut hosts = self.hosts();
        let life = hosts[at].life.take()?;
        life.kill();
        let lost = hosts[at].platter.ends(end);
        drop(hosts);
        self.note(format!("{at} is killed, {end:?}, {lost} commits are lost"));
        Some(lost)
    }

    /// A process that is to be killed already is no more.
    pub(super) fn bury(&self, at: usize, number: u64) -> bool {
        let is_it = self.life(at).is_some_and(|life| life.number == number);
        is_it && self.kill(at, End::Killed { keep: usize::MAX }).is_some()
    }

    /// The only disks that had them are gone: nobody promised these. Those of the lineage `but` must be somewhere.
    pub(super) fn excuse_what_is_gone(&self, but: Option<u64>) {
        let mut disks = Vec::new();
        for host in self.hosts().iter().filter(|host| host.standing != Standing::Gone) {
            match StoredMaster::read(&host.platter, self.scenario.simulated.strategies()) {
                Ok(master) => disks.extend(master.map(|master| master.vector)),
                Err(error) => self.book().violates("store", format!("{}: {error}", host.name)),
            }
        }
        let excused = self.book().excuse_what_is_gone(&disks, but);
        if excused > 0 {
            self.note(format!("{excused} writes are lost with their only disk"));
        }
    }

    /// A twin is gone for good, and its disk with it.
    pub(super) fn twin_ends(&self, at: usize) {
        if self.hosts()[at].standing == Standing::Gone {
            return;
        }
        self.kill(at, End::Killed { keep: 0 });
        self.hosts()[at].standing = Standing::Gone;
        self.note(format!("the twin {at} is gone"));
        self.excuse_what_is_gone(None);
    }

    /// Nothing breaks any more, and what is broken is whole again.
    pub(super) async fn mend(self: &Arc<Self>) {
        self.note("nothing breaks any more");
        *lock(&self.troubled) = false;
        self.broker.set_fault_rates(FaultRates::default());
        self.broker.start();
        for host in &*self.hosts() {
            host.clock.is_right();
            host.platter.is_whole();
            if let Some(life) = &host.life {
                life.switch.heal();
                life.switch.release();
                life.tap.falls_silent(Silence::None);
                life.process.resume();
            }
        }
        while self.hosts().iter().any(|host| host.is_busy) {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        let count = self.hosts().len();
        for at in 0..count {
            if self.hosts()[at].standing == Standing::Twin {
                self.twin_ends(at);
            }
        }
        for at in 0..count {
            self.start(at).await;
        }
    }

    pub(super) fn members(&self) -> Vec<MultiMasterManager> {
        let hosts = self.hosts();
        let members = hosts.iter().filter(|host| host.standing == Standing::Member);
        members.filter_map(|host| host.life.as_ref().map(|life| life.manager.clone())).collect()
    }

    /// Whatever process runs there now: one whose store failed has another one after it.
    async fn takes_last_write(&self, at: usize, number: u64) -> Result<(), String> {
        let life = self.life(at).ok_or("it does not run")?;
        // Beyond what clients write to.
        let written = life.manager.write("whole/end", &number).await;
        written.map(drop).map_err(|error| error.to_string())
    }

    /// Waits until all members, each of which writes something, are equal.
    pub(super) async fn settle(&self, deadline: Instant) -> Result<(), String> {
        let count = self.hosts().len();
        for at in 0..count {
            if self.hosts()[at].standing != Standing::Member {
                continue;
            }
            let number = self.book().number(Deed::Put);
            while let Err(error) = self.takes_last_write(at, number).await {
                if Instant::now() >= deadline {
                    return Err(format!("{at} takes no write: {error}"));
                }
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        }
        loop {
            let (members, mut states) = (self.members(), Vec::new());
            for member in &members {
                // Of one whose store failed there is another process soon.
                let Ok((vector, digest)) = member.state_digest().await else { continue };
                let name = member.master_id();
                states.push((name, vector, digest.root(), member.metrics().outbox_len));
            }
            let is_equal = states.windows(2).all(|pair| pair[0].1 == pair[1].1 && pair[0].2 == pair[1].2);
            let is_sent = states.iter().all(|(.., outbox)| *outbox == 0);
            if is_equal && is_sent && !members.is_empty() && states.len() == members.len() {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let mut text = "the masters do not become equal:".to_owned();
                for (name, vector, digest, outbox) in states {
                    text += &format!("\n  {name}: {vector}, {digest:?}, {outbox} in the outbox");
                }
                return Err(text);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }
}

/// Sets these dice apart from others of the same seed.
const INSIDE: u64 = 102;
const LIFE: u64 = 103;
