//! What one replica lacks of another's state, and how it takes that in: repair without events.
//!
//! A [`Delta`] holds every entity of which something is live that the other replica has not applied, as a whole. It comes
//! in pieces of bounded size, found through the index of live dots, so that its cost follows the difference and not the
//! state. The state moves on between the pieces; [`Delta::is_whole`] says how whoever asks gets a whole all the same.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    sync::Arc,
};

use archipelago_clock::{ClockError, Dot, Hlc, ReplicaId, VersionVector};
use archipelago_conflict::{Attention, Family, Join};
use archipelago_proto::{Body, EntityId, Member, Record, Version};

use crate::{
    Engine, Notice, ReadError, Records,
    digest::entity_digest,
    entity::{self, Side},
    mutated,
};

/// How many dots of the index are looked at at a time.
pub(crate) const DOTS_PAGE: usize = 256;

/// One piece of what a replica lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// All that the replica that gives it had applied when this piece was read.
    pub vector: VersionVector,
    /// Entities of which something is live that was asked for, in order of the first such dot.
    pub entities: Vec<(EntityId, Record)>,
    /// Where the next piece begins; `None` if this is the last one.
    pub next: Option<Dot>,
}

impl Delta {
    /// Whether this piece, asked for from the start, is all.
    ///
    /// Pieces that were read one after another are of different states. So ask on: after the last piece, for what came
    /// since the vector of the *first* one, until a delta is one whole piece. An entity that came again replaces what
    /// came before, and the vector of that whole piece is the vector of all of them together: what was live then and was
    /// not sent again had not changed since it was sent.
    pub fn is_whole(&self) -> bool {
        self.next.is_none() || mutated!(PiecesAreWhole)
    }
}

/// Who gives a delta, and what all of it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Giver {
    /// Who gives it.
    pub replica: ReplicaId,
    /// All that the giver had applied with it.
    pub vector: VersionVector,
    /// The giver may have reclaimed tombstones that this covers.
    pub floor: VersionVector,
    /// True if it is all that the giver holds, and not only what somebody lacked.
    pub is_complete: bool,
    /// The members that the giver knows.
    pub members: Vec<Member>,
}

/// Why a delta was not taken in. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeltaError {
    /// The giver has applied writes of this replica that this replica has not made: its identity is in other hands, or
    /// its store was restored from an old copy. It is fenced.
    #[error("the giver knows the write {dot} under this replica's name, which this replica has not made")]
    Fenced {
        /// The last such write.
        dot: Dot,
    },
    /// The giver has not applied all of which tombstones may be reclaimed here: it was given up, or never heard of. Worth
    /// retrying once it has caught up, which it can: nothing that this replica lacks is reclaimed there.
    #[error("{giver} lacks removals that everyone else has; it must catch up first")]
    GiverBehind {
        /// Who gives.
        giver: ReplicaId,
    },
    /// Removals that this replica lacks may be reclaimed by the giver. Ask for everything, from the empty vector.
    #[error("the giver may have forgotten removals that this replica lacks; all of its state is needed")]
    Incomplete,
    /// A version is stamped further ahead of this replica's clock than `max_drift`. Worth retrying at its time.
    #[error("{entity:?} is stamped too far ahead: due at {due_unix_ms} ms")]
    Ahead {
        /// Which entity.
        entity: EntityId,
        /// When it may be taken in, by this replica's clock.
        due_unix_ms: u64,
    },
    /// An entity has a CRDT of a kind or version that only a newer build can join.
    #[error("{entity:?} has a CRDT that only a newer build can join; upgrade this one")]
    NeedsNewerBuild {
        /// Which entity.
        entity: EntityId,
    },
    /// There is no name left for what this replica would have to write anew.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// What is stored here cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What is taken in of a delta, each entity with its record here and there, in the order in which they came first.
#[derive(Default)]
struct Given {
    entities: Vec<(EntityId, Record, Record)>,
    /// Where in `entities` each is.
    places: HashMap<EntityId, usize, foldhash::fast::RandomState>,
}

impl Given {
    fn reserve(&mut self, entities: usize) {
        self.entities.reserve(entities);
        self.places.reserve(entities);
    }

    fn put(&mut self, entity: EntityId, ours: Record, theirs: Record) {
        match self.places.entry(entity) {
            Entry::Occupied(place) => self.entities[*place.get()].2 = theirs,
            Entry::Vacant(place) => {
                self.entities.push((place.key().clone(), ours, theirs));
                place.insert(self.entities.len() - 1);
            }
        }
    }
}

