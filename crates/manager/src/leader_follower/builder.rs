use std::{
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use archipelago_pipeline::{Pipeline, PipelineError, check_name};
use archipelago_proto::Limits;
use archipelago_store::{Durability, Store};
use metrics::Recorder;
use rand::RngExt;
use tokio::sync::{mpsc, watch};

use super::{
    LeaderFollowerManager, PRIORITY_MAX, fresh,
    lease_keeper::{self, LeaseHandle, LeaseKeeper, LeaseView},
    manager::{Running, Weak},
    node::{LogView, Node},
    options::{OnFollower, Options, Role},
    reach,
    shared::Shared,
    state, voice,
};
use crate::{
    Signatures, StartError, SystemClock, TrustedKeys, Turns, WallClock, recording::Recording,
    signatures::KeyRing, turns::Tasks,
};

/// How many commands wait for the owner of the state before further ones wait to be taken.
const COMMANDS_MAX: usize = 1_024;
/// How long the lease is waited for at the start, if the broker is away.
const LEASE_RETRY: Duration = Duration::from_millis(200);

/// The options of a [`LeaderFollowerManager`]; [`start`](Self::start) starts it.
#[derive(Debug)]
#[must_use = "nothing happens before `start`"]
pub struct LeaderFollowerBuilder {
    node_id: Option<String>,
    namespace: String,
    store: Option<Arc<dyn Store>>,
    pipeline: Option<Arc<dyn Pipeline>>,
    signatures: Option<Signatures>,
    options: Options,
    clock: Arc<dyn WallClock>,
    seed: Option<u64>,
    tasks: Tasks,
    recording: Recording,
}

impl Default for LeaderFollowerBuilder {
    fn default() -> Self {
        LeaderFollowerBuilder {
            node_id: None,
            namespace: "default".into(),
            store: None,
            pipeline: None,
            signatures: None,
            options: Options::default(),
            clock: Arc::new(SystemClock),
            seed: None,
            tasks: Tasks::default(),
            recording: Recording::default(),
        }
    }
}

impl LeaderFollowerBuilder {
    /// The name of the node: 1 to 64 of `A-Z a-z 0-9 _ -`, unique in the namespace. Required.
    pub fn node_id(mut self, name: impl Into<String>) -> Self {
        self.node_id = Some(name.into());
        self
    }

    /// The data set that the nodes share: 1 to 64 of `A-Z a-z 0-9 _ -`. Default `default`.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Where the node keeps its state. Required.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// What carries the log, and what the nodes say to one another, for this namespace. Required.
    pub fn pipeline(mut self, pipeline: impl Pipeline) -> Self {
        self.pipeline = Some(Arc::new(pipeline));
        self
    }

    /// Signs what this node says, and believes only what is signed by those whose keys it knows. Default: nothing is signed,
    /// and whoever may publish in the name of a node at the broker is believed. The lease is that of the broker, and is
    /// not signed.
    pub fn signatures(mut self, signatures: Signatures) -> Self {
        self.signatures = Some(signatures);
        self
    }

    /// Who records what this node measures; docs/METRICS.md lists it. Default: the recorder of the process, if one is
    /// installed before the start.
    pub fn recorder(mut self, recorder: Arc<dyn Recorder + Send + Sync>) -> Self {
        self.recording = Recording::of(recorder);
        self
    }

    /// How the node comes to lead. Default [`Role::Automatic`]. All nodes of a namespace elect, or none: a node that
    /// leads without an election knows of no lease.
    pub fn role(mut self, role: Role) -> Self {
        self.options.role = role;
        self
    }

    /// Who leads at the start, for those who elect elsewhere. Default: it is found out.
    pub fn leader_id(mut self, leader: impl Into<String>) -> Self {
        self.options.leader_id = Some(leader.into());
        self
    }

    /// Where clients reach this node; others give it to clients as the address of the leader. Any text, up to 1,024 bytes.
    /// Default none.
    pub fn address(mut self, address: impl Into<String>) -> Self {
        self.options.address = Some(address.into());
        self
    }

    /// What the node does with writes while it follows. Default [`OnFollower::Refuse`].
    pub fn on_follower(mut self, on_follower: OnFollower) -> Self {
        self.options.on_follower = on_follower;
        self
    }

    /// How often the node says how it is, and makes sure that it is fresh. Default 1 second.
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.options.heartbeat_interval = interval;
        self
    }

    /// After how long without a heartbeat another node counts as gone. Default 5 seconds.
    pub fn heartbeat_timeout(mut self, timeout: Duration) -> Self {
        self.options.heartbeat_timeout = timeout;
        self
    }

    /// From when on the node calls itself [stale](LeaderFollowerManager::is_stale). Default 30 seconds.
    pub fn max_staleness(mut self, staleness: Duration) -> Self {
        self.options.max_staleness = staleness;
        self
    }

    /// How long a leader that is gone keeps others from leading. Default 3 seconds; the same for all nodes, 100
    /// milliseconds at least. It is renewed three times as often.
    pub fn lease(mut self, ttl: Duration) -> Self {
        self.options.lease = ttl;
        self
    }

    /// Whether the node may lead. Default true.
    pub fn promotion_eligible(mut self, eligible: bool) -> Self {
        self.options.promotion_eligible = eligible;
        self
    }

    /// From 0 to 100, default 100: each point that a node lacks lets others go first for another 10 milliseconds when the
    /// lease is free.
    pub fn priority(mut self, priority: u8) -> Self {
        self.options.priority = priority.min(PRIORITY_MAX);
        self
    }

    /// The last entry that this node, or any other, is known to have had, from elsewhere: a node does not lead before it
    /// has as much, or nobody can give it. Default 0: what the store says.
    pub fn last_applied_sequence(mut self, sequence: u64) -> Self {
        self.options.last_applied_sequence = sequence;
        self
    }

    /// A follower that lacks more entries is [lagging](super::Health::Lagging). Default 100.
    pub fn lag_warn(mut self, entries: u64) -> Self {
        self.options.lag_warn = entries;
        self
    }

    /// A follower that lacks more entries than this which the log no longer holds takes the whole state of another node;
    /// up to this it has them from the tails of others. Default 1,000.
    pub fn resync_threshold(mut self, entries: u64) -> Self {
        self.options.resync_threshold = entries;
        self
    }

    /// How long the taking of a state may last before it is begun anew. Default 60 seconds.
    pub fn snapshot_timeout(mut self, timeout: Duration) -> Self {
        self.options.snapshot_timeout = timeout;
        self
    }

    /// How long is waited after the first failure to read the log, and at most; doubled after each. A connection that
    /// comes back is used at once. Default 2 and 60 seconds.
    pub fn reconnect_backoff(mut self, base: Duration, cap: Duration) -> Self {
        (self.options.reconnect_base, self.options.reconnect_cap) = (base, cap.max(base));
        self
    }

    /// How long a read waits until this node has what it asks for. Default 5 seconds.
    pub fn read_timeout(mut self, timeout: Duration) -> Self {
        self.options.read_timeout = timeout;
        self
    }

    /// Which crash a write survives in the stores of nodes, once it is acknowledged. Default [`Durability::Fsync`].
    pub fn durability(mut self, durability: Durability) -> Self {
        self.options.durability = durability;
        self
    }

    /// How many writes may be under way before further ones wait. Default 1,024.
    pub fn writes_waiting_max(mut self, writes: usize) -> Self {
        self.options.writes_waiting_max = writes.max(1);
        self
    }

    /// How many requests of other nodes may be under way at a time: writes that they pass on, linearizable reads that they
    /// ask about, and handing over. Further ones are refused at once, and can be tried again. Default 1,024.
    pub fn requests_max(mut self, requests: usize) -> Self {
        self.options.requests_max = requests.max(1);
        self
    }

    /// How many messages of up to 1,024 entries may be on their way to the log; what is written meanwhile is packed into
    /// the next one. Default 1: while one travels, the one before is being stored.
    ///
    /// More help if the broker is far away. They have a price: of what is under way the broker compares sequences, not who
    /// wrote what, so that of several messages of a deposed leader the second may land where it expects the first to be. It
    /// is of an older term and counts for nobody, but takes a place in the log.
    pub fn in_flight_max(mut self, messages: usize) -> Self {
        self.options.in_flight_max = messages.max(1);
        self
    }

    /// How many of the newest entries the node keeps beside its state, to give them to others, or back to a log that lost
    /// them. Default 100,000.
    pub fn tail_entries_max(mut self, entries: u64) -> Self {
        self.options.tail_entries_max = entries.max(1);
        self
    }

    /// About how many bytes of entries, or of a state, another node is asked for at a time; one batch, or one row, in any
    /// case. Default 512 KiB.
    pub fn page_bytes(mut self, bytes: u64) -> Self {
        self.options.page_bytes = bytes;
        self
    }

    /// How many entries the log keeps: a leader trims what is older. Whoever needs those takes the state of another node.
    /// Default 1,000,000.
    pub fn log_entries_max(mut self, entries: u64) -> Self {
        self.options.log_entries_max = entries.max(1);
        self
    }

    /// The bounds on keys, values and batches; the same for all nodes.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.options.limits = limits;
        self
    }

    /// Where the time of day is read, which is only told and decides nothing. Default: the system's clock.
    pub fn clock(mut self, clock: impl WallClock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Makes what is random follow from this number. For simulations; two nodes of one namespace need different ones.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Who decides when the tasks of the node run on. For simulations. Default: the runtime.
    pub fn turns(mut self, turns: Arc<dyn Turns>) -> Self {
        self.tasks.turns = Some(turns);
        self
    }

    /// Starts the node: it follows, or stands for election, or leads.
    ///
    /// # Errors
    /// [`StartError::Option`] if an option is missing or not usable, [`StartError::ForeignStore`] if the store is that of
    /// another node, namespace or mode, and every other [`StartError`].
    ///
    /// # Panics
    /// If called outside of a tokio runtime.
    pub async fn start(self) -> Result<LeaderFollowerManager, StartError> {
        let missing = |option| StartError::Option { option, reason: "it is required".into() };
        let node_id = self.node_id.ok_or_else(|| missing("node_id"))?;
        let store = self.store.ok_or_else(|| missing("store"))?;
        let pipeline = self.pipeline.ok_or_else(|| missing("pipeline"))?;
        check_options(&self.options, &node_id, &self.namespace)?;
        let loaded = state::aside(&*store, {
            let (store, node_id, namespace) = (store.clone(), node_id.clone(), self.namespace.clone());
            let (signatures, tasks) = (self.signatures, self.tasks.clone());
            let (clock, recording) = (self.clock.clone(), self.recording.clone());
            move || {
                let loaded = state::load(&*store, &node_id, &namespace)?;
                let ring = signatures.map(|signatures| {
                    KeyRing::open(signatures, &node_id, &namespace, store, tasks, clock, &recording)
                });
                Ok::<_, StartError>((loaded, ring.transpose()?.map(|ring| TrustedKeys(Arc::new(ring)))))
            }
        });
        let (loaded, keys) = loaded.await.map_err(|error| StartError::Option {
            option: "store",
            reason: format!("reading it failed: {error}"),
        })??;
        let pipeline = match &keys {
            Some(keys) => keys.signed(pipeline),
            None => pipeline,
        };
        let mut random = lease_keeper::random(self.seed);
        let session: u64 = random.random();
        let elects = self.options.role != Role::Leader && self.options.leader_id.is_none();
        let view = watch::Sender::new(LeaseView::default());
        let shared = Arc::new(Shared::new(
            &node_id,
            session,
            self.namespace,
            self.options,
            store,
            pipeline,
            self.tasks,
            loaded.applied,
            loaded.tail.clone(),
            elects.then(|| view.subscribe()),
            self.recording,
        ));
        let lease = match elects {
            false => None,
            true => Some(keep_lease(&shared, view, lease_keeper::random(Some(random.random()))).await?),
        };
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let node = Node {
            state: loaded.into_state(shared.clone()),
            shared: shared.clone(),
            lease: lease.clone(),
            token: 0,
            clock: self.clock,
            random,
            commands,
            puller: None,
            log: LogView::default(),
            term_start: None,
            leading: None,
            unsettled: Vec::new(),
            promoting: None,
            stands_back_until: None,
            marks: super::marks::Marks::default(),
            missed: None,
            reads_mirror: None,
            stands: None,
        };
        let running = Arc::new(Running {
            shared: shared.clone(),
            commands: sender.clone(),
            keys,
            lease,
            node: Mutex::new(Some(shared.tasks.spawn(node.run()))),
            voices: Mutex::new(Vec::new()),
            is_closed: AtomicBool::new(false),
        });
        let weak = Weak(Arc::downgrade(&running));
        let voices = vec![
            shared.tasks.spawn(voice::tell(shared.clone(), weak.clone())),
            shared.tasks.spawn(voice::hear(shared.clone(), weak, sender.downgrade())),
            shared.tasks.spawn(fresh::keep_fresh(shared.clone(), running.lease.clone())),
            shared.tasks.spawn(reach::watch_followers(shared.clone())),
        ];
        *running.voices.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = voices;
        Ok(LeaderFollowerManager::new(running))
    }
}

