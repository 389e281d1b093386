use std::{collections::BTreeSet, sync::Arc, time::Duration};

use archipelago_clock::{Dot, Hlc, HlcClock, VersionVector};
use archipelago_conflict::{Attention, Family, Join};
use archipelago_proto::{
    DecodeError, EncodeError, EntityId, Event, FieldName, Op, Record, ReplicaTable, Slot, check_value,
    split_fields,
};
use bytes::Bytes;

use crate::{
    Conflict, Effect, EngineConfig, Notice, ReadError, Restored, StateDigest, WriteError,
    causal_buffer::{Buffered, CausalBuffer, Waiting, follows},
    digest::entity_digest,
    entity,
    open_commit::{OpenCommit, bytes_at_most, pack},
    progress::Progress,
};

/// Where the engine finds what its commits stored.
pub trait Records {
    /// The stored state of `entity`, or `None`.
    ///
    /// # Errors
    /// Whatever the store says; the engine's state does not change then.
    fn record(&self, entity: &EntityId) -> Result<Option<Bytes>, Box<dyn std::error::Error + Send + Sync>>;
}

/// A write that this replica admits.
#[derive(Clone, Debug)]
pub struct LocalWrite {
    /// The record to write to.
    pub entity: EntityId,
    /// What to do to it.
    pub change: Change,
    /// What the author had seen; `None` for all that this replica has applied.
    pub context: Option<VersionVector>,
}

/// What a local write does.
#[derive(Clone, Debug)]
pub enum Change {
    /// The entity has this value, as MessagePack, from now on.
    Put(Bytes),
    /// These fields of the entity have these values, as MessagePack, or are removed; the others stay.
    Patch(Vec<(FieldName, Option<Bytes>)>),
    /// The entity is removed.
    Delete,
}

/// A local write that is part of the next commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The unique name of the write.
    pub dot: Dot,
    /// When it was written.
    pub hlc: Hlc,
    /// All that this replica had applied with the write: whoever waits until another replica covers it reads the
    /// write there.
    pub token: VersionVector,
}

/// What became of an event from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// It is part of the next commit.
    Applied,
    /// It was applied before.
    Duplicate,
    /// It waits for what it depends on, or for its time.
    Waits,
    /// It found no room to wait. If it came from the log, [`Effect::Rewind`] will have it read again in time.
    TurnedAway,
    /// It carries this replica's identity, but is not this replica's.
    Fenced,
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
}

/// The deterministic replication core of one replica and one namespace.
///
/// Call order: any number of `handle_*`, then [`flush`](Engine::flush), and carry out its effects before the next
/// `handle_*`. Nothing is to be acknowledged before the commit is stored.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    vector: VersionVector,
    /// The vector without this replica's own entry, shared with the events written since it last changed.
    deps: Arc<VersionVector>,
    clock: HlcClock,
    replicas: ReplicaTable,
    buffer: CausalBuffer,
    progress: Progress,
    stored_checkpoint: u64,
    digest: StateDigest,
    open: OpenCommit,
    notices: Vec<Notice>,
    counters: Counters,
    fenced: Option<Dot>,
    scratch: Vec<u8>,
}

impl Engine {
    /// The engine of a replica, as its store remembers it.
    ///
    /// Then [`restore`](Engine::restore) every stored entity, or the digest is that of the changes alone.
    pub fn new(config: EngineConfig, restored: Restored) -> Self {
        let mut deps = restored.vector.clone();
        deps.remove(&config.replica);
        Engine {
            buffer: CausalBuffer::new(config.event_buffer_events_max),
            config,
            deps: Arc::new(deps),
            vector: restored.vector,
            clock: HlcClock::resume(restored.hlc_ceiling),
            replicas: restored.replicas,
            progress: Progress::new(restored.checkpoint),
            stored_checkpoint: restored.checkpoint,
            digest: StateDigest::new(),
            open: OpenCommit::default(),
            notices: Vec::new(),
            counters: Counters::default(),
            fenced: None,
            scratch: Vec::new(),
        }
    }

    /// Takes a stored entity into the digest.
    ///
    /// # Errors
    /// [`ReadError`] if the record cannot be decoded.
    pub fn restore(&mut self, entity: &EntityId, record: Bytes) -> Result<(), ReadError> {
        let record = self.decode(entity, record)?;
        let family = self.config.strategies.strategy(entity).family();
        let digest = entity_digest(entity, &record, family, &mut self.scratch);
        self.digest.replace(entity, 0, digest);
        Ok(())
    }