impl Engine {
    /// A piece of what a holder of `since` lacks, from `from` on: at least one entity, and about `bytes_max` bytes at
    /// most. Only what is stored counts: ask after the effects of [`flush`](Engine::flush) are carried out. As long as pieces
    /// are asked for, nothing is reclaimed.
    ///
    /// # Errors
    /// [`ReadError`] if the store fails.
    pub fn delta_since(
        &mut self,
        since: &VersionVector,
        from: Option<&Dot>,
        bytes_max: usize,
        now_unix_ms: u64,
        records: &dyn Records,
    ) -> Result<Delta, ReadError> {
        let mut delta = Delta { vector: self.vector.clone(), entities: Vec::new(), next: None };
        let mut bytes = 0;
        let origins: Vec<ReplicaId> = self.vector.iter().map(|(origin, _)| origin.clone()).collect();
        for origin in origins.iter().filter(|origin| from.is_none_or(|from| **origin >= from.actor)) {
            let mut after = since.get(origin);
            if let Some(from) = from.filter(|from| from.actor == *origin) {
                after = after.max(from.sequence - 1);
            }
            loop {
                let dots = self.live_dots(origin, after, DOTS_PAGE, records)?;
                let Some((last, _)) = dots.last() else { break };
                after = *last;
                for (sequence, entity) in dots {
                    let dot = Dot::new(origin.clone(), sequence);
                    let stored = records.record(&entity).map_err(|error| unreadable(&entity, error))?;
                    let Some(stored) = stored else { continue };
                    let size = stored.len() + entity.len();
                    if !delta.entities.is_empty() && bytes + size > bytes_max {
                        self.floors.given(now_unix_ms);
                        return Ok(Delta { next: Some(dot), ..delta });
                    }
                    let record = self.decode(&entity, stored)?;
                    let is_tombstone = |version: &Version| version.body == Body::Tombstone;
                    if mutated!(RepairWithoutTombstones) && record.versions.iter().all(is_tombstone) {
                        continue;
                    }
                    // It is sent at the first of its dots, and once.
                    let lacking = record.versions.iter().map(|version| &version.dot);
                    if lacking.filter(|dot| !since.contains(dot)).min() == Some(&dot) {
                        bytes += size;
                        delta.entities.push((entity, record));
                    }
                }
            }
        }
        Ok(delta)
    }

    pub(crate) fn live_dots(
        &self,
        origin: &ReplicaId,
        after: u64,
        limit: usize,
        records: &dyn Records,
    ) -> Result<Vec<(u64, EntityId)>, ReadError> {
        let Some(number) = self.replicas().number(origin) else { return Ok(Vec::new()) };
        let dots = records.live_dots(number, after, limit);
        dots.map_err(|error| unreadable(&EntityId::from(""), error))
    }

