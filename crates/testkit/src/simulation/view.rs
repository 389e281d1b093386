use archipelago_clock::VersionVector;
use archipelago_conflict::StrategyTable;
use archipelago_crdt::Value;
use archipelago_engine::{Engine, visible};
use archipelago_proto::{EntityId, Limits, Record, decode_value, split_fields};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::{Ledger, disk::Rows};

/// What one replica shows.
#[derive(Debug)]
pub struct IslandView<'a> {
    pub(super) engine: &'a Engine,
    pub(super) rows: &'a Rows,
    pub(super) limits: &'a Limits,
}

impl IslandView<'_> {
    /// The name of the replica.
    pub fn name(&self) -> &str {
        self.engine.config().replica.name()
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
        self.engine.vector()
    }

    pub(super) fn strategies(&self) -> &StrategyTable {
        &self.engine.config().strategies
    }

    pub(super) fn record(&self, entity: &EntityId) -> Record {
        let stored = self.rows.entities.get(entity).cloned();
        stored.map_or_else(Record::default, |stored| {
            Record::decode(stored, self.engine.replicas(), self.limits)
                .expect("an engine stores what it can decode")
        })
    }

    pub(super) fn visible(&self, entity: &EntityId) -> Option<Bytes> {
        let record = self.record(entity);
        Some(visible(&record, &**self.strategies().strategy(entity), self.limits)?.value)
    }
}

/// What is left in the end: what every replica shows, and what was acknowledged.
#[derive(Debug)]
pub struct Verdict<'a> {
    pub(super) islands: Vec<IslandView<'a>>,
    pub(super) ledger: &'a Ledger,
    pub(super) notes: &'a [(u64, Value)],
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
