use std::{collections::VecDeque, sync::Arc, time::Duration};

use archipelago_clock::{Dot, Hlc, HlcClock, ReplicaId, VersionVector};
use archipelago_conflict::Attention;
use archipelago_proto::{EntityId, Event, Record, ReplicaTable};
use bytes::Bytes;

use crate::{
    Commit, Conflict, Effect, EngineConfig, Notice, ReadError, Restored, StateDigest, Visible,
    causal_buffer::{CausalBuffer, Covered},
    digest::entity_digest,
    entity,
    floor::Floors,
    identity::Disowned,
    membership::Members,
    mutated,
    open_commit::{OpenCommit, ROOM_KEPT_MAX},
    own_writes::{Doubt, OwnWrites},
    peers::{Peers, Twin},
    progress::Progress,
    scrub::Scrub,
};

/// Where the engine finds what its commits stored.
pub trait Records {
    /// The stored state of `entity`, or `None`.
    ///
    /// # Errors
    /// Whatever the store says; the engine's state does not change then.
    fn record(&self, entity: &EntityId) -> Result<Option<Bytes>, Box<dyn std::error::Error + Send + Sync>>;

    /// Up to `limit` of the live dots ([`Commit::live`](crate::Commit)) of the replica with this number whose sequences
    /// are above `after`, in order of sequence.
    ///
    /// # Errors
    /// Whatever the store says; the engine's state does not change then.
    fn live_dots(
        &self,
        replica: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, EntityId)>, Box<dyn std::error::Error + Send + Sync>>;

    /// The same of the dots of tombstones ([`Commit::tombstones`](crate::Commit)).
    ///
    /// # Errors
    /// Whatever the store says; the engine's state does not change then.
    fn tombstones(
        &self,
        replica: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, EntityId)>, Box<dyn std::error::Error + Send + Sync>>;

    /// Up to `limit` stored entities whose ids are behind `after`, which may be empty, in order of the bytes of their ids:
    /// each id and record as it is stored, damaged ones too.
    ///
    /// # Errors
    /// Whatever the store says; the engine's state does not change then.
    fn entities(
        &self,
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Box<dyn std::error::Error + Send + Sync>>;
}

/// Counts since the engine was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Local writes.
    pub writes_local: u64,
    /// Events of other replicas that were applied.
    pub events_applied: u64,
    /// Events that were applied before.
    pub duplicates_ignored: u64,
    /// Writes that were concurrent with live versions.
    pub conflicts_detected: u64,
    /// Events that were left to repair.
    pub events_below_floor: u64,
}

/// The deterministic replication core of one replica and one namespace.
///
/// Call order: any number of `handle_*`, then [`flush`](Engine::flush), and carry out its effects before the next
/// `handle_*`. Nothing is to be acknowledged before the commit is stored.
#[derive(Debug)]
pub struct Engine {
    pub(crate) config: EngineConfig,
    /// The fingerprint of the strategies, which do not change.
    pub(crate) fingerprint: u64,
    pub(crate) vector: VersionVector,
    /// The vector without this replica's own entry, shared with the events written since it last changed.
    pub(crate) deps: Arc<VersionVector>,
    pub(crate) clock: HlcClock,
    replicas: ReplicaTable,
    pub(crate) buffer: CausalBuffer,
    pub(crate) covered: Covered,
    pub(crate) progress: Progress,
    stored_checkpoint: u64,
    pub(crate) digest: StateDigest,
    pub(crate) scrub: Scrub,
    pub(crate) open: OpenCommit,
    pub(crate) notices: Vec<Notice>,
    pub(crate) counters: Counters,
    pub(crate) fenced: Option<Dot>,
    /// What was written under earlier identities in this session.
    pub(crate) disowned: VecDeque<Disowned>,
    /// What is in doubt, if that is less than all of this session.
    pub(crate) doubt: Option<Doubt>,
    /// The last own sequence that no other copy of the store can have used otherwise, as far as is known: that when the
    /// engine was made, or an earlier one that heard of nobody, or when it was given its identity.
    pub(crate) session_start: u64,
    /// What was written since.
    pub(crate) own_writes: OwnWrites,
    /// Whether nothing was heard of others since the engine was made, on a store that may be an old copy.
    pub(crate) is_alone: bool,
    /// Up to which own sequence that was so, or until the state was found to be that of another replica.
    pub(crate) alone_until: u64,
    /// Above which own sequence what is stored is in doubt, if any of it is.
    doubtful_above: Option<u64>,
    /// The checkpoint when the engine was made, or was given another log.
    pub(crate) start_checkpoint: u64,
    /// True if the identity was made for this session, so that no copy of the store has it.
    pub(crate) is_exclusive: bool,
    /// Whether the log is to be read again from the checkpoint.
    pub(crate) reread: bool,
    pub(crate) peers: Peers,
    pub(crate) members: Members,
    /// When this replica first wanted to be a member, and was not the latest of its name.
    pub(crate) announced_unix_ms: Option<u64>,
    /// This replica said that it goes.
    pub(crate) is_leaving: bool,
    pub(crate) floors: Floors,
    pub(crate) tombstones: u64,
    held: u64,
    pub(crate) twin: Option<Twin>,
    pub(crate) beats: u64,
    /// From whom, and its session.
    pub(crate) repair_from: Option<(ReplicaId, u64)>,
    pub(crate) scratch: Vec<u8>,
}

