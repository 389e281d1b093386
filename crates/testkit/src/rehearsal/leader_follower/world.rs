use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use archipelago_manager::leader_follower::{LeaderFollowerManager, Notification, Role, Write};
use archipelago_pipeline::{MemoryBroker, MemoryConfig, Switch};
use tokio::{task::JoinHandle, time::Instant};

use super::{
    super::schedule::{Process, Schedule},
    clock::{Clock, EPOCH_UNIX_MS, NodeClock},
    disk::Disk,
    host::{Host, Life},
    kind::Kind,
    scenario::{NodePlan, Scenario},
    tap::{Arrivals, Tap},
    way::Way,
};
use crate::history::Recorder;

pub(super) const NAMESPACE: &str = "orders";

/// What a node told of itself.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) node: String,
    pub(super) at_ns: u64,
    pub(super) what: Notification,
}

/// The broker, the nodes, and what is known of them.
pub(super) struct World {
    pub(super) scenario: Scenario,
    pub(super) broker: MemoryBroker,
    pub(super) recorder: Recorder,
    pub(super) arrivals: Arrivals,
    pub(super) clock: Clock,
    schedule: Schedule,
    /// That of all that is no node.
    outside: Process,
    /// Who is to lead, where there is no election.
    appointed: Mutex<usize>,
    hosts: Mutex<Vec<Host>>,
    told: Mutex<Vec<Told>>,
    trace: Mutex<Vec<String>>,
    faults: Mutex<BTreeMap<&'static str, u64>>,
    troubled: Mutex<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(super) fn new(scenario: Scenario, schedule: Schedule) -> Arc<World> {
        let clock = Clock::new();
        let config = MemoryConfig {
            fault_seed: scenario.seed,
            ack_timeout: Duration::from_secs(1),
            epoch: SystemTime::UNIX_EPOCH + Duration::from_millis(EPOCH_UNIX_MS),
            ..MemoryConfig::default()
        };
        let recorder = Recorder::with_clock({
            let clock = clock.clone();
            move || clock.now_ns()
        });
        let host = |plan: &NodePlan| Host::new(plan.clone(), NodeClock::new(clock.clone()));
        let hosts = scenario.nodes.iter().map(host).collect();
        let world = World {
            broker: MemoryBroker::new(config),
            recorder,
            arrivals: Arrivals::default(),
            clock,
            outside: schedule.process(),
            schedule,
            appointed: Mutex::default(),
            hosts: Mutex::new(hosts),
            told: Mutex::default(),
            trace: Mutex::default(),
            faults: Mutex::default(),
            troubled: Mutex::new(true),
            scenario,
        };
        world.note(format!("{:#?}", world.scenario));
        Arc::new(world)
    }

