//! Replicas with a store in memory, for driving engines by hand.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod islands;

use std::{cell::Cell, collections::BTreeMap, ops::Bound, sync::Arc, time::Duration};

use archipelago_clock::{Incarnation, ReplicaId, VersionVector};
use archipelago_conflict::{Strategy, StrategyTable};
use archipelago_engine::{
    Change, Commit, Conflict, DeltaError, Effect, Engine, EngineConfig, Giver, LocalWrite, Notice, Received,
    Records, Reincarnation, Restored, WriteError, Written,
};
use archipelago_proto::{EntityId, Event, EventBatch, Limits, Member, Record, ReplicaTable, encode_value};
use bytes::Bytes;

/// What survives a crash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) entities: BTreeMap<EntityId, Bytes>,
    pub(crate) live: BTreeMap<(u32, u64), EntityId>,
    pub(crate) tombstones: BTreeMap<(u32, u64), EntityId>,
    pub(crate) members: Vec<Member>,
    pub(crate) heard: BTreeMap<ReplicaId, VersionVector>,
    pub(crate) floors: (VersionVector, VersionVector),
    pub(crate) vector: BTreeMap<u32, u64>,
    pub(crate) replicas: Vec<ReplicaId>,
    /// Identities that the replica had before, and the last sequence of each that is its own for sure.
    pub(crate) disowned: Vec<(ReplicaId, u64)>,
    pub(crate) hlc_ceiling: archipelago_clock::Hlc,
    pub(crate) checkpoint: u64,
    pub(crate) doubtful_above: Option<u64>,
    /// How often it was asked what is live.
    pub(crate) live_asked: Cell<usize>,
}

impl Records for Disk {
    fn record(&self, entity: &EntityId) -> Result<Option<Bytes>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.entities.get(entity).cloned())
    }

    fn live_dots(
        &self,
        replica: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, EntityId)>, Box<dyn std::error::Error + Send + Sync>> {
        self.live_asked.set(self.live_asked.get() + 1);
        Ok(dots(&self.live, replica, after, limit))
    }

    fn entities(
        &self,
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Box<dyn std::error::Error + Send + Sync>> {
        let after = Bound::Excluded(after);
        let rows = self.entities.range::<[u8], _>((after, Bound::Unbounded)).take(limit);
        Ok(rows.map(|(entity, record)| (entity.as_bytes().clone(), record.clone())).collect())
    }

    fn tombstones(
        &self,
        replica: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, EntityId)>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(dots(&self.tombstones, replica, after, limit))
    }
}

type Index = BTreeMap<(u32, u64), EntityId>;

fn dots(index: &Index, replica: u32, after: u64, limit: usize) -> Vec<(u64, EntityId)> {
    let dots = index.range((replica, after + 1)..=(replica, u64::MAX)).take(limit);
    dots.map(|((_, sequence), entity)| (*sequence, entity.clone())).collect()
}

impl Disk {
    fn store(&mut self, commit: &Commit) {
        for (entity, record) in &commit.entities {
            match record {
                Some(record) => drop(self.entities.insert(entity.clone(), record.clone())),
                None => drop(self.entities.remove(entity)),
            }
        }
        for (index, changes) in [(&mut self.live, &commit.live), (&mut self.tombstones, &commit.tombstones)] {
            for change in changes {
                let dot = (change.replica, change.sequence);
                let before = match change.is_there {
                    true => index.insert(dot, change.entity.clone()),
                    false => index.remove(&dot),
                };
                assert_eq!(before.is_some(), !change.is_there, "a dot is there once, and goes once");
            }
        }
        if let Some(members) = &commit.members {
            self.members.clone_from(members);
        }
        if let Some(heard) = &commit.heard {
            self.heard.clone_from(heard);
        }
        if let Some(floors) = &commit.floors {
            self.floors.clone_from(floors);
        }
        if let Some(Reincarnation { old, fork, .. }) = &commit.reincarnation {
            self.disowned.push((old.clone(), *fork));
        }
        self.vector.extend(commit.vector.iter().copied());
        if let Some((first, replicas)) = &commit.replicas {
            assert_eq!(*first as usize, self.replicas.len());
            self.replicas.extend(replicas.iter().cloned());
        }
        self.hlc_ceiling = commit.hlc_ceiling.unwrap_or(self.hlc_ceiling);
        self.checkpoint = commit.checkpoint.unwrap_or(self.checkpoint);
        self.doubtful_above = commit.doubtful_above.unwrap_or(self.doubtful_above);
    }