impl Engine {
    /// The engine of a replica, as its store remembers it.
    ///
    /// Then [`restore`](Engine::restore) every stored entity, or the digest is that of the changes alone.
    pub fn new(config: EngineConfig, restored: Restored) -> Self {
        let written = restored.vector.get(&config.replica);
        let certain = restored.doubtful_above.map_or(written, |above| above.min(written));
        let mut deps = restored.vector.clone();
        deps.remove(&config.replica);
        let vector = if mutated!(ForgetOwnSequence) { deps.clone() } else { restored.vector };
        let ceiling = if mutated!(ForgetClockCeiling) { Hlc::ZERO } else { restored.hlc_ceiling };
        Engine {
            buffer: CausalBuffer::new(config.event_buffer_events_max),
            covered: Covered::default(),
            fingerprint: config.strategies.fingerprint(),
            config,
            deps: Arc::new(deps),
            vector,
            clock: HlcClock::resume(ceiling),
            replicas: restored.replicas,
            progress: Progress::new(restored.checkpoint),
            stored_checkpoint: restored.checkpoint,
            digest: StateDigest::new(),
            scrub: Scrub::default(),
            open: OpenCommit::default(),
            notices: Vec::new(),
            counters: Counters::default(),
            fenced: None,
            disowned: VecDeque::new(),
            doubt: None,
            session_start: certain,
            own_writes: OwnWrites::new(written),
            doubtful_above: restored.doubtful_above,
            is_alone: restored.has_run,
            alone_until: written,
            // What was written after an own write in doubt would be read again: of an earlier session wherever it is.
            start_checkpoint: if certain < written { 0 } else { restored.checkpoint },
            is_exclusive: false,
            reread: false,
            peers: Peers::default(),
            members: Members::new(restored.members),
            announced_unix_ms: None,
            is_leaving: false,
            floors: Floors::new(restored.floors.0, restored.floors.1, restored.heard),
            tombstones: 0,
            held: 0,
            twin: None,
            beats: 0,
            repair_from: None,
            scratch: Vec::new(),
        }
    }

    /// Takes a stored entity into the digest.
    ///
    /// # Errors
    /// [`ReadError`] if the record cannot be decoded; the engine goes on without it, and a [mend](Self::mend) brings it back.
    pub fn restore(&mut self, entity: &EntityId, record: Bytes) -> Result<(), ReadError> {
        let record = self.decode(entity, record)?;
        let family = self.config.strategies.strategy(entity).family();
        let digest = entity_digest(entity, &record, family, &mut self.scratch);
        self.digest.replace(entity, 0, digest);
        self.held += 1;
        self.tombstones += entity::tombstones(&record, family).count() as u64;
        Ok(())
    }

    /// Closes the commit at hand and gives what is to be done, in order.
    ///
    /// `now_unix_ms` decides which events that found no room are due.
    pub fn flush(&mut self, now_unix_ms: u64) -> Vec<Effect> {
        self.settle_floors();
        let ceiling = self.clock.raise_ceiling();
        let (config, open) = (&self.config, &mut self.open);
        let commit = open.close(&config.namespace, &mut self.replicas, &config.limits, ceiling);
        let mut commit = commit.expect("the limits on a write keep a single event within a batch");
        let checkpoint = self.progress.checkpoint();
        if checkpoint != self.stored_checkpoint {
            self.stored_checkpoint = checkpoint;
            commit.checkpoint = Some(checkpoint);
        }
        if std::mem::take(&mut self.open.members) {
            commit.members = Some(self.members.iter().cloned().collect());
        }
        if std::mem::take(&mut self.open.heard) {
            commit.heard = Some(self.floors.counted().clone());
        }
        if std::mem::take(&mut self.open.floors) {
            commit.floors = Some((self.floor().clone(), self.reclaimed().clone()));
        }
        self.held = self.held.saturating_add_signed(commit.held);
        for tombstone in &commit.tombstones {
            self.tombstones = self.tombstones.saturating_add_signed(if tombstone.is_there { 1 } else { -1 });
        }
        let doubtful_above = self.is_alone.then_some(self.session_start);
        let is_worth_it = if self.is_alone { commit.has_local_writes() } else { !commit.is_empty() };
        if doubtful_above != self.doubtful_above && is_worth_it {
            self.doubtful_above = doubtful_above;
            commit.doubtful_above = Some(doubtful_above);
        }
        let mut effects = Vec::new();
        if mutated!(CheckpointBeforeState) && commit.checkpoint.is_some() {
            let checkpoint = commit.checkpoint.take();
            effects.push(Effect::Commit(Box::new(Commit { checkpoint, ..Commit::default() })));
        }
        if !commit.is_empty() {
            effects.push(Effect::Commit(Box::new(commit)));
        }
        for (dot, due_unix_ms) in self.buffer.newly_quarantined(&self.vector, now_unix_ms) {
            let ahead = self.config.max_drift + Duration::from_millis(due_unix_ms - now_unix_ms);
            self.notices.push(Notice::Quarantined { dot, ahead });
        }
        effects.extend(self.notices.drain(..).map(Effect::Notify));
        self.notices.shrink_to(ROOM_KEPT_MAX);
        effects.extend(self.floors.take_told().map(|message| Effect::TellFloor { message }));
        effects.extend(self.repair_from.take().map(|(from, session)| Effect::Repair { from, session }));
        if std::mem::take(&mut self.reread) || self.buffer.must_reread(&self.vector, now_unix_ms) {
            self.buffer.forget_log();
            self.floors.forget_log();
            effects.push(Effect::Rewind { after: self.progress.rewind() });
        }
        effects
    }

