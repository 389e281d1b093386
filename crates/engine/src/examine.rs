//! What is stored here, as another replica compares it with what is stored there.

use archipelago_clock::{Dot, VersionVector};
use archipelago_proto::{EntityId, HeldContent, Holding, Record};

use crate::{
    Engine, ReadError, Records,
    digest::{bucket_of, entity_digest},
    entity,
    repair::DOTS_PAGE,
    scrub::failed,
};

/// How many rows one page of digests looks at.
const PAGE_ROWS: usize = 4_096;

/// How many pages of the index are looked through for one entity.
const BEYOND_PAGES_MAX: usize = 64;

/// What another replica holds of an entity, and what it had applied then.
#[derive(Clone, Copy, Debug)]
pub struct Theirs<'a> {
    /// All that it had applied.
    pub vector: &'a VersionVector,
    /// Tombstones that this covers may be gone there.
    pub reclaimed: &'a VersionVector,
    /// What it held of the entity.
    pub holding: &'a Holding,
}

/// What one side has of an entity, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// No value: it was never written, or removed, or lost.
    Nothing,
    /// A value with this digest.
    Value(u128),
    /// Something that cannot be understood.
    Unreadable,
}

/// How what is held of an entity here and elsewhere compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// It is the same.
    Same,
    /// Both have applied all writes that either holds, and hold different things.
    Differs {
        /// This replica.
        here: Held,
        /// The other one.
        there: Held,
    },
    /// One has a write that the other has not applied yet: nothing can be said.
    InFlight,
}

/// What is held here of an entity, and whether it can be compared.
pub(crate) struct Standing {
    pub(crate) ours: Holding,
    pub(crate) comparison: Comparison,
}

/// Entities in some buckets, with their digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestPage {
    /// In order of id, those without a value left out; `None` for what cannot be understood.
    pub entities: Vec<(EntityId, Option<u128>)>,
    /// Where the next page begins; `None` if this is the last one.
    pub next: Option<EntityId>,
}

impl Engine {
    /// The digests of the entities of some buckets as they are stored, behind `after`: about `bytes_max` bytes of them at
    /// most. Call it with nothing open.
    ///
    /// # Errors
    /// [`ReadError`] if the store fails.
    pub fn digests(
        &mut self,
        buckets: &[u8],
        after: Option<&EntityId>,
        bytes_max: usize,
        records: &dyn Records,
    ) -> Result<DigestPage, ReadError> {
        let mut page = DigestPage { entities: Vec::new(), next: None };
        let after = after.map_or(&[][..], |after| after.as_bytes());
        let rows = records.entities(after, PAGE_ROWS).map_err(failed)?;
        let is_last = rows.len() < PAGE_ROWS;
        let (mut bytes, mut last) = (0, None);
        for (key, stored) in rows {
            // What has no id that can be told cannot be asked for either.
            let Some(entity) = EntityId::from_utf8(key.clone()) else { continue };
            if entity.len() > self.config.limits.entity_id_bytes_max {
                continue;
            }
            if buckets.contains(&bucket_of(&entity)) {
                if bytes >= bytes_max {
                    return Ok(DigestPage { next: last, ..page });
                }
                let (entity, digest) = self.stored_digest(&key, stored);
                if digest != Some(0) {
                    bytes += entity.len() + size_of::<u128>();
                    page.entities.push((entity, digest));
                }
            }
            last = Some(entity);
        }
        page.next = last.filter(|_| !is_last);
        Ok(page)
    }

    /// What is stored of an entity; `dots` are live in it elsewhere. Call it with nothing open.
    ///
    /// # Errors
    /// [`ReadError`] if the store fails.
    pub fn holding(
        &self,
        entity: &EntityId,
        dots: &[Dot],
        records: &dyn Records,
    ) -> Result<Holding, ReadError> {
        let stored = records.record(entity).map_err(failed)?;
        let record = match stored.map(|stored| self.decode(entity, stored)) {
            None => None,
            Some(Ok(record)) => Some(record),
            Some(Err(_)) => return Ok(Holding { content: HeldContent::Unreadable, is_at_odds: true }),
        };
        let empty = Record::default();
        let versions = &record.as_ref().unwrap_or(&empty).versions;
        let mut is_at_odds = !versions.windows(2).all(|pair| pair[0].dot < pair[1].dot);
        for version in versions {
            is_at_odds |= !self.is_live(entity, &version.dot, records)?;
        }
        for dot in dots.iter().filter(|dot| versions.iter().all(|version| version.dot != **dot)) {
            is_at_odds |= self.is_live(entity, dot, records)?;
        }
        Ok(Holding { content: record.map_or(HeldContent::Absent, HeldContent::Record), is_at_odds })
    }

