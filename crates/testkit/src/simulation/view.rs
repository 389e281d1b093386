use archipelago_clock::VersionVector;
use archipelago_conflict::StrategyTable;
use archipelago_crdt::Value;
use archipelago_engine::{Engine, StateDigest, visible};
use archipelago_proto::{EntityId, Limits, Record, decode_value, split_fields};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{Ledger, disk::Rows};
use crate::StoredMaster;

/// What one replica shows.
#[derive(Debug)]
pub struct IslandView<'a> {
    pub(crate) source: Source<'a>,
    pub(crate) limits: &'a Limits,
}

/// Where what a replica shows is read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    /// In an engine that runs, and in what it has stored.
    Running { engine: &'a Engine, rows: &'a Rows },
    /// In a store alone.
    #[cfg_attr(not(feature = "managers"), expect(dead_code, reason = "only rehearsals look at stores"))]
    Stored { master: &'a StoredMaster, strategies: &'a StrategyTable },
}

impl IslandView<'_> {
    /// The name of the replica.
    pub fn name(&self) -> &str {
        match self.source {
            Source::Running { engine, .. } => engine.config().replica.name(),
            Source::Stored { master, .. } => master.replica.name(),
        }
    }

    /// What a reader of the entity sees; `None` if it was removed or never written.
    pub fn read(&self, entity: &str) -> Option<Value> {
        let value = self.visible(&entity.into())?;
        decode_value(&value, self.limits).ok()
    }

    /// The CRDT in a field, if there is one.
    pub fn crdt<C: DeserializeOwned>(&self, entity: &str, name: &str) -> Option<C> {
        field(&self.visible(&entity.into())?, name, self.limits)
    }

    /// All that the replica has applied.
    pub fn vector(&self) -> &VersionVector {
        match self.source {
            Source::Running { engine, .. } => engine.vector(),
            Source::Stored { master, .. } => &master.vector,
        }
    }

    /// Below what tombstones may be gone.
    pub(super) fn floor(&self) -> &VersionVector {
        match self.source {
            Source::Running { engine, .. } => engine.floor(),
            Source::Stored { master, .. } => &master.floor,
        }
    }

    pub(super) fn digest(&self) -> &StateDigest {
        match self.source {
            Source::Running { engine, .. } => engine.digest(),
            Source::Stored { master, .. } => &master.digest,
        }
    }

    pub(super) fn strategies(&self) -> &StrategyTable {
        match self.source {
            Source::Running { engine, .. } => &engine.config().strategies,
            Source::Stored { strategies, .. } => strategies,
        }
    }

    pub(super) fn record(&self, entity: &EntityId) -> Record {
        let record = match self.source {
            Source::Running { engine, rows } => rows.entities.get(entity).map(|stored| {
                Record::decode(stored.clone(), engine.replicas(), self.limits)
                    .expect("an engine stores what it can decode")
            }),
            Source::Stored { master, .. } => master.entities.get(entity).cloned(),
        };
        record.unwrap_or_default()
    }

    pub(super) fn visible(&self, entity: &EntityId) -> Option<Bytes> {
        let record = self.record(entity);
        Some(visible(&record, &**self.strategies().strategy(entity), self.limits)?.value)
    }
}

/// What is left in the end: what every replica shows, and what was acknowledged.
#[derive(Debug)]
pub struct Verdict<'a> {
    pub(crate) islands: Vec<IslandView<'a>>,
    pub(crate) ledger: &'a Ledger,
    pub(crate) notes: &'a [(u64, Value)],
}

impl Verdict<'_> {
    /// The replicas that are members in the end, which are equal by then if nothing is wrong.
    pub fn islands(&self) -> &[IslandView<'_>] {
        &self.islands
    }

    /// What [turns](super::Turn::note) noted of writes that were acknowledged and must not be lost.
    pub fn acknowledged(&self) -> impl Iterator<Item = &Value> {
        self.notes.iter().filter_map(|(number, note)| {
            let write = self.ledger.writes().get(usize::try_from(*number).ok()?)?;
            let counts = write.fate == super::ledger::Fate::Acknowledged && !write.is_ambiguous;
            counts.then_some(note)
        })
    }

    /// Every write that was made.
    pub fn ledger(&self) -> &Ledger {
        self.ledger
    }
}

/// A field of a value that is a map.
pub(super) fn field<T: DeserializeOwned>(value: &Bytes, name: &str, limits: &Limits) -> Option<T> {
    let fields = split_fields(value, limits).ok()??;
    let (_, value) = fields.into_iter().find(|(field, _)| &**field == name)?;
    decode_value(&value, &limits.for_state()).ok()
}