    /// Admits a local write. Its receipt may be given out once the next commit is stored.
    ///
    /// # Errors
    /// Every [`WriteError`]; the state is unchanged then.
    pub fn handle_write(
        &mut self,
        write: LocalWrite,
        now_unix_ms: u64,
        records: &dyn Records,
    ) -> Result<Written, WriteError> {
        self.check(&write)?;
        let record = self.record(&write.entity, records)?;
        let op = self.op(&write.entity, write.change, &record, write.context.as_ref())?;
        let mut clock = self.clock.clone();
        let hlc = clock.tick(now_unix_ms)?;
        let mut vector = self.vector.clone();
        let dot = vector.increment(self.config.replica.clone())?;
        let context = write.context.map(Arc::new);
        let event =
            Event { dot: dot.clone(), hlc, deps: self.deps.clone(), context, entity: write.entity, op };
        self.check_event(&event)?;

        // From here on nothing can fail.
        self.clock = clock;
        self.vector = vector;
        self.place(record, &event);
        self.open.vector.insert(dot.actor.clone(), dot.sequence);
        self.open.local_events.push(event);
        self.counters.writes_local += 1;
        Ok(Written { dot, hlc, token: self.vector.clone() })
    }

    fn check(&self, write: &LocalWrite) -> Result<(), WriteError> {
        let limits = &self.config.limits;
        if let Some(dot) = &self.fenced {
            return Err(WriteError::Fenced { dot: dot.clone() });
        }
        let bytes = write.entity.len();
        if bytes == 0 || bytes > limits.entity_id_bytes_max {
            return Err(WriteError::EntityId { bytes, bytes_max: limits.entity_id_bytes_max });
        }
        match &write.change {
            Change::Delete => {}
            Change::Put(value) => check_value(value, limits)?,
            Change::Patch(fields) => {
                let mut bytes = 0;
                for (name, value) in fields {
                    let value = value.as_ref();
                    value.map_or(Ok(()), |value| check_value(value, limits))?;
                    bytes += value.map_or(0, Bytes::len);
                    over("field_name_bytes_max", name.len(), limits.field_name_bytes_max)?;
                }
                over("value_bytes_max", bytes, limits.value_bytes_max)?;
                over("fields_max", fields.len(), limits.fields_max)?;
                let distinct: BTreeSet<&FieldName> = fields.iter().map(|(name, _)| name).collect();
                if distinct.len() < fields.len() {
                    return Err(malformed("a patch", "the same field twice").into());
                }
            }
        }
        match &write.context {
            Some(context) if !self.vector.dominates(context) => Err(WriteError::ContextAhead),
            _ => Ok(()),
        }
    }

    /// Whether others will read the event as it will be encoded, which is known only now.
    fn check_event(&self, event: &Event) -> Result<(), EncodeError> {
        let limits = &self.config.limits;
        if let Op::Patch(fields) = &event.op {
            over("fields_max", fields.len(), limits.fields_max)?;
        }
        over("replicas_max", event.deps.len() + 1, limits.replicas_max)?;
        if bytes_at_most(event) > limits.batch_bytes_max {
            pack(&self.config.namespace, std::slice::from_ref(event), limits)?;
        }
        Ok(())
    }

    fn op(
        &self,
        entity: &EntityId,
        change: Change,
        record: &Record,
        context: Option<&VersionVector>,
    ) -> Result<Op, WriteError> {
        let limits = &self.config.limits;
        let strategy = self.config.strategies.strategy(entity);
        let by_field = strategy.family() == Family::Joined(Join::Fields);
        Ok(match change {
            Change::Delete => Op::Delete,
            Change::Put(value) if by_field => {
                split_fields(&value, limits)?;
                Op::Patch(entity::difference(record, &value, context, limits))
            }
            Change::Put(value) => Op::Put(value),
            Change::Patch(fields) if by_field => {
                let mut fields: Vec<(Slot, Option<Bytes>)> =
                    fields.into_iter().map(|(name, value)| (Slot::Field(name), value)).collect();
                fields.sort_by(|a, b| a.0.cmp(&b.0));
                Op::Patch(fields)
            }
            Change::Patch(fields) => Op::Put(entity::patched(record, fields, &**strategy, limits)?),
        })
    }