    /// The log was changed for another one, or is read from elsewhere: everything that came from the old place and
    /// still waits is forgotten.
    pub fn reset_log(&mut self, checkpoint: u64) {
        self.buffer.forget_log();
        self.floors.forget_log();
        self.progress = Progress::new(checkpoint);
        self.start_checkpoint = checkpoint;
        // The same number stands for another message now.
        self.stored_checkpoint = u64::MAX;
    }

    pub(crate) fn place(&mut self, mut record: Record, event: &Event) {
        let strategy = self.config.strategies.strategy(&event.entity);
        let (family, attention) = (strategy.family(), strategy.attention());
        let old = entity_digest(&event.entity, &record, family, &mut self.scratch);
        let waited = entity::is_contested(&record);
        let touched = self.open.touch(&event.entity, &record, family);
        let clashes = entity::place(&mut record, event, family, &self.config.limits);
        let waits = entity::is_contested(&record);
        if attention == Attention::Resolve && waited != waits {
            self.open.pending.insert(event.entity.detached(), waits);
        }
        let new = entity_digest(&event.entity, &record, family, &mut self.scratch);
        self.digest_changes(&event.entity, old, new);
        if !clashes.is_empty() && !mutated!(HideConflicts) {
            self.counters.conflicts_detected += 1;
            let conflict = Conflict {
                entity: event.entity.detached(),
                strategy: self.config.strategies.strategy(&event.entity).name().to_owned(),
                attention,
                dot: event.dot.clone(),
                clashes,
            };
            self.notices.push(Notice::Conflict(Arc::new(conflict)));
        }
        self.open.set(touched, record);
    }

    pub(crate) fn record(&self, entity: &EntityId, records: &dyn Records) -> Result<Record, ReadError> {
        if let Some(record) = self.open.entity(entity) {
            return Ok(record.clone());
        }
        let stored = records.record(entity).map_err(|source| ReadError { entity: entity.clone(), source })?;
        stored.map_or_else(|| Ok(Record::default()), |stored| self.decode(entity, stored))
    }

    pub(crate) fn decode(&self, entity: &EntityId, stored: Bytes) -> Result<Record, ReadError> {
        Record::decode(stored, &self.replicas, &self.config.limits)
            .map_err(|error| ReadError { entity: entity.clone(), source: error.into() })
    }

    /// Whether the open commit changes the entity: what the store has of it is not the latest.
    pub fn is_open(&self, entity: &EntityId) -> bool {
        self.open.entity(entity).is_some()
    }

    /// What a reader of the entity will see once the open commit is stored.
    ///
    /// # Errors
    /// [`ReadError`] if the stored state cannot be read.
    pub fn visible(&self, entity: &EntityId, records: &dyn Records) -> Result<Option<Visible>, ReadError> {
        let record = self.record(entity, records)?;
        Ok(entity::visible(&record, &**self.config.strategies.strategy(entity), &self.config.limits))
    }

    /// The dots that are live in the entity once the open commit is stored, in their order.
    ///
    /// # Errors
    /// [`ReadError`] if the stored state cannot be read.
    pub fn live(&self, entity: &EntityId, records: &dyn Records) -> Result<Vec<Dot>, ReadError> {
        Ok(self.record(entity, records)?.versions.into_iter().map(|version| version.dot).collect())
    }

    /// What this replica has applied, itself included.
    pub fn vector(&self) -> &VersionVector {
        &self.vector
    }

    /// The last message of the log up to which everything is done with.
    pub fn checkpoint(&self) -> u64 {
        self.progress.checkpoint()
    }

    /// The digest of the state, the open commit included.
    pub fn digest(&self) -> &StateDigest {
        &self.digest
    }

    /// Counts since the engine was made.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The numbers of replicas in stored records.
    pub fn replicas(&self) -> &ReplicaTable {
        &self.replicas
    }

    /// How many entities are held, removed ones of which a tombstone is left included; as of the last commit.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// The number of events that wait.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// The number of origins whose next event waits only because it is stamped too far ahead.
    pub fn quarantined(&self, now_unix_ms: u64) -> usize {
        self.buffer.quarantined(&self.vector, now_unix_ms)
    }

    /// What the engine was told.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }
}
