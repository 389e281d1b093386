//! Below what tombstones are reclaimed.
//!
//! A tombstone may go once its effect on whatever is still to come is the same as if it were never there: once every
//! write that is still to be applied was admitted by a replica that had it. A member tells by heartbeats what it has
//! applied; what all of them have is the *stable cut*. One of them puts it into the log, as a
//! [`Floor`](archipelago_proto::Floor). **Behind a floor in the log, an event counts only if its deps cover it.** As all
//! read the log in the same order, all agree on which events count, whatever they know of one another: before the floor an
//! event meets the tombstone everywhere, behind it an event that could have met it counts nowhere, and comes by repair
//! from its author instead, once that one has caught up. So who is a member decides only who need not go that way.
//!
//! Writes may also come by another road than the log: by repair, by import. Nothing is taken that way from whoever lacks
//! removals that are forgotten here, unless as a write that is made anew (`repair`).
//!
//! A heartbeat counts once this replica has applied all that it speaks of. So the writes of that member that are still to
//! be applied here come after it.
//!
//! Source: causal stability in Baquero, Almeida, Shoker: "Making Operation-based CRDTs Operation-based" (2014), section 4;
//! the barrier in the log is what makes it safe among replicas that nobody knows of.

use std::{collections::BTreeMap, sync::Arc};

use archipelago_clock::{Dot, ReplicaId, VersionVector};
use archipelago_crdt::dynamic;
use archipelago_proto::{EntityId, Event, Floor, Slot};
use bytes::Bytes;

use crate::{Change, Engine, ReadError, Records, entity, mutated, repair::DOTS_PAGE};

/// For how long after a piece of a delta was given the next one is waited for.
const GIVING_MS: u64 = 30_000;

/// What is known of the floor and of what all have applied.
#[derive(Debug, Default)]
pub(crate) struct Floors {
    /// Of everyone who was heard, what it had applied in the latest heartbeat that counts.
    counted: BTreeMap<ReplicaId, VersionVector>,
    /// Of each whose latest heartbeat does not count yet, the oldest of those that do not: counting waits for the latest
    /// only if that stands still.
    uncounted: BTreeMap<ReplicaId, VersionVector>,
    /// The join of all floors that hold: events that were admitted without all of this do not count any more, and
    /// tombstones that it covers can go.
    held: VersionVector,
    /// Who admitted the last event that counted, and what it came after: events of one commit share that.
    above: Option<(ReplicaId, Arc<VersionVector>)>,
    /// Tombstones that this covers may be gone here. Never more than `held`.
    reclaimed: VersionVector,
    /// Tombstones may have come below what is held.
    is_due: bool,
    /// When a piece of a longer delta was given last.
    given_unix_ms: Option<u64>,
    /// Floors of the log that hold once all before them is applied, by their places.
    coming: BTreeMap<u64, Floor>,
    /// A floor that is to go into the log.
    told: Option<Bytes>,
}

/// How far tombstones can be reclaimed, and who holds that back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reclaimable {
    /// How many tombstones there are, of entities and of fields.
    pub tombstones: u64,
    /// All that every member has applied: tombstones that this covers can go.
    pub stable: VersionVector,
    /// Tombstones that this covers are being reclaimed.
    pub floor: VersionVector,
    /// Everyone who is waited for, this replica included, and what it is known to have applied; `None` if it was not heard
    /// since this replica was started.
    pub awaited: Vec<(ReplicaId, Option<VersionVector>)>,
}

impl Floors {
    pub(crate) fn new(
        held: VersionVector,
        reclaimed: VersionVector,
        counted: BTreeMap<ReplicaId, VersionVector>,
    ) -> Self {
        Floors { held, reclaimed, counted, is_due: true, ..Floors::default() }
    }

    /// What everyone who was heard is known to have applied.
    pub(crate) fn counted(&self) -> &BTreeMap<ReplicaId, VersionVector> {
        &self.counted
    }

    pub(crate) fn held(&self) -> &VersionVector {
        &self.held
    }

    /// A replica is heard to have applied this. True if more than before counts.
    fn heard(&mut self, replica: &ReplicaId, vector: &VersionVector, own: &VersionVector) -> bool {
        let counts = if own.dominates(vector) || mutated!(CountHeartbeatsEarly) {
            self.uncounted.remove(replica);
            vector.clone()
        } else {
            let waits = self.uncounted.entry(replica.clone()).or_insert_with(|| vector.clone());
            if !own.dominates(waits) {
                return false;
            }
            std::mem::replace(waits, vector.clone())
        };
        let counted = self.counted.entry(replica.clone()).or_default();
        let is_more = !counted.dominates(&counts);
        counted.merge(&counts);
        is_more
    }

    /// Whether there is room for one more replica that is heard.
    pub(crate) fn has_room(&self, replica: &ReplicaId, replicas_max: usize) -> bool {
        let known = self.counted.contains_key(replica) || self.uncounted.contains_key(replica);
        known || self.counted.len() + self.uncounted.len() < replicas_max
    }

