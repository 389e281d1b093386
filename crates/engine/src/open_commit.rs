use std::collections::{BTreeMap, HashMap};

use archipelago_clock::{Dot, Hlc, ReplicaId};
use archipelago_proto::{BatchEncoder, EncodeError, EntityId, Event, Limits, Op, Record, ReplicaTable, Slot};

use smallvec::SmallVec;

use crate::{
    Reincarnation,
    effect::{Commit, Outboxed},
};

/// Changes since the last commit, kept decoded: a second change of an entity finds the first. In an order that inputs
/// decide, so that the same inputs give the same bytes.
#[derive(Debug, Default)]
pub(crate) struct OpenCommit {
    /// In the order of their first changes.
    entities: Vec<Changed>,
    /// Where in `entities` each is.
    places: HashMap<EntityId, usize>,
    pub(crate) pending: BTreeMap<EntityId, bool>,
    pub(crate) local_events: Vec<Event>,
    pub(crate) vector: BTreeMap<ReplicaId, u64>,
    pub(crate) reincarnation: Option<Reincarnation>,
}

/// An entity that changes with this commit.
#[derive(Debug)]
struct Changed {
    entity: EntityId,
    /// The dots that were live in it before.
    before: SmallVec<[Dot; 1]>,
    record: Record,
}

impl Changed {
    /// Which dots become live with the commit, and which cease to be.
    fn tell_live(&self, table: &mut ReplicaTable, live: &mut Vec<(u32, u64, EntityId, bool)>) {
        let after = self.record.versions.iter().map(|version| &version.dot);
        let gone = self.before.iter().filter(|dot| !after.clone().any(|after| after == *dot));
        let come = after.clone().filter(|dot| !self.before.contains(dot));
        for (dot, is_live) in gone.map(|dot| (dot, false)).chain(come.map(|dot| (dot, true))) {
            live.push((table.intern(&dot.actor), dot.sequence, self.entity.clone(), is_live));
        }
    }
}

impl OpenCommit {
    /// The entity as it is after the changes so far; `None` if there are none.
    pub(crate) fn entity(&self, entity: &EntityId) -> Option<&Record> {
        self.places.get(entity).map(|place| &self.entities[*place].record)
    }

    /// The entity is about to change from `record`.
    pub(crate) fn touch(&mut self, entity: &EntityId, record: &Record) {
        if !self.places.contains_key(entity) {
            self.places.insert(entity.clone(), self.entities.len());
            let before = record.versions.iter().map(|version| version.dot.clone()).collect();
            self.entities.push(Changed { entity: entity.clone(), before, record: Record::default() });
        }
    }

    /// The entity, which was [touched](Self::touch), is this from now on.
    pub(crate) fn set_entity(&mut self, entity: &EntityId, record: Record) {
        if let Some(place) = self.places.get(entity) {
            self.entities[*place].record = record;
        }
    }

    /// What to store; afterwards nothing is open. `table` has grown by the replicas that were new.
    pub(crate) fn close(
        &mut self,
        namespace: &str,
        table: &mut ReplicaTable,
        limits: &Limits,
        hlc_ceiling: Option<Hlc>,
    ) -> Result<Commit, EncodeError> {
        let known = table.replicas().len();
        let mut commit =
            Commit { hlc_ceiling, reincarnation: self.reincarnation.take(), ..Commit::default() };
        self.places.clear();
        for changed in self.entities.drain(..) {
            changed.tell_live(table, &mut commit.live);
            commit.entities.push((changed.entity, changed.record.encode(table)));
        }
        commit.pending = std::mem::take(&mut self.pending).into_iter().collect();
        commit.vector = std::mem::take(&mut self.vector)
            .iter()
            .map(|(replica, sequence)| (table.intern(replica), *sequence))
            .collect();
        if table.replicas().len() > known {
            let first = u32::try_from(known).expect("fewer than 2^32 replicas");
            commit.replicas = Some((first, table.replicas()[known..].to_vec()));
        }
        commit.outbox = pack(namespace, &std::mem::take(&mut self.local_events), limits)?;
        Ok(commit)
    }
}

/// Packs events of one origin into as few messages as the limits allow.
///
/// # Errors
/// [`EncodeError::OverLimit`] if a single event makes a message over `batch_bytes_max`.
pub fn pack(namespace: &str, events: &[Event], limits: &Limits) -> Result<Vec<Outboxed>, EncodeError> {
    let mut outbox = Vec::new();
    let mut rest = events;
    while let Some(first) = rest.first() {
        let mut encoder = BatchEncoder::new(namespace, limits);
        let mut packed = 0;
        for event in rest {
            let fits = packed == 0 || encoder.bytes() + bytes_at_most(event) <= limits.batch_bytes_max;
            if !fits || !encoder.push(event) {
                break;
            }
            packed += 1;
        }
        let last_sequence = first.dot.sequence + packed as u64 - 1;
        if let Some(message) = encoder.finish()? {
            outbox.push(Outboxed { first_sequence: first.dot.sequence, last_sequence, message });
        }
        rest = &rest[packed..];
    }
    Ok(outbox)
}

/// An upper bound, quickly found, on the bytes that `event` takes in a message, together with all of the message that is
/// not events.
pub(crate) fn bytes_at_most(event: &Event) -> usize {
    // A name of 64 bytes, the incarnation, and four numbers of up to nine bytes, each with a marker.
    const REPLICA: usize = 128;
    const HEADS: usize = 512;
    let op = match &event.op {
        Op::Delete => 0,
        Op::Put(value) => value.len(),
        Op::Patch(fields) => fields
            .iter()
            .map(|(slot, value)| {
                let name = if let Slot::Field(name) = slot { name.len() } else { 0 };
                name + value.as_ref().map_or(0, |value| value.len()) + 10
            })
            .sum(),
    };
    op + event.entity.len() + REPLICA * (event.deps.len() + 1) + HEADS
}