    /// Takes in the events of one message: of the log at `position`, or of another road.
    ///
    /// # Errors
    /// [`ReadError`]: events before the failing one are applied, the others are not, and the checkpoint stays before
    /// the message; drop the engine or hand the message in again.
    pub fn handle_events(
        &mut self,
        events: impl IntoIterator<Item = Event>,
        position: Option<u64>,
        now_unix_ms: u64,
        records: &dyn Records,
    ) -> Result<Vec<Received>, ReadError> {
        let mut received = Vec::new();
        for event in events {
            received.push(self.receive(event, position, now_unix_ms, records)?);
        }
        if let Some(position) = position {
            self.progress.handled(position);
        }
        Ok(received)
    }

    fn receive(
        &mut self,
        event: Event,
        position: Option<u64>,
        now_unix_ms: u64,
        records: &dyn Records,
    ) -> Result<Received, ReadError> {
        if self.vector.contains(&event.dot) {
            self.counters.duplicates_ignored += u64::from(event.dot.actor != self.config.replica);
            return Ok(Received::Duplicate);
        }
        if event.dot.actor == self.config.replica {
            // Read again after a crash, it fences again; and a new incarnation of this replica will need it.
            if let Some(position) = position {
                self.progress.hold(position);
            }
            self.fence(event.dot);
            return Ok(Received::Fenced);
        }
        let own_elsewhere = event.deps.get(&self.config.replica);
        if own_elsewhere > self.vector.get(&self.config.replica) {
            self.fence(Dot::new(self.config.replica.clone(), own_elsewhere));
        }
        let due_unix_ms = self.due(event.hlc);
        if due_unix_ms <= now_unix_ms && follows(&event, &self.vector) {
            let record = self.record(&event.entity, records)?;
            self.apply(event, record);
            self.apply_waiting(now_unix_ms, records)?;
            return Ok(Received::Applied);
        }
        let buffered = self.buffer.insert(Waiting { event, position, due_unix_ms });
        if let (Some(position), Buffered::Waits | Buffered::TurnedAway) = (position, buffered) {
            self.progress.hold(position);
        }
        Ok(match buffered {
            Buffered::Waits | Buffered::Known => Received::Waits,
            Buffered::TurnedAway => Received::TurnedAway,
        })
    }

    /// The message at `position` holds nothing for this replica, or nothing that anyone can read.
    pub fn handle_nothing(&mut self, position: u64) {
        self.progress.handled(position);
    }

    /// The message at `position` can only be read by a newer build: the checkpoint stays before it, so that the
    /// newer build reads it.
    pub fn handle_unreadable(&mut self, position: u64) {
        self.progress.hold(position);
        self.progress.handled(position);
    }

    /// Time has passed: applies what was stamped too far ahead before.
    ///
    /// # Errors
    /// [`ReadError`]; what was not applied still waits.
    pub fn handle_tick(&mut self, now_unix_ms: u64, records: &dyn Records) -> Result<(), ReadError> {
        self.apply_waiting(now_unix_ms, records)
    }

    /// Closes the commit at hand and gives what is to be done, in order.
    ///
    /// `now_unix_ms` decides which events that found no room are due.
    pub fn flush(&mut self, now_unix_ms: u64) -> Vec<Effect> {
        let ceiling = self.clock.raise_ceiling();
        let (config, open) = (&self.config, &mut self.open);
        let commit = open.close(&config.namespace, &mut self.replicas, &config.limits, ceiling);
        let mut commit = commit.expect("the limits on a write keep a single event within a batch");
        let checkpoint = self.progress.checkpoint();
        if checkpoint != self.stored_checkpoint {
            self.stored_checkpoint = checkpoint;
            commit.checkpoint = Some(checkpoint);
        }
        let mut effects = Vec::new();
        if !commit.is_empty() {
            effects.push(Effect::Commit(commit));
        }
        for (dot, due_unix_ms) in self.buffer.newly_quarantined(&self.vector, now_unix_ms) {
            let ahead = self.config.max_drift + Duration::from_millis(due_unix_ms - now_unix_ms);
            self.notices.push(Notice::Quarantined { dot, ahead });
        }
        effects.extend(self.notices.drain(..).map(Effect::Notify));
        if self.buffer.must_reread(&self.vector, now_unix_ms) {
            self.buffer.forget_log();
            effects.push(Effect::Rewind { after: self.progress.rewind() });
        }
        effects
    }

