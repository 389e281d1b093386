use archipelago_clock::ReplicaId;
use archipelago_crdt::Value;
use archipelago_engine::Change;
use archipelago_proto::{EntityId, Limits, decode_value, encode_value};
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::{Dice, ledger::Deed, view};

/// A turn of a client at one replica: it reads, and says what is to be written.
pub struct Turn<'a> {
    dice: Dice,
    number: u64,
    island: usize,
    client: usize,
    replica: ReplicaId,
    read: &'a dyn Fn(&EntityId) -> Option<Bytes>,
    limits: &'a Limits,
    writes: Vec<Wanted>,
}

/// A write that a turn wants.
pub(super) struct Wanted {
    pub(super) entity: EntityId,
    pub(super) deed: Deed,
    pub(super) change: Change,
    pub(super) note: Option<Value>,
}

impl<'a> Turn<'a> {
    pub(super) fn new(
        dice: u64,
        number: u64,
        (island, client): (usize, usize),
        replica: ReplicaId,
        read: &'a dyn Fn(&EntityId) -> Option<Bytes>,
        limits: &'a Limits,
    ) -> Self {
        Turn { dice: Dice::new(dice), number, island, client, replica, read, limits, writes: Vec::new() }
    }

    /// The chance of this turn: use no other.
    pub fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    /// A number that no other turn with a write has.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// At which replica it is, by number.
    pub fn island(&self) -> usize {
        self.island
    }

    /// Which client it is of.
    pub fn client(&self) -> usize {
        self.client
    }

    /// The identity of the replica: by it, counters and sets tell their updates apart.
    pub fn replica(&self) -> &ReplicaId {
        &self.replica
    }

    /// What the replica shows, as of before this turn.
    pub fn read(&self, entity: &str) -> Option<Value> {
        decode_value(&(self.read)(&entity.into())?, self.limits).ok()
    }

    /// The entity becomes this value.
    ///
    /// # Panics
    /// If the value is over the default limits.
    pub fn put(&mut self, entity: &str, value: impl Into<Value>) {
        let value = encode_value(&value.into(), self.limits).expect("a value within the default limits");
        self.wants(entity, Deed::Put, Change::Put(value));
    }

    /// The entity is removed.
    pub fn delete(&mut self, entity: &str) {
        self.wants(entity, Deed::Delete, Change::Delete);
    }

    /// The fields of the entity become these values; `None` removes one.
    ///
    /// # Panics
    /// If a value is over the default limits.
    pub fn patch<'f>(&mut self, entity: &str, fields: impl IntoIterator<Item = (&'f str, Option<Value>)>) {
        let encoded = fields.into_iter().map(|(name, value)| {
            let value = value.map(|value| encode_value(&value, self.limits));
            (name.into(), value.map(|value| value.expect("a value within the default limits")))
        });
        let change = Change::Patch(encoded.collect());
        self.wants(entity, Deed::Other, change);
    }

    /// The CRDT in a field as the replica shows it, or an empty one.
    pub fn crdt<C: DeserializeOwned + Default>(&self, entity: &str, field: &str) -> C {
        let value = (self.read)(&entity.into());
        value.and_then(|value| view::field(&value, field, self.limits)).unwrap_or_default()
    }

    /// The field becomes this CRDT: where fields are CRDTs, it joins what is there.
    ///
    /// # Panics
    /// If the CRDT is over the default limits.
    pub fn put_crdt<C: Serialize>(&mut self, entity: &str, field: &str, crdt: &C) {
        let value = encode_value(crdt, self.limits).expect("a CRDT within the default limits");
        self.wants(entity, Deed::Other, Change::Patch(vec![(field.into(), Some(value))]));
    }

    /// Reads, changes and writes back: what most programs do. `None` removes.
    pub fn update(&mut self, entity: &str, change: impl FnOnce(Option<Value>) -> Option<Value>) {
        match change(self.read(entity)) {
            Some(value) => self.put(entity, value),
            None => self.delete(entity),
        }
    }

    /// Notes something of the write before, which an invariant finds in
    /// [`Verdict::acknowledged`](super::Verdict::acknowledged) if the write was acknowledged.
    pub fn note(&mut self, note: impl Into<Value>) {
        if let Some(write) = self.writes.last_mut() {
            write.note = Some(note.into());
        }
    }

    pub(super) fn into_writes(self) -> Vec<Wanted> {
        self.writes
    }

    fn wants(&mut self, entity: &str, deed: Deed, change: Change) {
        self.writes.push(Wanted { entity: entity.into(), deed, change, note: None });
    }
}