/// Starts the keeper of the lease, which needs the broker once.
async fn keep_lease(
    shared: &Arc<Shared>,
    view: watch::Sender<LeaseView>,
    random: rand::rngs::StdRng,
) -> Result<LeaseHandle, StartError> {
    let (options, view_of) = (&shared.options, view.subscribe());
    let (requests, waiting) = mpsc::channel(1_024);
    let handle = LeaseHandle { view: view_of, requests };
    let lease = match shared.pipeline.lease(options.lease).await {
        Ok(lease) => Some(lease),
        Err(error) if error.is_retryable() => None,
        Err(error) => return Err(StartError::Option { option: "lease", reason: error.to_string() }),
    };
    let (address, priority) = (options.address.clone(), options.priority);
    let shared = shared.clone();
    shared.tasks.clone().spawn(async move {
        let lease = match lease {
            Some(lease) => lease,
            None => match first_lease(&shared).await {
                Some(lease) => lease,
                None => return,
            },
        };
        let keeper =
            LeaseKeeper::new(lease, &shared.node, shared.session, address, priority, random, view, waiting);
        drop(shared);
        keeper.run().await;
    });
    Ok(handle)
}

/// Waits for a broker that is away.
async fn first_lease(shared: &Shared) -> Option<Arc<dyn archipelago_pipeline::Lease>> {
    let mut told = None;
    loop {
        match shared.pipeline.lease(shared.options.lease).await {
            Ok(lease) => {
                // Whatever else was told meanwhile stays.
                shared.standing.send_if_modified(|standing| {
                    let is_over = told.is_some() && standing.trouble == told;
                    if is_over {
                        standing.trouble = None;
                    }
                    is_over
                });
                return Some(lease);
            }
            Err(PipelineError::Closed) => return None,
            Err(error) => {
                told = Some(error.to_string());
                shared.standing.send_modify(|standing| standing.trouble.clone_from(&told));
            }
        }
        tokio::select! {
            biased;
            () = shared.closing.cancelled() => return None,
            () = tokio::time::sleep(LEASE_RETRY) => {}
        }
    }
}

fn check_options(options: &Options, node_id: &str, namespace: &str) -> Result<(), StartError> {
    let refuse = |option, reason: &str| Err(StartError::Option { option, reason: reason.to_owned() });
    for (option, name) in [("node_id", node_id), ("namespace", namespace)] {
        check_name(name).map_err(|error| StartError::Option { option, reason: error.to_string() })?;
    }
    if options.heartbeat_interval.is_zero() {
        return refuse("heartbeat_interval", "it must not be zero");
    }
    if options.heartbeat_timeout <= options.heartbeat_interval {
        return refuse("heartbeat_timeout", "it must be longer than heartbeat_interval");
    }
    if options.address.as_ref().is_some_and(|address| address.len() > 1_024) {
        return refuse("address", "it has more than 1,024 bytes");
    }
    archipelago_pipeline::check_lease_ttl(options.lease)
        .map_err(|error| StartError::Option { option: "lease", reason: error.to_string() })
}