    /// The log was changed for another one, or is read from elsewhere: everything that came from the old place and
    /// still waits is forgotten.
    pub fn reset_log(&mut self, checkpoint: u64) {
        self.buffer.forget_log();
        self.progress = Progress::new(checkpoint);
    }

    fn apply_waiting(&mut self, now_unix_ms: u64, records: &dyn Records) -> Result<(), ReadError> {
        while let Some(waiting) = self.buffer.take_ready(&self.vector, now_unix_ms) {
            let position = waiting.position;
            if !self.vector.contains(&waiting.event.dot) {
                match self.record(&waiting.event.entity, records) {
                    Ok(record) => self.apply(waiting.event, record),
                    Err(error) => {
                        self.buffer.insert(waiting);
                        return Err(error);
                    }
                }
            }
            if let Some(position) = position {
                self.progress.release(position);
            }
        }
        Ok(())
    }

    fn apply(&mut self, event: Event, record: Record) {
        self.clock.observe(event.hlc);
        self.vector.raise(event.dot.actor.clone(), event.dot.sequence);
        Arc::make_mut(&mut self.deps).raise(event.dot.actor.clone(), event.dot.sequence);
        self.place(record, &event);
        self.open.vector.insert(event.dot.actor.clone(), event.dot.sequence);
        self.counters.events_applied += 1;
        self.notices.push(Notice::Applied {
            dot: event.dot,
            entity: event.entity.detached(),
            hlc: event.hlc,
        });
    }

    fn place(&mut self, mut record: Record, event: &Event) {
        let strategy = self.config.strategies.strategy(&event.entity).clone();
        let family = strategy.family();
        let old = entity_digest(&event.entity, &record, family, &mut self.scratch);
        let waited = entity::is_contested(&record);
        let clashes = entity::place(&mut record, event, family, &self.config.limits);
        let waits = entity::is_contested(&record);
        if strategy.attention() == Attention::Resolve && waited != waits {
            self.open.pending.insert(event.entity.detached(), waits);
        }
        let new = entity_digest(&event.entity, &record, family, &mut self.scratch);
        self.digest.replace(&event.entity, old, new);
        if !clashes.is_empty() {
            self.counters.conflicts_detected += 1;
            let conflict = Conflict {
                entity: event.entity.detached(),
                strategy: strategy.name().to_owned(),
                attention: strategy.attention(),
                dot: event.dot.clone(),
                clashes,
            };
            self.notices.push(Notice::Conflict(Arc::new(conflict)));
        }
        self.open.entities.insert(event.entity.clone(), record);
    }

    fn record(&self, entity: &EntityId, records: &dyn Records) -> Result<Record, ReadError> {
        if let Some(record) = self.open.entities.get(entity) {
            return Ok(record.clone());
        }
        let stored = records.record(entity).map_err(|source| ReadError { entity: entity.clone(), source })?;
        stored.map_or_else(|| Ok(Record::default()), |stored| self.decode(entity, stored))
    }

    fn decode(&self, entity: &EntityId, stored: Bytes) -> Result<Record, ReadError> {
        Record::decode(stored, &self.replicas, &self.config.limits)
            .map_err(|error| ReadError { entity: entity.clone(), source: error.into() })
    }

    fn due(&self, hlc: Hlc) -> u64 {
        let max_drift_ms = u64::try_from(self.config.max_drift.as_millis()).unwrap_or(u64::MAX);
        hlc.unix_ms().saturating_sub(max_drift_ms)
    }

    fn fence(&mut self, dot: Dot) {
        if self.fenced.is_none() {
            self.notices.push(Notice::Fenced { dot: dot.clone() });
            self.fenced = Some(dot);
        }
    }

    /// What this replica has applied, itself included.
    pub fn vector(&self) -> &VersionVector {
        &self.vector
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

pub(crate) fn malformed(what: &'static str, reason: &str) -> DecodeError {
    DecodeError::Malformed { what, reason: reason.to_owned() }
}

fn over(limit: &'static str, found: usize, max: usize) -> Result<(), EncodeError> {
    if found > max {
        let (found, max) = (found as u64, max as u64);
        return Err(EncodeError::OverLimit { limit, found, max });
    }
    Ok(())
}
