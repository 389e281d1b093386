use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use ::metrics::Recorder;
use archipelago_clock::{Incarnation, VersionVector};
use archipelago_conflict::{ConflictStrategy, StrategyTable};
use archipelago_engine::{Engine, EngineConfig};
use archipelago_pipeline::{Pipeline, snapshots::SnapshotStore};
use archipelago_proto::Limits;
use archipelago_store::{Durability, Store};
use futures::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    CONFLICTS_MAX, ConflictReport, LinkState, MultiMasterManager, Schema, Signatures, StartError,
    SystemClock, TrustedKeys, Turns, WallClock,
    emitter::Emitter,
    heart::Heart,
    journal::Journal,
    manager::Running,
    metrics,
    outbox::Outbox,
    persist::{self, Loaded},
    random::Random,
    receiver::Receiver,
    recording::Recording,
    repair::Repairer,
    replica::{ReadFrom, Replica, Scrubbing, Unacknowledged},
    schema::SchemaTable,
    shared::Shared,
    signatures::KeyRing,
    snapshot::{Joiner, Keeper},
    turns::Tasks,
};

/// How many writes wait for the owner of the engine before further ones wait to be taken.
const COMMANDS_MAX: usize = 1_024;
/// How many messages of the log are read ahead.
const MESSAGES_MAX: usize = 64;
/// After how many heartbeat intervals of silence a peer is not active any more.
const SILENT_INTERVALS_MAX: u32 = 10;

/// The options of a [`MultiMasterManager`]; [`start`](Self::start) starts it.
#[derive(Debug)]
#[must_use = "nothing happens before `start`"]
pub struct MultiMasterBuilder {
    master_id: Option<String>,
    namespace: String,
    store: Option<Arc<dyn Store>>,
    pipeline: Option<Arc<dyn Pipeline>>,
    signatures: Option<Signatures>,
    strategies: StrategyTable,
    schemas: SchemaTable,
    event_buffer_size: usize,
    apply_timeout: Duration,
    max_drift: Duration,
    close_timeout: Duration,
    durability: Durability,
    outbox_events_max: u64,
    conflict_journal_max: u64,
    heartbeat_interval: Duration,
    recording: Recording,
    repair_bytes_max: usize,
    import_bytes_max: u64,
    snapshots: Vec<Arc<dyn SnapshotStore>>,
    snapshot_threshold: u64,
    snapshot_every: Option<Duration>,
    snapshot_keep: usize,
    trim_log: bool,
    scrub_entities_per_beat: usize,
    limits: Limits,
    clock: Arc<dyn WallClock>,
    seed: Option<u64>,
    tasks: Tasks,
}

impl Default for MultiMasterBuilder {
    fn default() -> Self {
        MultiMasterBuilder {
            master_id: None,
            namespace: "default".into(),
            store: None,
            pipeline: None,
            signatures: None,
            strategies: StrategyTable::default(),
            schemas: SchemaTable::default(),
            event_buffer_size: 1_000,
            apply_timeout: Duration::from_secs(5),
            max_drift: Duration::from_secs(60),
            close_timeout: Duration::from_secs(5),
            durability: Durability::Fsync,
            outbox_events_max: 1_000_000,
            conflict_journal_max: 10_000,
            heartbeat_interval: Duration::from_secs(1),
            recording: Recording::default(),
            repair_bytes_max: 1024 * 1024 * 1024,
            import_bytes_max: 1024 * 1024 * 1024,
            snapshots: Vec::new(),
            snapshot_threshold: 100_000,
            snapshot_every: None,
            snapshot_keep: 2,
            trim_log: true,
            scrub_entities_per_beat: 1_000,
            limits: Limits::default(),
            clock: Arc::new(SystemClock),
            seed: None,
            tasks: Tasks::default(),
        }
    }
}

impl MultiMasterBuilder {
    /// The name of the master: 1 to 64 of `A-Z a-z 0-9 _ -`, unique in the namespace. Required.
    pub fn master_id(mut self, name: impl Into<String>) -> Self {
        self.master_id = Some(name.into());
        self
    }