    pub(crate) fn restored(&self) -> Restored {
        let replicas = ReplicaTable::new(self.replicas.clone());
        let vector = self.vector.iter().map(|(number, sequence)| {
            (replicas.replica(u64::from(*number)).expect("in the table").clone(), *sequence)
        });
        Restored {
            vector: vector.collect(),
            replicas: replicas.clone(),
            hlc_ceiling: self.hlc_ceiling,
            checkpoint: self.checkpoint,
            has_run: !self.vector.is_empty(),
            doubtful_above: self.doubtful_above,
            members: self.members.clone(),
            heard: self.heard.clone(),
            floors: self.floors.clone(),
        }
    }
}

/// One replica: engine and disk.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) engine: Engine,
    pub(crate) disk: Disk,
    pub(crate) notices: Vec<Notice>,
    /// Where the log is to be read again from.
    pub(crate) rewind: Option<u64>,
    /// Whom to ask for what is lacking.
    pub(crate) repair: Option<ReplicaId>,
    /// What is to be put into the log.
    pub(crate) floor: Option<Bytes>,
}

pub(crate) fn id(name: &str) -> ReplicaId {
    ReplicaId::new(name, Incarnation::from_bits(1)).expect("a legal name")
}

pub(crate) fn value(value: impl serde::Serialize) -> Bytes {
    encode_value(&value, &Limits::default()).expect("a small value")
}

pub(crate) fn put(written: impl serde::Serialize) -> Change {
    Change::Put(value(written))
}

/// Sets the fields that have a value, removes the others.
pub(crate) fn patch<V: serde::Serialize>(fields: &[(&str, Option<V>)]) -> Change {
    Change::Patch(fields.iter().map(|(name, v)| ((*name).into(), v.as_ref().map(value))).collect())
}

pub(crate) fn config(name: &str, strategy: Strategy) -> EngineConfig {
    EngineConfig { strategies: StrategyTable::new(strategy), ..EngineConfig::new("ns", id(name)) }
}

impl Replica {
    pub(crate) fn new(config: EngineConfig) -> Self {
        Self::open(config, Disk::default())
    }

    pub(crate) fn open(config: EngineConfig, disk: Disk) -> Self {
        let mut engine = Engine::new(config, disk.restored());
        for (entity, record) in &disk.entities {
            engine.restore(entity, record.clone()).expect("what was stored decodes");
        }
        Replica { engine, disk, notices: Vec::new(), rewind: None, repair: None, floor: None }
    }

    /// Loses everything but the disk.
    pub(crate) fn crash(self) -> Self {
        Self::open(self.engine.config().clone(), self.disk)
    }

    pub(crate) fn write(&mut self, entity: &str, change: Change, now: u64) -> (Written, Event) {
        self.write_after(entity, change, now, None).expect("a legal write")
    }

    pub(crate) fn write_after(
        &mut self,
        entity: &str,
        change: Change,
        now: u64,
        context: Option<VersionVector>,
    ) -> Result<(Written, Event), WriteError> {
        let write = LocalWrite { entity: entity.into(), change, context, trace: None };
        let written = self.engine.handle_write(write, now, &self.disk)?;
        let mut events = self.flush(now);
        assert_eq!(events.len(), 1, "one write, one event");
        Ok((written, events.remove(0)))
    }

    pub(crate) fn receive(&mut self, event: &Event, position: Option<u64>, now: u64) -> Received {
        let received =
            self.engine.handle_events([event.clone()], position, now, &self.disk).expect("a sound disk");
        self.flush(now);
        received[0]
    }

    pub(crate) fn tick(&mut self, now: u64) {
        self.engine.handle_tick(now, &self.disk).expect("a sound disk");
        self.flush(now);
    }

    /// Carries out the effects; gives the events that were outboxed, as a receiver decodes them.
    pub(crate) fn flush(&mut self, now: u64) -> Vec<Event> {
        let mut events = Vec::new();
        for effect in self.engine.flush(now) {
            match effect {
                Effect::Commit(commit) => {
                    self.disk.store(&commit);
                    for outboxed in commit.outbox {
                        let batch = EventBatch::decode(outboxed.message, &Limits::default()).expect("sound");
                        events.extend(batch.events);
                    }
                }
                Effect::Notify(notice) => self.notices.push(notice),
                Effect::Rewind { after } => self.rewind = Some(after),
                Effect::Repair { from, .. } => self.repair = Some(from),
                Effect::TellFloor { message } => self.floor = Some(message),
            }
        }
        events
    }