    /// Takes in a whole delta: all entities of which something is live that its giver had applied and that a replica lacks
    /// that has applied what this one had when it asked, or less. Of an entity that is given twice the last one counts.
    /// Afterwards this replica has applied all that either had. Gives of how many entities that were.
    ///
    /// # Errors
    /// [`DeltaError`].
    pub fn handle_delta(
        &mut self,
        giver: Giver,
        entities: impl IntoIterator<Item = (EntityId, Record)>,
        now_unix_ms: u64,
        records: &dyn Records,
    ) -> Result<usize, DeltaError> {
        let own = self.config.replica.clone();
        let own_elsewhere = giver.vector.get(&own);
        if own_elsewhere > self.vector.get(&own) {
            let dot = Dot::new(own, own_elsewhere);
            self.fence(dot.clone());
            return Err(DeltaError::Fenced { dot });
        }
        let is_behind = !self.vector.dominates(&giver.floor);
        let is_giver_behind = !giver.vector.dominates(self.reclaimed());
        if is_giver_behind && !is_behind && !mutated!(TakeFromBehind) {
            return Err(DeltaError::GiverBehind { giver: giver.replica });
        }
        if is_behind && !giver.is_complete && !mutated!(TakePartBelowFloor) {
            return Err(DeltaError::Incomplete);
        }
        let entities = entities.into_iter();
        let mut given = Given::default();
        given.reserve(entities.size_hint().0);
        for (entity, theirs) in entities {
            let family = self.config.strategies.strategy(&entity).family();
            if matches!(family, Family::Joined(Join::Crdts)) && entity::holds_unknown_crdt(&theirs) {
                return Err(DeltaError::NeedsNewerBuild { entity });
            }
            for version in &theirs.versions {
                if !self.is_stamped(&version.dot, version.hlc) {
                    let dot = version.dot.clone();
                    self.fence(dot.clone());
                    return Err(DeltaError::Fenced { dot });
                }
                let due_unix_ms = self.due(version.hlc);
                if due_unix_ms > now_unix_ms {
                    return Err(DeltaError::Ahead { entity, due_unix_ms });
                }
            }
            let ours = self.record(&entity, records)?;
            given.put(entity, ours, theirs);
        }
        let given_entities = given.entities.len();
        if is_behind {
            // What the giver has applied and does not hold, it may have reclaimed the removal of; and what it has not
            // applied has not met that removal.
            for entity in self.live_entities(records)? {
                if !given.places.contains_key(&entity) {
                    let ours = self.record(&entity, records)?;
                    given.put(entity, ours, Record::default());
                }
            }
        }
        let mut merged = given.entities;
        if mutated!(RepairPartly) && merged.len() > 1 {
            merged.pop();
        }
        if is_behind {
            let versions =
                merged.iter().flat_map(|(_, ours, theirs)| ours.versions.iter().chain(&theirs.versions));
            self.vector
                .get(&own)
                .checked_add(versions.count() as u64)
                .ok_or(ClockError::SequenceExhausted)?;
        }
        let meeting = Meeting { giver: &giver.vector, is_behind, is_giver_behind };
        let before = self.vector.get(&own);
        self.open.reserve(merged.len());
        for (entity, ours, theirs) in merged {
            self.merge(entity, ours, theirs, meeting);
        }
        let writes = self.vector.get(&own) - before;
        if writes > 0 {
            self.notices.push(Notice::Rewritten { writes });
        }
        for (replica, sequence) in giver.vector.iter().filter(|(replica, _)| **replica != own) {
            let had = self.vector.get(replica);
            if sequence > had {
                let first = Dot::new(replica.clone(), had + 1);
                self.own_writes.followed(&first, own_elsewhere, self.session_start);
                self.vector.raise(replica.clone(), sequence);
                Arc::make_mut(&mut self.deps).raise(replica.clone(), sequence);
                self.open.applied(replica, sequence);
            }
        }
        self.take_reclaimed(&giver.floor);
        self.join_members(&giver.members, now_unix_ms);
        self.heard_to_have(&giver.replica, &giver.vector);
        self.handle_tick(now_unix_ms, records)?;
        Ok(given_entities)
    }

    /// Every entity of which something is live here.
    fn live_entities(&self, records: &dyn Records) -> Result<BTreeSet<EntityId>, ReadError> {
        let open = self.open.entities().filter(|(_, record)| !record.versions.is_empty());
        let mut entities: BTreeSet<EntityId> = open.map(|(entity, _)| entity.clone()).collect();
        for (origin, _) in self.vector.iter() {
            entities.extend(self.entities_above(origin, 0, records)?);
        }
        Ok(entities)
    }

    /// Every entity in which the store has a live write of `origin` above `after`.
    pub(crate) fn entities_above(
        &self,
        origin: &ReplicaId,
        mut after: u64,
        records: &dyn Records,
    ) -> Result<BTreeSet<EntityId>, ReadError> {
        let mut entities = BTreeSet::new();
        loop {
            let dots = self.live_dots(origin, after, DOTS_PAGE, records)?;
            let Some((greatest, _)) = dots.last() else { return Ok(entities) };
            after = *greatest;
            entities.extend(dots.into_iter().map(|(_, entity)| entity));
        }
    }

    fn merge(&mut self, entity: EntityId, ours: Record, theirs: Record, meeting: Meeting<'_>) {
        let strategy = self.config.strategies.strategy(&entity).clone();
        let family = strategy.family();
        let here = Side { record: &ours, seen: &self.vector };
        let there = Side { record: &theirs, seen: meeting.giver };
        let mut record = entity::merge(here, there, family);
        if family == Family::Siblings {
            self.take_back_removals(&mut record, here, there);
        }
        let latest = record.versions.iter().map(|version| version.hlc).max().unwrap_or(Hlc::ZERO);
        self.clock.observe(latest);
        for version in record.versions.iter().filter(|version| !self.vector.contains(&version.dot)) {
            let (dot, hlc) = (version.dot.clone(), version.hlc);
            self.notices.push(Notice::Applied { dot, entity: entity.clone(), hlc, trace: None });
        }
        if meeting.is_behind {
            record = self.write_anew(record, meeting, family);
        }
        let (waited, waits) = (entity::is_contested(&ours), entity::is_contested(&record));
        if strategy.attention() == Attention::Resolve && waited != waits {
            self.open.pending.insert(entity.detached(), waits);
        }
        let old = entity_digest(&entity, &ours, family, &mut self.scratch);
        let new = entity_digest(&entity, &record, family, &mut self.scratch);
        if !mutated!(DigestMissesRepair) {
            self.digest_changes(&entity, old, new);
        }
        let touched = self.open.touch(&entity, &ours, family);
        self.open.set(touched, record);
    }