    /// What was read of the log behind the checkpoint will be read again.
    pub(crate) fn forget_log(&mut self) {
        self.coming.clear();
    }

    /// Tombstones may have come below what is held.
    pub(crate) fn are_due(&mut self) {
        self.is_due = true;
    }

    /// Somebody is being given a delta in pieces, which belong together only as long as nothing is reclaimed.
    pub(crate) fn given(&mut self, now_unix_ms: u64) {
        self.given_unix_ms = Some(now_unix_ms);
    }

    pub(crate) fn take_told(&mut self) -> Option<Bytes> {
        self.told.take()
    }
}

impl Engine {
    /// Below what tombstones can be reclaimed: an event that was admitted without all of this counts no more.
    pub fn floor(&self) -> &VersionVector {
        self.floors.held()
    }

    /// Below what tombstones may be gone here. Whoever lacks some of it needs all of the state, not a part.
    pub fn reclaimed(&self) -> &VersionVector {
        &self.floors.reclaimed
    }

    /// How many tombstones there are, of entities and of fields, as of the last commit.
    pub fn tombstones(&self) -> u64 {
        self.tombstones
    }

    /// How far tombstones can be reclaimed, and who holds that back.
    pub fn reclaimable(&self) -> Reclaimable {
        let own = &self.config.replica;
        let awaited = self.members.awaited(&self.vector).into_values().map(|replica| {
            let vector = match replica == *own {
                true => Some(self.vector.clone()),
                false => self.floors.counted.get(&replica).cloned(),
            };
            (replica, vector)
        });
        let awaited: Vec<_> = awaited.collect();
        let mut stable = self.vector.clone();
        for (_, vector) in awaited.iter().filter(|_| !mutated!(StableByOwnVector)) {
            stable.meet(vector.as_ref().unwrap_or(&VersionVector::new()));
        }
        Reclaimable { tombstones: self.tombstones, stable, floor: self.floor().clone(), awaited }
    }

    /// Tells a floor to the log, if there is one to tell and this replica is the one to do it.
    pub(crate) fn tell_floor(&mut self, now_unix_ms: u64) {
        if self.tombstones == 0 || !self.is_active() {
            return;
        }
        let Reclaimable { mut stable, awaited, .. } = self.reclaimable();
        let own = &self.config.replica;
        let patience_ms = u64::try_from(self.config.repair_after.as_millis()).unwrap_or(u64::MAX);
        let is_alive = |replica: &ReplicaId| {
            let heard = self.peers.get(replica).map(|peer| peer.heard_unix_ms);
            heard.is_some_and(|heard| now_unix_ms.saturating_sub(heard) <= patience_ms.saturating_mul(2))
        };
        let is_first = awaited
            .iter()
            .find(|(replica, _)| replica == own || is_alive(replica))
            .is_some_and(|(first, _)| first == own);
        // A floor covers all floors before it. Whoever cannot cover one must catch up first.
        let is_able = self.vector.dominates(self.floor());
        if is_first && is_able && !self.floor().dominates(&stable) {
            stable.merge(self.floor());
            let floor =
                Floor { namespace: self.config.namespace.clone(), replica: own.clone(), vector: stable };
            self.floors.told = Some(floor.encode());
        }
    }

    /// Takes in a floor that was read in the log at `position`: it holds for whatever comes behind it, and tombstones below
    /// it go once everything before it is applied.
    ///
    /// One that does not cover every floor before it is by someone who had not read those, and is of no effect: of two who
    /// know nothing of each other one must catch up first, or neither could ever take in what the other has.
    pub fn handle_floor(&mut self, floor: Floor, position: u64) {
        let before = self.floors.coming.range(..position).next_back();
        let before = before.map_or(self.floor(), |(_, before)| &before.vector);
        let is_news = floor.vector.dominates(before) && !self.floor().dominates(&floor.vector);
        let is_ours = floor.namespace == self.config.namespace;
        if is_ours && is_news && !self.floors.coming.contains_key(&position) {
            self.progress.hold(position);
            self.floors.coming.insert(position, floor);
        }
        self.progress.handled(position);
        self.settle_floors();
    }

    /// Lets the floors hold of which everything before them in the log is applied.
    pub(crate) fn settle_floors(&mut self) {
        while let Some((&position, _)) = self.floors.coming.first_key_value() {
            if self.progress.checkpoint() + 1 < position {
                break;
            }
            let floor = self.floors.coming.remove(&position);
            self.progress.release(position);
            if let Some(floor) = floor {
                self.raise_floor(&floor.vector);
            }
        }
    }

    pub(crate) fn raise_floor(&mut self, floor: &VersionVector) {
        if !self.floor().dominates(floor) {
            self.floors.held.merge(floor);
            self.floors.above = None;
            self.floors.is_due = true;
            self.open.floors = true;
        }
    }