    /// The conflicts reported since the last call.
    pub(crate) fn take_conflicts(&mut self) -> Vec<Arc<Conflict>> {
        let mut conflicts = Vec::new();
        self.notices.retain(|notice| match notice {
            Notice::Conflict(conflict) => {
                conflicts.push(conflict.clone());
                false
            }
            _ => true,
        });
        conflicts
    }

    /// Of the events that were reported to be stamped too far ahead, the sequence and by how much.
    pub(crate) fn quarantines(&self) -> Vec<(u64, Duration)> {
        let quarantined = self.notices.iter().filter_map(|notice| match notice {
            Notice::Quarantined { dot, ahead } => Some((dot.sequence, *ahead)),
            _ => None,
        });
        quarantined.collect()
    }

    pub(crate) fn record(&self, entity: &EntityId) -> Option<Record> {
        let stored = self.disk.entities.get(entity)?.clone();
        Some(
            Record::decode(stored, self.engine.replicas(), &Limits::default())
                .expect("what was stored decodes"),
        )
    }

    pub(crate) fn read(&self, entity: &str) -> Option<serde_json::Value> {
        let strategy = self.engine.config().strategies.strategy(entity).clone();
        let record = self.record(&entity.into())?;
        let visible = archipelago_engine::visible(&record, &*strategy, &Limits::default())?;
        Some(archipelago_proto::decode_value(&visible.value, &Limits::default()).expect("a value"))
    }

    /// Every visible entity.
    pub(crate) fn view(&self) -> BTreeMap<String, serde_json::Value> {
        let ids = self.disk.entities.keys();
        ids.filter_map(|id| Some((id.to_string(), self.read(id)?))).collect()
    }

    /// Brings what `giver` has applied into this replica, in pieces of `bytes_max`, as a repair does: again for what
    /// came meanwhile, until that is one piece. `between` runs after each piece.
    pub(crate) fn repair_from(
        &mut self,
        giver: &mut Replica,
        bytes_max: usize,
        now: u64,
        mut between: impl FnMut(&mut Replica, &mut Replica),
    ) -> Result<(), DeltaError> {
        let own = self.engine.vector();
        let is_complete = !(own.dominates(giver.engine.floor()) && own.dominates(self.engine.floor()));
        let mut since = if is_complete { VersionVector::new() } else { self.engine.vector().clone() };
        let mut staged = Vec::new();
        loop {
            let mut delta = giver.engine.delta_since(&since, None, bytes_max, now, &giver.disk)?;
            let (vector, whole) = (delta.vector.clone(), delta.is_whole());
            staged.append(&mut delta.entities);
            while let Some(next) = delta.next {
                between(self, giver);
                delta = giver.engine.delta_since(&since, Some(&next), bytes_max, now, &giver.disk)?;
                staged.append(&mut delta.entities);
            }
            if whole {
                let members = giver.engine.members().cloned().collect();
                let engine = &giver.engine;
                let (replica, floor) = (engine.config().replica.clone(), engine.reclaimed().clone());
                let giver = Giver { replica, vector, floor, is_complete, members };
                let taken = self.engine.handle_delta(giver, staged, now, &self.disk);
                self.flush(now);
                return taken.map(drop);
            }
            since = vector;
        }
    }

    /// The index of live dots as the records have it.
    pub(crate) fn live_dots_of_records(&self) -> Index {
        let entities = self.disk.entities.keys();
        let dots = entities.flat_map(|entity| {
            let versions = self.record(entity).expect("stored").versions.into_iter();
            versions.map(|version| {
                let number = self.engine.replicas().number(&version.dot.actor).expect("in the table");
                ((number, version.dot.sequence), entity.clone())
            })
        });
        dots.collect()
    }

    /// Takes another identity if the present one is in other hands, as a manager does; true if so.
    pub(crate) fn reincarnate_if_fenced(&mut self, incarnation: u64, now: u64) -> bool {
        let fenced = self.engine.is_fenced();
        if fenced {
            let name = self.engine.config().replica.name().to_owned();
            let new = ReplicaId::new(&name, Incarnation::from_bits(incarnation)).expect("a legal name");
            self.engine.reincarnate(new, &self.disk).expect("a sound disk");
            self.flush(now);
        }
        fenced
    }
}

/// `replica` as the giver of a delta that is all up to `vector`.
pub(crate) fn giver(replica: &Replica, vector: VersionVector) -> Giver {
    let engine = &replica.engine;
    let (floor, members) = (engine.reclaimed().clone(), engine.members().cloned().collect());
    let replica = engine.config().replica.clone();
    Giver { replica, vector, floor, is_complete: true, members }
}
