//! A damaged entity becomes what another replica holds of it, without an event.

use archipelago_conflict::{Attention, Family, Join};
use archipelago_proto::{EntityId, HeldContent, Record};

use crate::{
    Comparison, Engine, ReadError, Records, Theirs,
    entity::{self, Side},
    examine::Standing,
};

/// What became of an entity that was to be mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mend {
    /// It is the same on both sides by now.
    Same,
    /// The join of both states is what the other holds: what this replica had too much of was removed there.
    Joined,
    /// It is what the other replica holds.
    Replaced,
    /// Nothing changed.
    Left(Unmended),
}

/// Why an entity was left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unmended {
    /// One side has a write that the other has not applied yet.
    InFlight,
    /// What the other holds is damaged: it cannot be understood, or is not what its index has of it.
    DamagedThere,
    /// It was removed here, as the index says, and not there: mend the other one from this replica.
    RemovedHere,
    /// It is stamped too far ahead of this replica's clock.
    Ahead,
    /// It has a CRDT that only a newer build can join.
    NeedsNewerBuild,
}

impl Engine {
    /// Makes of an entity what another replica holds of it, as part of the next commit, if nothing is lost thereby: the other
    /// must have applied all that is live in it here. Call it with nothing open.
    ///
    /// If the join of both states is what the other holds, it is that join. Otherwise this replica is the damaged one, as
    /// whoever calls this says, and what the other holds takes the place of what is stored here, also if that cannot be
    /// understood. No event is made, and no other replica changes.
    ///
    /// # Errors
    /// [`ReadError`] if the store fails.
    pub fn mend(
        &mut self,
        entity: &EntityId,
        theirs: Theirs<'_>,
        now_unix_ms: u64,
        records: &dyn Records,
    ) -> Result<Mend, ReadError> {
        let Standing { ours, comparison } = self.standing(entity, theirs, records)?;
        match comparison {
            Comparison::Same => return Ok(Mend::Same),
            Comparison::InFlight => return Ok(Mend::Left(Unmended::InFlight)),
            Comparison::Differs { .. } => {}
        }
        let given = match &theirs.holding.content {
            _ if theirs.holding.is_at_odds => return Ok(Mend::Left(Unmended::DamagedThere)),
            HeldContent::Unreadable => return Ok(Mend::Left(Unmended::DamagedThere)),
            HeldContent::Absent => Record::default(),
            HeldContent::Record(record) => record.clone(),
        };
        if given.versions.iter().any(|version| self.due(version.hlc) > now_unix_ms) {
            return Ok(Mend::Left(Unmended::Ahead));
        }
        let family = self.config.strategies.strategy(entity).family();
        if matches!(family, Family::Joined(Join::Crdts)) && entity::holds_unknown_crdt(&given) {
            return Ok(Mend::Left(Unmended::NeedsNewerBuild));
        }
        let held = match ours.content {
            HeldContent::Record(record) => record,
            HeldContent::Absent | HeldContent::Unreadable => Record::default(),
        };
        let mut mend = Mend::Replaced;
        let mut mended = given;
        if !ours.is_at_odds {
            let here = Side { record: &held, seen: &self.vector };
            let joined = entity::merge(here, Side { record: &mended, seen: theirs.vector }, family);
            let (as_joined, as_held) = (self.digest_of(entity, &joined), self.digest_of(entity, &held));
            if as_joined == self.digest_of(entity, &mended) && has_more(&held, &mended) {
                (mend, mended) = (Mend::Joined, joined);
            } else if as_joined == as_held && has_more(&mended, &held) {
                return Ok(Mend::Left(Unmended::RemovedHere));
            }
        }
        self.put_mended(entity, &held, mended, records)?;
        Ok(mend)
    }

    fn put_mended(
        &mut self,
        entity: &EntityId,
        held: &Record,
        mended: Record,
        records: &dyn Records,
    ) -> Result<(), ReadError> {
        let strategy = self.config.strategies.strategy(entity).clone();
        let family = strategy.family();
        // What the indexes have is what they have, whatever the damaged record says.
        let mut live = Vec::new();
        for dot in held.versions.iter().chain(&mended.versions).map(|version| &version.dot) {
            if !live.contains(dot) && self.is_live(entity, dot, records)? {
                live.push(dot.clone());
            }
        }
        let stones = self.stones_among(entity, &[held, &mended], records)?;
        if strategy.attention() == Attention::Resolve {
            self.open.pending.insert(entity.detached(), entity::is_contested(&mended));
        }
        let (old, new) = (self.digest_of(entity, held), self.digest_of(entity, &mended));
        self.digest_changes(entity, old, new);
        let touched = self.open.touch_as(entity, family, live, stones);
        self.open.set(touched, mended);
        self.floors.are_due();
        Ok(())
    }
}

/// Whether `one` holds a write that `other` does not.
fn has_more(one: &Record, other: &Record) -> bool {
    one.versions.iter().any(|version| other.versions.iter().all(|held| held.dot != version.dot))
}