    /// True if the event was admitted by a replica that lacked something below a floor that lies before it in the log.
    pub(crate) fn is_below_floor(&mut self, event: &Event, position: Option<u64>) -> bool {
        if mutated!(IgnoreFloor) {
            return false;
        }
        let Event { dot: Dot { actor, sequence }, deps, .. } = event;
        let had = |floor: &VersionVector| {
            floor.iter().all(|(replica, least)| replica == actor || deps.get(replica) >= least)
        };
        let floors = &mut self.floors;
        if !floors.above.as_ref().is_some_and(|(last, above)| last == actor && Arc::ptr_eq(above, deps)) {
            floors.above = had(&floors.held).then(|| (actor.clone(), deps.clone()));
        }
        let is_before = |at: u64| position.is_none_or(|position| at < position);
        let mut coming =
            floors.coming.iter().filter(|(at, _)| is_before(**at)).map(|(_, floor)| &floor.vector);
        floors.above.is_none()
            || floors.held.get(actor) >= *sequence
            || coming.any(|floor| floor.get(actor) >= *sequence || !had(floor))
    }

    pub(crate) fn heard_to_have(&mut self, replica: &ReplicaId, vector: &VersionVector) {
        if self.floors.has_room(replica, self.config.limits.replicas_max)
            && self.floors.heard(replica, vector, &self.vector)
        {
            // Without a tombstone it is of no interest to anyone, and not worth a commit.
            self.open.heard |= self.tombstones > 0;
        }
    }

    /// What the giver of a delta reclaimed is not held here either from now on.
    pub(crate) fn take_reclaimed(&mut self, floor: &VersionVector) {
        self.raise_floor(floor);
        // The delta may hold tombstones that could go.
        self.floors.is_due = true;
        if !self.floors.reclaimed.dominates(floor) {
            self.floors.reclaimed.merge(floor);
            self.open.floors = true;
        }
    }

    /// Reclaims up to `limit` tombstones that are below the floor, as part of the next commit, and gives how many. Nothing
    /// as long as somebody is being given a delta. Call it with nothing open: right after the effects of
    /// [`flush`](Self::flush) are carried out.
    ///
    /// # Errors
    /// [`ReadError`] if the store fails.
    pub fn reclaim(
        &mut self,
        limit: usize,
        now_unix_ms: u64,
        records: &dyn Records,
    ) -> Result<usize, ReadError> {
        let is_giving = |given: u64| now_unix_ms.saturating_sub(given) < GIVING_MS;
        if !self.floors.is_due || self.tombstones == 0 || self.floors.given_unix_ms.is_some_and(is_giving) {
            return Ok(0);
        }
        let floor = if mutated!(ReclaimAtOnce) { &self.vector } else { self.floor() };
        let (floor, mut reclaimed) = (floor.clone(), 0);
        for (replica, last) in floor.iter() {
            let Some(number) = self.replicas().number(replica) else { continue };
            let mut after = 0;
            while after < last && reclaimed < limit {
                let stones = records.tombstones(number, after, DOTS_PAGE);
                let stones =
                    stones.map_err(|source| ReadError { entity: EntityId::from(replica.name()), source })?;
                let Some((greatest, _)) = stones.last() else { break };
                after = *greatest;
                for (_, entity) in stones.into_iter().take_while(|(sequence, _)| *sequence <= last) {
                    reclaimed += usize::from(self.reclaim_in(&entity, &floor, records)?);
                }
            }
        }
        if reclaimed > 0 && self.floors.reclaimed != floor {
            self.floors.reclaimed = floor;
            self.open.floors = true;
        }
        self.floors.is_due = reclaimed >= limit;
        Ok(reclaimed)
    }

    /// What to write for the CRDTs of an entity to forget what they keep of removals: nothing as long as a member may lack
    /// some of it, or if they keep nothing. An ordinary write, which others join.
    ///
    /// # Errors
    /// [`ReadError`] if the store fails.
    pub fn compacted(&self, entity: &EntityId, records: &dyn Records) -> Result<Option<Change>, ReadError> {
        let record = self.record(entity, records)?;
        if !record.versions.iter().all(|version| self.floor().contains(&version.dot)) {
            return Ok(None);
        }
        let (mut fields, mut root) = (Vec::new(), None);
        for field in entity::live_fields(&record) {
            // What cannot be understood is left as it is.
            let Ok(Some(forgetful)) = dynamic::forget(&field.value) else { continue };
            match field.slot {
                Slot::Root => root = Some(Change::Put(forgetful.into())),
                Slot::Field(name) => fields.push((name, Some(forgetful.into()))),
            }
        }
        Ok(root.or_else(|| (!fields.is_empty()).then_some(Change::Patch(fields))))
    }

    fn reclaim_in(
        &mut self,
        entity: &EntityId,
        floor: &VersionVector,
        records: &dyn Records,
    ) -> Result<bool, ReadError> {
        let record = self.record(entity, records)?;
        let family = self.config.strategies.strategy(entity).family();
        let left = entity::reclaim(&record, floor, family);
        let changes = left != record;
        if changes {
            // The digest does not know of tombstones.
            let touched = self.open.touch(entity, &record, family);
            self.open.set(touched, left);
        }
        Ok(changes)
    }
}