    /// Whether the index has it that the write is live in the entity.
    pub(crate) fn is_live(
        &self,
        entity: &EntityId,
        dot: &Dot,
        records: &dyn Records,
    ) -> Result<bool, ReadError> {
        let Some(before) = dot.sequence.checked_sub(1) else { return Ok(false) };
        let live = self.live_dots(&dot.actor, before, 1, records)?;
        Ok(live.first().is_some_and(|(sequence, of)| *sequence == dot.sequence && of == entity))
    }

    /// Compares what is stored here with what another replica holds. Call it with nothing open.
    ///
    /// Equal vectors are not needed: a difference is one between states as soon as each side has applied every write that is
    /// live on the other, and every removal that the other may have forgotten. Until then it may be a write on its way.
    ///
    /// # Errors
    /// [`ReadError`] if the store fails.
    pub fn compare(
        &mut self,
        entity: &EntityId,
        theirs: Theirs<'_>,
        records: &dyn Records,
    ) -> Result<Comparison, ReadError> {
        Ok(self.standing(entity, theirs, records)?.comparison)
    }

    pub(crate) fn standing(
        &mut self,
        entity: &EntityId,
        theirs: Theirs<'_>,
        records: &dyn Records,
    ) -> Result<Standing, ReadError> {
        let ours = self.holding(entity, &dots_of(theirs.holding), records)?;
        let here = self.in_short(entity, &ours);
        let there = self.in_short(entity, theirs.holding);
        let comparison = if here == there && here != Held::Unreadable {
            Comparison::Same
        } else if self.is_open(entity) || !self.is_settled(entity, &ours, theirs, records)? {
            Comparison::InFlight
        } else {
            Comparison::Differs { here, there }
        };
        Ok(Standing { ours, comparison })
    }

    fn is_settled(
        &self,
        entity: &EntityId,
        ours: &Holding,
        theirs: Theirs<'_>,
        records: &dyn Records,
    ) -> Result<bool, ReadError> {
        let knows_removals =
            theirs.vector.dominates(self.reclaimed()) && self.vector.dominates(theirs.reclaimed);
        let has_theirs =
            theirs.holding.is_at_odds || dots_of(theirs.holding).iter().all(|dot| self.vector.contains(dot));
        if !knows_removals || !has_theirs {
            return Ok(false);
        }
        if ours.is_at_odds || ours.content == HeldContent::Absent {
            // What a damaged or lost record said is not known any more. The index is.
            return Ok(!self.has_beyond(entity, theirs.vector, records)?);
        }
        Ok(dots_of(ours).iter().all(|dot| theirs.vector.contains(dot)))
    }

    /// Whether the index has it that a write is live in the entity which `vector` does not cover; true, too, if there is too
    /// much to look through, until the other has caught up.
    fn has_beyond(
        &self,
        entity: &EntityId,
        vector: &VersionVector,
        records: &dyn Records,
    ) -> Result<bool, ReadError> {
        let mut pages = 0;
        for (origin, last) in self.vector.iter() {
            let mut after = vector.get(origin);
            while after < last {
                let dots = self.live_dots(origin, after, DOTS_PAGE, records)?;
                let Some((greatest, _)) = dots.last() else { break };
                after = *greatest;
                pages += 1;
                if pages > BEYOND_PAGES_MAX || dots.iter().any(|(_, of)| of == entity) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn in_short(&mut self, entity: &EntityId, holding: &Holding) -> Held {
        match &holding.content {
            HeldContent::Absent => Held::Nothing,
            HeldContent::Unreadable => Held::Unreadable,
            HeldContent::Record(record) => match self.digest_of(entity, record) {
                0 => Held::Nothing,
                digest => Held::Value(digest),
            },
        }
    }

    pub(crate) fn digest_of(&mut self, entity: &EntityId, record: &Record) -> u128 {
        let family = self.config.strategies.strategy(entity).family();
        entity_digest(entity, record, family, &mut self.scratch)
    }

    /// Which of these dots the index of tombstones has of the entity.
    pub(crate) fn stones_among(
        &self,
        entity: &EntityId,
        among: &[&Record],
        records: &dyn Records,
    ) -> Result<Vec<Dot>, ReadError> {
        let family = self.config.strategies.strategy(entity).family();
        let mut stones = Vec::new();
        for dot in among.iter().flat_map(|record| entity::tombstones(record, family)) {
            let Some(number) = self.replicas().number(&dot.actor) else { continue };
            let Some(before) = dot.sequence.checked_sub(1) else { continue };
            let found = records.tombstones(number, before, 1).map_err(failed)?;
            let is_there = found.first().is_some_and(|(at, of)| *at == dot.sequence && of == entity);
            if is_there && !stones.contains(dot) {
                stones.push(dot.clone());
            }
        }
        Ok(stones)
    }
}

/// The writes that are live in what is held.
pub(crate) fn dots_of(holding: &Holding) -> Vec<Dot> {
    match &holding.content {
        HeldContent::Record(record) => record.versions.iter().map(|version| version.dot.clone()).collect(),
        HeldContent::Absent | HeldContent::Unreadable => Vec::new(),
    }
}