    /// The data set that the masters share: 1 to 64 of `A-Z a-z 0-9 _ -`. Default `default`.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// Where the master keeps its state. Required.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Arc::new(store));
        self
    }

    /// What carries events between the masters, for this namespace. Without one the master works for itself, and its
    /// writes stay queued.
    pub fn pipeline(mut self, pipeline: impl Pipeline) -> Self {
        self.pipeline = Some(Arc::new(pipeline));
        self
    }

    /// Signs what this master says, and believes only what is signed by those whose keys it knows. Default: nothing is signed,
    /// and whoever may publish in the name of a master at the broker is believed.
    pub fn signatures(mut self, signatures: Signatures) -> Self {
        self.signatures = Some(signatures);
        self
    }

    /// How conflicts are resolved, unless a prefix says otherwise; the same on every master. Default last writer wins.
    pub fn conflict_strategy(mut self, strategy: impl ConflictStrategy) -> Self {
        self.strategies = self.strategies.with_namespace(strategy);
        self
    }

    /// How conflicts are resolved of entities whose id begins with `prefix`; the longest matching prefix decides. The
    /// same on every master.
    pub fn prefix_strategy(mut self, prefix: impl Into<String>, strategy: impl ConflictStrategy) -> Self {
        self.strategies = self.strategies.with_prefix(prefix, strategy);
        self
    }

    /// The form of the values of entities whose id begins with `prefix`, as this program knows it; the longest matching
    /// prefix decides. Masters may have different ones. Default version 1, without upcasters.
    pub fn schema(mut self, prefix: impl Into<String>, schema: Schema) -> Self {
        self.schemas.insert(prefix.into(), schema);
        self
    }

    /// The most events that wait for what they depend on. Default 1,000.
    pub fn event_buffer_size(mut self, events: usize) -> Self {
        self.event_buffer_size = events;
        self
    }

    /// How long [`apply_remote_event`](MultiMasterManager::apply_remote_event) waits for what the event depends on.
    /// Default 5 s.
    pub fn apply_timeout(mut self, timeout: Duration) -> Self {
        self.apply_timeout = timeout;
        self
    }

    /// How far ahead of this master's clock the stamp of an event may be before it must wait. Default 60 s.
    pub fn max_drift(mut self, drift: Duration) -> Self {
        self.max_drift = drift;
        self
    }

    /// How long [`close`](MultiMasterManager::close) waits for queued writes to reach the pipeline. Default 5 s.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// The crash that an acknowledged write survives. Default [`Durability::Fsync`], power loss; concurrent writers
    /// share one sync.
    ///
    /// With a weaker one nobody waits for the disk, and the store is synced before what was written leaves for other
    /// masters: what they know of must not be forgotten here, or a later write would get its name.
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// The most events that may wait for the pipeline; beyond that writes are refused with
    /// [`OutboxFull`](crate::WriteError::OutboxFull). Without a pipeline the oldest leave instead: masters that are met later
    /// get those writes from the state, by repair; subscribers, who have only the log, never do. Default 1,000,000.
    pub fn outbox_events_max(mut self, events: u64) -> Self {
        self.outbox_events_max = events;
        self
    }

    /// How many conflicts the store remembers with the values that lost; the oldest go first. Default 10,000.
    pub fn conflict_journal_max(mut self, conflicts: u64) -> Self {
        self.conflict_journal_max = conflicts;
        self
    }

    /// How often this master tells the others how far it is. Default 1 s. What it lacks for two intervals, although
    /// another master has it, it fetches from there.
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.heartbeat_interval = interval;
        self
    }

    /// The most bytes that one repair may fetch. They wait in the store until all are there, and are then held in memory
    /// once, while they are merged. Beyond it, [`RepairFailed`](crate::Notification::RepairFailed). Default 1 GiB.
    pub fn repair_bytes_max(mut self, bytes: usize) -> Self {
        self.repair_bytes_max = bytes;
        self
    }

    /// The most bytes that parts of imports may take while they wait for what is missing. Default 1 GiB.
    pub fn import_bytes_max(mut self, bytes: u64) -> Self {
        self.import_bytes_max = bytes;
        self
    }

    /// Where snapshots are kept; called several times, several places, in the order in which they are tried. A master that
    /// has nothing, or lacks much, takes the newest snapshot that it can use, and only what came after it from the log and
    /// from other masters. None by default.
    pub fn snapshots(mut self, snapshots: impl SnapshotStore) -> Self {
        self.snapshots.push(Arc::new(snapshots));
        self
    }

    /// From how many lacking writes on a snapshot is looked for before another master is asked for them. A master that
    /// has nothing, or that was away for so long that others forgot what it has not seen, always looks for one. Default
    /// 100,000.
    pub fn snapshot_threshold(mut self, writes: u64) -> Self {
        self.snapshot_threshold = writes;
        self
    }

    /// How often a snapshot is made: into the first place that [`snapshots`](Self::snapshots) gave, by the master with the
    /// least name of those that are active and heard, and only if there is none that is younger. Afterwards the log is
    /// trimmed: see [`trim_log`](Self::trim_log). Default never.
    pub fn snapshot_every(mut self, interval: Duration) -> Self {
        self.snapshot_every = Some(interval);
        self
    }

    /// How many snapshots are kept when another one was made; the oldest go first. Default 2.
    pub fn snapshot_keep(mut self, snapshots: usize) -> Self {
        self.snapshot_keep = snapshots;
        self
    }

    /// Whether the log is trimmed after a snapshot that was [due](Self::snapshot_every): of every message that the snapshot
    /// covers and that every member is known to be done with. A member that is away holds it back until it is
    /// [retired](MultiMasterManager::retire). Of subscribers nothing is known: whoever may be away for longer than
    /// [`snapshot_every`](Self::snapshot_every) sees a gap, unless this is off. Default on.
    pub fn trim_log(mut self, trim: bool) -> Self {
        self.trim_log = trim;
        self
    }

    /// How many entities are read again at each heartbeat interval, to find what changed in the store behind this master's
    /// back ([`Damaged`](crate::Notification::Damaged)); 0 to read nothing again. Default 1,000: a million entities take a
    /// little more than a quarter of an hour.
    pub fn scrub_entities_per_beat(mut self, entities: usize) -> Self {
        self.scrub_entities_per_beat = entities;
        self
    }

    /// Bounds on entity ids, values and messages; the same on every master.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Where the time of day comes from. Default the operating system.
    pub fn clock(mut self, clock: impl WallClock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Who records what this master measures; docs/METRICS.md lists it. Default: the recorder of the process, if one is
    /// installed before the start.
    pub fn recorder(mut self, recorder: Arc<dyn Recorder + Send + Sync>) -> Self {
        self.recording = Recording::of(recorder);
        self
    }

    /// Makes what is random follow from this number. For simulations; no two masters of one namespace, and no two lives of
    /// one, may have the same.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Lets `turns` decide which task of this master runs on. For simulations.
    pub fn turns(mut self, turns: Arc<dyn Turns>) -> Self {
        self.tasks.turns = Some(turns);
        self
    }

    /// Opens the state in the store and starts the master. The pipeline need not be reachable.
    ///
    /// # Errors
    /// [`StartError::Option`] for a missing or unusable option, [`StartError::ForeignStore`] if the store belongs to
    /// another master or namespace, [`StartError::Store`] and [`StartError::Row`] if it cannot be read.
    ///
    /// # Panics
    /// If called outside of a tokio runtime.
    pub async fn start(mut self) -> Result<MultiMasterManager, StartError> {
        let option = |option, reason: &str| StartError::Option { option, reason: reason.to_owned() };
        let name = self.master_id.clone().ok_or_else(|| option("master_id", "it is required"))?;
        let store = self.store.clone().ok_or_else(|| option("store", "it is required"))?;
        check_name("master_id", &name)?;
        check_name("namespace", &self.namespace)?;
        if self.event_buffer_size == 0 {
            return Err(option("event_buffer_size", "it must be at least 1"));
        }
        if self.heartbeat_interval.is_zero() {
            return Err(option("heartbeat_interval", "it must be longer than nothing"));
        }
        self.schemas.check()?;
        if self.snapshot_every.is_some_and(|interval| interval.is_zero()) {
            return Err(option("snapshot_every", "it must be longer than nothing"));
        }
        if self.snapshot_every.is_some() && self.snapshots.is_empty() {
            return Err(option("snapshot_every", "say with `snapshots` where they are to be kept"));
        }
        if self.snapshot_keep == 0 {
            return Err(option("snapshot_keep", "it must be at least 1"));
        }
        let random = Random::new(self.seed);
        let load = {
            let (store, namespace, clock) = (store.clone(), self.namespace.clone(), self.clock.clone());
            let strategies = self.strategies.clone();
            let (configure, journal_max) = (self.engine_config(random.word()), self.conflict_journal_max);
            let (signatures, tasks, recording) =
                (self.signatures.take(), self.tasks.clone(), self.recording.clone());
            let incarnation = random.word();
            move || {
                let mint = || Incarnation::mint(clock.now_unix_ms(), incarnation);
                let loaded = persist::load(&*store, &name, &namespace, &strategies, mint)?;
                let engine = restore(&loaded, configure, &*store)?;
                let journal = Journal::load(&*store, journal_max, CONFLICTS_MAX)?;
                let ring = signatures.map(|signatures| {
                    KeyRing::open(signatures, &name, &namespace, store, tasks, clock, &recording)
                });
                let keys = ring.transpose()?.map(|ring| TrustedKeys(Arc::new(ring)));
                Ok::<_, StartError>((loaded, engine, journal, keys))
            }
        };
        let loaded = self.tasks.blocking(load).await;
        let (loaded, engine, journal, keys) =
            loaded.map_err(|error| option("store", &format!("it panicked while it was read: {error}")))??;
        Ok(self.run(store, random, loaded, engine, journal, keys))
    }

    fn engine_config(&self, session: u64) -> impl FnOnce(&Loaded) -> EngineConfig + Send + 'static {
        let (namespace, strategies, limits) =
            (self.namespace.clone(), self.strategies.clone(), self.limits.clone());
        let (max_drift, event_buffer_events_max) = (self.max_drift, self.event_buffer_size);
        let heartbeat_interval = self.heartbeat_interval;
        move |loaded| EngineConfig {
            strategies,
            max_drift,
            event_buffer_events_max,
            limits,
            session,
            repair_after: heartbeat_interval.saturating_mul(2),
            ..EngineConfig::new(namespace, loaded.replica.clone())
        }
    }

    fn run(
        mut self,
        store: Arc<dyn Store>,
        random: Random,
        loaded: Loaded,
        engine: Engine,
        (journal, latest): (Journal, Vec<Arc<ConflictReport>>),
        keys: Option<TrustedKeys>,
    ) -> MultiMasterManager {
        let mut sources = self.snapshots.clone();
        if let Some(keys) = &keys {
            self.pipeline = self.pipeline.map(|pipeline| keys.signed(pipeline));
            sources = sources.into_iter().map(|snapshots| keys.believed(snapshots)).collect();
        }
        let link = match &self.pipeline {
            None => LinkState::Absent,
            Some(pipeline) => pipeline.status().borrow().clone().into(),
        };
        let shared = Shared::new(
            loaded.replica,
            store,
            loaded.live,
            keys,
            &engine,
            self.schemas,
            link,
            self.tasks,
            random,
            self.clock.clone(),
            self.recording,
        );
        let shared = Arc::new(shared);
        metrics::add(&shared.counters.outbox_len, loaded.outbox_events);
        for conflict in latest {
            shared.remember(conflict);
        }
        let (commands, command_queue) = mpsc::channel(COMMANDS_MAX);
        let (messages, message_queue) = mpsc::channel(MESSAGES_MAX);
        // Of what was read of it before, others may learn before anything new comes.
        let log = loaded.checkpoint.as_ref().map(|checkpoint| Arc::new(checkpoint.log.clone()));
        let after = loaded.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.sequence);
        let read_from = watch::Sender::new(ReadFrom { reading: 0, after });
        // Whoever is asked while a repair is under way is asked again if need be.
        let (repair_from, wanted) = mpsc::channel(1);
        // Of floors the latest is enough.
        let (floors, told) = mpsc::channel(1);
        let stop = CancellationToken::new();
        if let Some(pipeline) = &self.pipeline {
            let receiver = Receiver {
                shared: shared.clone(),
                pipeline: pipeline.clone(),
                messages,
                read_from: read_from.subscribe(),
                wanted: repair_from.clone(),
            };
            let stopped = stop.clone();
            shared.tasks.spawn(async move {
                tokio::select! {
                    biased;
                    () = stopped.cancelled() => {}
                    () = receiver.run(loaded.checkpoint) => {}
                }
            });
            let emitter = Emitter {
                shared: shared.clone(),
                pipeline: pipeline.clone(),
                durability: self.durability,
                stop: stop.clone(),
            };
            shared.tasks.spawn(emitter.run());
            let heart = Heart {
                shared: shared.clone(),
                pipeline: pipeline.clone(),
                commands: commands.downgrade(),
                interval: self.heartbeat_interval,
                session: engine.config().session,
                floors: told,
            };
            let repairer = Repairer {
                shared: shared.clone(),
                pipeline: pipeline.clone(),
                commands: commands.downgrade(),
                wanted,
                bytes_max: self.repair_bytes_max,
                joiner: Joiner {
                    shared: shared.clone(),
                    commands: commands.downgrade(),
                    sources,
                    threshold: self.snapshot_threshold,
                    bytes_max: self.repair_bytes_max as u64,
                    useless: BTreeSet::new(),
                },
            };
            for task in [heart.run().boxed(), repairer.run().boxed()] {
                let stopped = stop.clone();
                shared.tasks.spawn(async move {
                    tokio::select! {
                        biased;
                        () = stopped.cancelled() => {}
                        () = task => {}
                    }
                });
            }
            shared.tasks.spawn(watch_status(shared.clone(), pipeline.clone(), stop.clone()));
        }
        if let (Some(every), Some(snapshots)) = (self.snapshot_every, self.snapshots.first()) {
            let keeper = Keeper {
                shared: shared.clone(),
                commands: commands.downgrade(),
                clock: self.clock.clone(),
                snapshots: snapshots.clone(),
                every,
                patience: self.heartbeat_interval.saturating_mul(3),
                keep: self.snapshot_keep,
                trimmed: self.pipeline.clone().filter(|_| self.trim_log),
            };
            let stopped = stop.clone();
            shared.tasks.spawn(async move {
                tokio::select! {
                    biased;
                    () = stopped.cancelled() => {}
                    () = keeper.run() => {}
                }
            });
        }
        let replica = Replica {
            shared: shared.clone(),
            engine,
            clock: self.clock,
            durability: self.durability,
            outbox: Outbox::new(self.outbox_events_max, self.pipeline.is_some()),
            silence_max: self.heartbeat_interval.saturating_mul(SILENT_INTERVALS_MAX),
            read_from,
            log,
            journal,
            unacknowledged: Unacknowledged::default(),
            unanswered: Vec::new(),
            synced: VersionVector::new(),
            inspections: Vec::new(),
            beats: Vec::new(),
            gives: Vec::new(),
            captures: Vec::new(),
            taken: Vec::new(),
            examines: Vec::new(),
            scrubbing: Scrubbing { entities_per_beat: self.scrub_entities_per_beat, ..Scrubbing::default() },
            scrub_interval: self.heartbeat_interval,
            changed_logs: Vec::new(),
            floors,
            repair_from,
            failed: None,
            is_end_read: false,
        };
        shared.tasks.spawn(replica.run(command_queue, message_queue));
        MultiMasterManager::new(Running {
            shared,
            commands,
            pipeline: self.pipeline,
            apply_timeout: self.apply_timeout,
            close_timeout: self.close_timeout,
            heartbeat_interval: self.heartbeat_interval,
            event_buffer_size: self.event_buffer_size,
            stop,
            closing: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            import_bytes_max: self.import_bytes_max,
            importing: tokio::sync::Mutex::default(),
        })
    }
}

/// The engine as the store remembers it. Every entity is read once, for the digest of the state.
fn restore(
    loaded: &Loaded,
    configure: impl FnOnce(&Loaded) -> EngineConfig,
    store: &dyn Store,
) -> Result<Engine, StartError> {
    let mut engine = Engine::new(configure(loaded), loaded.restored.clone());
    persist::each_entity(store, |entity, record| {
        if let Err(error) = engine.restore(&entity, record) {
            // Everything else is there, and this can be had from another master.
            tracing::error!(%error, "what is stored of an entity is damaged; repair it from another master");
        }
        Ok::<_, StartError>(())
    })?;
    Ok(engine)
}

async fn watch_status(shared: Arc<Shared>, pipeline: Arc<dyn Pipeline>, stop: CancellationToken) {
    let mut status = pipeline.status();
    loop {
        let current = status.borrow_and_update().clone();
        shared.pipeline_is(current);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = status.changed() => if changed.is_err() { return },
        }
    }
}

fn check_name(option: &'static str, name: &str) -> Result<(), StartError> {
    archipelago_clock::ReplicaId::new(name, Incarnation::from_bits(0))
        .map(drop)
        .map_err(|error| StartError::Option { option, reason: error.to_string() })
}
