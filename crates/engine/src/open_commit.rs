use std::collections::{BTreeMap, HashMap};

use archipelago_clock::{Dot, Hlc, ReplicaId};
use archipelago_conflict::Family;
use archipelago_proto::{EncodeError, EntityId, Event, Limits, Record, ReplicaTable};

use smallvec::SmallVec;

use crate::{
    Reincarnation,
    effect::{Commit, DotChange},
    entity,
    packing::pack,
};

/// For how many changes there is room without asking for it, after a commit that had more: a delta can be all of a state.
pub(crate) const ROOM_KEPT_MAX: usize = 4_096;

/// Changes since the last commit, kept decoded: a second change of an entity finds the first. In an order that inputs
/// decide, so that the same inputs give the same bytes.
#[derive(Debug, Default)]
pub(crate) struct OpenCommit {
    /// In the order of their first changes.
    entities: Vec<Changed>,
    /// Where in `entities` each is.
    places: HashMap<EntityId, usize, foldhash::fast::RandomState>,
    pub(crate) pending: BTreeMap<EntityId, bool>,
    pub(crate) local_events: Vec<Event>,
    /// Changed entries of the vector, the last one of a replica counts.
    vector: Vec<(ReplicaId, u64)>,
    pub(crate) reincarnation: Option<Reincarnation>,
    pub(crate) rewritten: Vec<(Dot, Dot)>,
    /// Whether what is known of the members changed.
    pub(crate) members: bool,
    /// Whether more is known of what others have applied.
    pub(crate) heard: bool,
    /// Whether a floor was raised.
    pub(crate) floors: bool,
}

/// An entity that changes with this commit.
#[derive(Debug)]
struct Changed {
    entity: EntityId,
    family: Family,
    before: Dots,
    record: Record,
}

/// Where an entity is that is about to change.
#[derive(Debug)]
#[must_use = "an entity that is touched must be set"]
pub(crate) struct Touched(usize);

/// What the indexes have of an entity.
#[derive(Debug)]
struct Dots {
    live: SmallVec<[Dot; 1]>,
    tombstones: SmallVec<[Dot; 1]>,
}

impl Dots {
    fn of(record: &Record, family: Family) -> Self {
        Dots {
            live: record.versions.iter().map(|version| version.dot.clone()).collect(),
            tombstones: entity::tombstones(record, family).cloned().collect(),
        }
    }
}

impl Changed {
    /// What changes in the indexes with the commit.
    fn tell_indexes(&self, table: &mut ReplicaTable, commit: &mut Commit) {
        let live = self.record.versions.iter().map(|version| &version.dot);
        self.tell_index(&self.before.live, live, table, &mut commit.live);
        let tombstones = entity::tombstones(&self.record, self.family);
        self.tell_index(&self.before.tombstones, tombstones, table, &mut commit.tombstones);
    }

    fn tell_index<'d>(
        &self,
        before: &[Dot],
        after: impl Iterator<Item = &'d Dot> + Clone,
        table: &mut ReplicaTable,
        index: &mut Vec<DotChange>,
    ) {
        let stays = |dot: &Dot| after.clone().any(|left| left == dot);
        let gone = before.iter().filter(|dot| !stays(dot)).map(|dot| (dot, false));
        let come = after.clone().filter(|dot| !before.contains(dot)).map(|dot| (dot, true));
        for (dot, is_there) in gone.chain(come) {
            let (replica, entity) = (table.intern(&dot.actor), self.entity.clone());
            index.push(DotChange { replica, sequence: dot.sequence, entity, is_there });
        }
    }
}

impl OpenCommit {
    /// The entity as it is after the changes so far; `None` if there are none.
    pub(crate) fn entity(&self, entity: &EntityId) -> Option<&Record> {
        self.places.get(entity).map(|place| &self.entities[*place].record)
    }

    /// So much is applied of the replica now.
    pub(crate) fn applied(&mut self, replica: &ReplicaId, sequence: u64) {
        match self.vector.last_mut() {
            // Events of one replica come one after the other.
            Some((last, applied)) if last == replica => *applied = sequence,
            _ => self.vector.push((replica.clone(), sequence)),
        }
    }

    /// The entities that change.
    pub(crate) fn entities(&self) -> impl Iterator<Item = (&EntityId, &Record)> {
        self.entities.iter().map(|changed| (&changed.entity, &changed.record))
    }

    /// So many more entities are about to change.
    pub(crate) fn reserve(&mut self, entities: usize) {
        self.entities.reserve(entities);
        self.places.reserve(entities);
    }

    /// The entity is about to change from `record`.
    pub(crate) fn touch(&mut self, entity: &EntityId, record: &Record, family: Family) -> Touched {
        self.touch_from(entity, family, || Dots::of(record, family))
    }

    /// The entity is about to change, and the indexes have these writes of it.
    pub(crate) fn touch_as(
        &mut self,
        entity: &EntityId,
        family: Family,
        live: Vec<Dot>,
        tombstones: Vec<Dot>,
    ) -> Touched {
        self.touch_from(entity, family, || Dots { live: live.into(), tombstones: tombstones.into() })
    }

    fn touch_from(&mut self, entity: &EntityId, family: Family, before: impl FnOnce() -> Dots) -> Touched {
        let entities = &mut self.entities;
        let place = *self.places.entry(entity.clone()).or_insert_with(|| {
            let (entity, before) = (entity.clone(), before());
            entities.push(Changed { entity, family, before, record: Record::default() });
            entities.len() - 1
        });
        Touched(place)
    }

    /// The entity that was touched is this from now on.
    pub(crate) fn set(&mut self, Touched(place): Touched, record: Record) {
        self.entities[place].record = record;
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
        let (reincarnation, rewritten) = (self.reincarnation.take(), std::mem::take(&mut self.rewritten));
        let mut commit = Commit { hlc_ceiling, reincarnation, rewritten, ..Commit::default() };
        self.places.clear();
        // Of most something is live before and after.
        commit.live.reserve(2 * self.entities.len());
        self.entities.iter().for_each(|changed| changed.tell_indexes(table, &mut commit));
        let is_left = |record: &Record| !record.versions.is_empty();
        let left = self.entities.iter().map(|changed| &changed.record).filter(|record| is_left(record));
        let mut encoded = Record::encode_all(left, table).into_iter();
        commit.entities.reserve(self.entities.len());
        for Changed { entity, before, record, .. } in self.entities.drain(..) {
            commit.held += i64::from(is_left(&record)) - i64::from(!before.live.is_empty());
            commit.entities.push((entity, if is_left(&record) { encoded.next() } else { None }));
        }
        self.entities.shrink_to(ROOM_KEPT_MAX);
        self.places.shrink_to(ROOM_KEPT_MAX);
        commit.pending = std::mem::take(&mut self.pending).into_iter().collect();
        let vector: BTreeMap<ReplicaId, u64> = self.vector.drain(..).collect();
        commit.vector = vector.iter().map(|(replica, sequence)| (table.intern(replica), *sequence)).collect();
        if table.replicas().len() > known {
            let first = u32::try_from(known).expect("fewer than 2^32 replicas");
            commit.replicas = Some((first, table.replicas()[known..].to_vec()));
        }
        let packed = pack(namespace, &self.local_events, limits);
        // With the room that they took: there will be as many again.
        self.local_events.clear();
        commit.outbox = packed?;
        Ok(commit)
    }
}