    pub(super) fn hosts(&self) -> MutexGuard<'_, Vec<Host>> {
        lock(&self.hosts)
    }

    pub(super) fn life(&self, node: usize) -> Option<Life> {
        self.hosts()[node].life.clone()
    }

    pub(super) fn managers(&self) -> Vec<LeaderFollowerManager> {
        self.hosts().iter().filter_map(|host| host.life.as_ref().map(|life| life.manager.clone())).collect()
    }

    /// Adds a line to what is told of a run that failed.
    pub(super) fn note(&self, line: impl Into<String>) {
        let at_ms = self.clock.elapsed().as_millis();
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

    /// The log lost something that it had.
    pub(super) fn lost_something(&self) -> bool {
        let faults = lock(&self.faults);
        Kind::ALL.into_iter().any(|kind| kind.is_loss() && faults.contains_key(kind.name()))
    }

    /// Who is to lead, where there is no election.
    pub(super) fn appointed(&self) -> usize {
        *lock(&self.appointed)
    }

    pub(super) fn appoint(&self, node: usize) {
        *lock(&self.appointed) = node;
    }

    pub(super) fn told(&self) -> Vec<Told> {
        lock(&self.told).clone()
    }

    /// Things still break.
    pub(super) fn is_troubled(&self) -> bool {
        *lock(&self.troubled)
    }

    /// Runs what is no part of a node.
    pub(super) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.outside.spawn(future)
    }

    pub(super) async fn start_all(self: &Arc<Self>) {
        for node in 0..self.scenario.nodes.len() {
            self.start(node).await;
        }
    }

    /// Starts a node that does not run, on the disk that it has.
    pub(super) async fn start(self: &Arc<Self>, node: usize) {
        while self.hosts()[node].is_busy {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (plan, disk, clock, life) = {
            let mut hosts = self.hosts();
            let host = &mut hosts[node];
            if host.life.is_some() {
                return;
            }
            host.is_busy = true;
            host.lives += 1;
            (host.plan.clone(), Disk::new(host.disk.clone()), host.clock.clone(), host.lives)
        };
        let Scenario { options, .. } = &self.scenario;
        let seed = self.scenario.seed.wrapping_mul(1_000).wrapping_add(node as u64 * 100 + life);
        let Scenario { latency_max, lose_rate, repeat_rate, .. } = self.scenario;
        let way = Way::new(latency_max, lose_rate, repeat_rate, seed);
        if !self.is_troubled() {
            way.mend();
        }
        let inner = self.broker.pipeline(NAMESPACE);
        let tap = Tap::new(inner, &plan.name, self.arrivals.clone(), self.clock.clone(), way.clone());
        let switch = Switch::new(Arc::new(tap));
        let process = self.schedule.process();
        let mut builder = LeaderFollowerManager::builder();
        if self.scenario.is_appointed {
            let appointed = self.appointed();
            let role = if appointed == node { Role::Leader } else { Role::Follower };
            builder = builder.role(role).leader_id(&self.scenario.nodes[appointed].name);
        }
        let started = builder
            .node_id(&plan.name)
            .namespace(NAMESPACE)
            .store(disk.clone())
            .pipeline(switch.clone())
            .clock(clock)
            .seed(seed)
            .turns(Arc::new(process.clone()))
            .promotion_eligible(plan.is_eligible)
            .priority(plan.priority)
            .on_follower(plan.on_follower)
            .lease(self.scenario.lease)
            .heartbeat_interval(self.scenario.heartbeat)
            .heartbeat_timeout(self.scenario.heartbeat * 5)
            .reconnect_backoff(Duration::from_millis(50), Duration::from_secs(1))
            .snapshot_timeout(Duration::from_secs(5))
            .read_timeout(options.read_timeout)
            .tail_entries_max(options.tail_entries_max)
            .log_entries_max(options.log_entries_max)
            .resync_threshold(options.resync_threshold)
            .page_bytes(options.page_bytes)
            .in_flight_max(options.in_flight_max)
            .writes_waiting_max(options.writes_waiting_max)
            .start()
            .await;
        let manager =
            started.expect("a node starts, whatever its disk holds and whether or not there is a broker");
        self.note(format!("{} starts, with {} applied", plan.name, manager.last_applied_sequence()));
        let (world, mut notifications) = (Arc::clone(self), manager.subscribe());
        self.spawn(async move {
            while let Some(what) = notifications.next().await {
                if !matches!(what, Notification::EventApplied { .. } | Notification::FollowersChanged { .. })
                {
                    world.note(format!("{} tells {what:?}", plan.name));
                }
                let at_ns = world.clock.now_ns();
                lock(&world.told).push(Told { node: plan.name.clone(), at_ns, what });
            }
        });
        let host = &mut self.hosts()[node];
        host.is_busy = false;
        host.life = Some(Life { manager, process, switch, disk, way });
    }

    /// Closes a node as its owner does.
    pub(super) async fn close(&self, node: usize) {
        let life = {
            let host = &mut self.hosts()[node];
            let Some(life) = host.life.take() else { return };
            host.is_busy = true;
            host.had = life.manager.last_applied_sequence();
            life
        };
        let manager = life.manager.clone();
        let closed = life.process.spawn(async move { manager.close().await }).await;
        if let Err(error) = closed.expect("a node that is closed does not panic") {
            self.note(format!("{} is not closed well: {error}", life.manager.node_id()));
        }
        let host = &mut self.hosts()[node];
        host.had = life.manager.last_applied_sequence();
        host.is_busy = false;
    }

    /// Nothing breaks any more, and what is broken is whole again.
    pub(super) fn mend(&self) {
        self.note("nothing breaks any more");
        *lock(&self.troubled) = false;
        // Also what was to strike appends that nobody made yet: there may be many by now.
        self.broker.forget_faults();
        self.broker.start();
        for host in &*self.hosts() {
            if let Some(life) = &host.life {
                life.switch.heal();
                life.switch.release();
                life.process.resume();
                life.way.mend();
            }
        }
    }

    /// Waits until one node leads and all know it, writes succeed, and all are equal.
    pub(super) async fn settle(&self, deadline: Instant) -> Result<(), String> {
        let run = || self.hosts().iter().all(|host| host.life.as_ref().is_some_and(|life| life.disk.works()));
        while !run() {
            if Instant::now() >= deadline {
                return Err("a node does not run".into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let managers = self.managers();
        for round in 0..3 {
            let written = async {
                loop {
                    let leading: Vec<_> = managers.iter().filter(|manager| manager.is_leader()).collect();
                    if let [leader] = leading[..]
                        && managers
                            .iter()
                            .all(|other| other.leader().is_some_and(|known| known.id == leader.node_id()))
                    {
                        // Of a key that nobody else writes.
                        let write = Write::upsert("the end", &format!("round {round}"));
                        match leader.write(write.within(Duration::from_secs(10))).await {
                            Ok(_) => return,
                            Err(error) => self.note(format!("a last write: {error}")),
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            if tokio::time::timeout_at(deadline, written).await.is_err() {
                return Err(format!("no write succeeds although nothing breaks any more:{}", self.states()));
            }
        }
        let equal = async {
            loop {
                let states: Vec<_> = managers
                    .iter()
                    .map(|node| (node.history_digest(), node.digest(), node.key_count(), node.health()))
                    .collect();
                if states.windows(2).all(|pair| pair[0] == pair[1]) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout_at(deadline, equal).await {
            Ok(()) => Ok(()),
            Err(_) => Err(format!("the nodes do not become equal:{}", self.states())),
        }
    }

    fn states(&self) -> String {
        let mut text = String::new();
        for node in self.managers() {
            let (name, role, term, health) = (node.node_id(), node.role(), node.term(), node.health());
            let (index, chain) = node.history_digest();
            let trouble = node.follower_state().and_then(|state| state.trouble);
            let leader = node.leader().map(|leader| leader.id);
            text += &format!(
                "\n  {name}: {role:?} in term {term}, {health:?}, {index} applied ({chain:032x}, {} keys), leader \
                 {leader:?}, trouble {trouble:?}",
                node.key_count()
            );
        }
        text
    }
}