    /// A removal that was reclaimed here stands beside a value there, of somebody who was not waited for. There it is part
    /// of what people see, and stays; so it does here, unless something is live here that came after it.
    fn take_back_removals(&self, record: &mut Record, here: Side<'_>, there: Side<'_>) {
        let knows_more = here.record.versions.iter().any(|version| !there.seen.contains(&version.dot));
        if knows_more || record.versions.iter().all(|version| version.body == Body::Tombstone) {
            return;
        }
        let is_reclaimed = |version: &&Version| {
            version.body == Body::Tombstone
                && self.reclaimed().contains(&version.dot)
                && here.seen.contains(&version.dot)
                && here.record.versions.iter().all(|held| held.dot != version.dot)
        };
        record.versions.extend(there.record.versions.iter().filter(is_reclaimed).cloned());
        record.versions.sort_by(|one, other| one.dot.cmp(&other.dot));
    }

    /// Makes what is live here and the giver has not applied a new write of this replica, that has seen all that either
    /// side has. It keeps its stamp, or has the next one if among equal stamps its new name would lose where the old one won.
    ///
    /// It never met the removals that the giver has reclaimed, and nobody here can tell which those were. Somebody else may
    /// have had both, and then the same write would be one thing there and another here. So what it was before ends here,
    /// and what it is from now on is the same everywhere.
    ///
    /// If the giver lacks removals that are reclaimed here, too, the same goes for what this replica has not applied.
    fn write_anew(&mut self, record: Record, meeting: Meeting<'_>, family: Family) -> Record {
        let own = self.config.replica.clone();
        let is_unknown = |version: &Version| {
            let is_known_here = !meeting.is_giver_behind || self.vector.contains(&version.dot);
            !(meeting.giver.contains(&version.dot) && is_known_here)
        };
        if mutated!(KeepUnmetWrites) || !record.versions.iter().any(is_unknown) {
            return record;
        }
        let (mut unknown, mut versions): (Vec<Version>, Vec<Version>) =
            record.versions.into_iter().partition(is_unknown);
        if family == Family::Siblings {
            // A later write supersedes the removals that its replica had applied.
            versions.retain(|version| version.body != Body::Tombstone);
        }
        // Among equal stamps the greater dot wins, also from now on.
        unknown.sort_by(|one, other| (one.hlc, &one.dot).cmp(&(other.hlc, &other.dot)));
        for version in unknown {
            let sequence = self.vector.get(&own) + 1;
            let anew = Dot::new(own.clone(), sequence);
            // It must win wherever it won before. What wins over it alone takes it away, and what it was lives on elsewhere:
            // nobody asks for an entity of which nothing new is live.
            let loses_ties = anew < version.dot;
            let hlc = version.hlc.next().filter(|_| loses_ties).unwrap_or(version.hlc);
            self.clock.observe(hlc);
            self.vector.raise(own.clone(), sequence);
            self.own_writes.made(sequence, hlc);
            self.open.applied(&own, sequence);
            self.open.rewritten.push((version.dot.clone(), anew.clone()));
            versions.push(Version { dot: anew, hlc, ..version });
        }
        versions.sort_by(|one, other| one.dot.cmp(&other.dot));
        let mut seen = self.vector.clone();
        seen.merge(meeting.giver);
        entity::in_one_form(&Record { versions }, &seen, family)
    }
}

/// What is known of the other side when two states meet.
#[derive(Clone, Copy)]
struct Meeting<'a> {
    /// All that the giver had applied.
    giver: &'a VersionVector,
    /// The giver may have reclaimed removals that this replica has not applied.
    is_behind: bool,
    /// This replica may have reclaimed removals that the giver has not applied.
    is_giver_behind: bool,
}

fn unreadable(entity: &EntityId, source: Box<dyn std::error::Error + Send + Sync>) -> ReadError {
    ReadError { entity: entity.clone(), source }
}
