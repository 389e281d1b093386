use std::{collections::BTreeMap, time::Duration};

use archipelago_clock::{Hlc, ReplicaId, VersionVector};
use archipelago_conflict::StrategyTable;
use archipelago_proto::{Limits, Member, ReplicaTable};

/// What an engine is told once.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The namespace whose events it handles.
    pub namespace: String,
    /// The replica it is.
    pub replica: ReplicaId,
    /// Another number at each start of the replica. Default 0.
    pub session: u64,
    /// How conflicts are resolved; the same on every replica of the namespace.
    pub strategies: StrategyTable,
    /// How far ahead of the wall clock the stamp of a remote event may be. Default 60 s.
    pub max_drift: Duration,
    /// How long this replica may lack what another one has applied before it asks for it. Default 2 s.
    pub repair_after: Duration,
    /// The most events that wait for what they depend on. Default 1,000.
    pub event_buffer_events_max: usize,
    /// Bounds on what is encoded and decoded.
    pub limits: Limits,
}

impl EngineConfig {
    /// The defaults for this namespace and replica, with last writer wins.
    pub fn new(namespace: impl Into<String>, replica: ReplicaId) -> Self {
        EngineConfig {
            namespace: namespace.into(),
            replica,
            session: 0,
            strategies: StrategyTable::default(),
            max_drift: Duration::from_secs(60),
            repair_after: Duration::from_secs(2),
            event_buffer_events_max: 1_000,
            limits: Limits::default(),
        }
    }
}

/// What a store gave back of an earlier life of the replica; the default for a new one.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// Of each replica, itself included, how far its events are applied.
    pub vector: VersionVector,
    /// The stored ceiling of the clock.
    pub hlc_ceiling: Hlc,
    /// The numbers of replicas in stored records.
    pub replicas: ReplicaTable,
    /// The last message of the log that is in the state.
    pub checkpoint: u64,
    /// False for a store that was made for this session: what is written in it is in nobody else's hands.
    pub has_run: bool,
    /// Above which of its own writes the replica had not heard of others since it was started: those may turn out to be made by
    /// a copy of the store as well. `None` if there are none.
    pub doubtful_above: Option<u64>,
    /// The members that were known.
    pub members: Vec<Member>,
    /// What others were known to have applied.
    pub heard: BTreeMap<ReplicaId, VersionVector>,
    /// Below what no older write counts, and below what tombstones may be gone.
    pub floors: (VersionVector, VersionVector),
}
