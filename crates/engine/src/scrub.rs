//! All that is stored is read again, a little at a time: what changed there behind the engine's back is found.
//!
//! The digest of the state follows what the engine does, and knows nothing of a disk that lost a bit, or of a hand in the
//! store. A *pass* goes over all entities in order of id and sums their digests anew; a change of an entity that it has
//! passed is followed in its sums as well. So at its end the sums are the digest, or something else changed the store.
//! Then what is stored counts: the digest becomes what was found, other replicas see that it is not theirs, and the
//! alarm is theirs as well.

use archipelago_proto::EntityId;
use bytes::Bytes;

use crate::{
    Engine, Notice, ReadError, Records, StateDigest,
    digest::{bucket_of, entity_digest},
};

/// How many entities that cannot be understood are named.
pub const UNREADABLE_MAX: usize = 1_000;

/// How far a pass is, and what earlier ones found.
#[derive(Debug, Default)]
pub(crate) struct Scrub {
    pass: Option<Pass>,
    finished: u64,
    /// What could not be understood in the last pass.
    unreadable: Vec<EntityId>,
}

#[derive(Debug, Default)]
struct Pass {
    sums: StateDigest,
    /// The key of the last row that was passed.
    passed: Bytes,
    entities: u64,
    unreadable: Vec<EntityId>,
}

/// What a pass over all that is stored found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scrubbed {
    /// How many passes there were since the engine was made, with this one.
    pub pass: u64,
    /// How many entities are stored.
    pub entities: u64,
    /// The buckets in which what is stored was not what the engine had made of it, in order.
    pub damaged: Vec<u8>,
    /// What cannot be understood, in order of id: the first [`UNREADABLE_MAX`].
    pub unreadable: Vec<EntityId>,
}

impl Scrub {
    fn follow(&mut self, entity: &EntityId, old: u128, new: u128) {
        if let Some(pass) = self.pass.as_mut().filter(|pass| *entity.as_bytes() <= pass.passed) {
            pass.sums.replace(entity, old, new);
        }
    }
}

impl Engine {
    /// The digest of an entity changes from `old` to `new`.
    pub(crate) fn digest_changes(&mut self, entity: &EntityId, old: u128, new: u128) {
        self.digest.replace(entity, old, new);
        self.scrub.follow(entity, old, new);
    }

    /// Reads up to `entities_max` more of what is stored, and tells what a pass found if this ends it; the next call begins
    /// another one. Damage is a [notice](Notice::Damaged), and the digest counts what is stored from then on. Call it with
    /// nothing open: right after the effects of [`flush`](Self::flush) are carried out.
    ///
    /// What changed in the store before a pass comes by is found in that pass, unless the engine has changed the same
    /// entity since; what the digest has of that one then, the next pass mends.
    ///
    /// # Errors
    /// [`ReadError`] if the store fails. What it gives and nobody can understand is none.
    pub fn scrub(
        &mut self,
        entities_max: usize,
        records: &dyn Records,
    ) -> Result<Option<Scrubbed>, ReadError> {
        if entities_max == 0 {
            return Ok(None);
        }
        let mut pass = self.scrub.pass.take().unwrap_or_default();
        let rows = records.entities(&pass.passed, entities_max).map_err(failed)?;
        let is_last = rows.len() < entities_max;
        for (key, stored) in rows {
            pass.entities += 1;
            match self.stored_digest(&key, stored) {
                (entity, Some(digest)) => pass.sums.replace(&entity, 0, digest),
                (entity, None) if pass.unreadable.len() < UNREADABLE_MAX => pass.unreadable.push(entity),
                _ => {}
            }
            pass.passed = key;
        }
        if is_last {
            return Ok(Some(self.end(pass)));
        }
        self.scrub.pass = Some(pass);
        Ok(None)
    }

    fn end(&mut self, pass: Pass) -> Scrubbed {
        let pairs = (0..=u8::MAX).zip(self.digest.buckets().iter().zip(pass.sums.buckets()));
        let damaged: Vec<u8> = pairs.filter(|(_, (ours, found))| ours != found).map(|(at, _)| at).collect();
        let is_news = !pass.unreadable.is_empty() && pass.unreadable != self.scrub.unreadable;
        if !damaged.is_empty() || is_news {
            let (buckets, unreadable) = (damaged.clone(), pass.unreadable.clone());
            self.notices.push(Notice::Damaged { buckets, unreadable });
        }
        self.digest = pass.sums;
        self.scrub.finished += 1;
        self.scrub.unreadable.clone_from(&pass.unreadable);
        Scrubbed { pass: self.scrub.finished, entities: pass.entities, damaged, unreadable: pass.unreadable }
    }

    /// The first pass that begins after this.
    pub fn next_scrub(&self) -> u64 {
        self.scrub.finished + 1 + u64::from(self.scrub.pass.is_some())
    }

    /// How many passes there were since the engine was made.
    pub fn scrubs(&self) -> u64 {
        self.scrub.finished
    }

    /// The buckets of what could not be understood in the last pass.
    pub fn unreadable_buckets(&self) -> Vec<u8> {
        let mut buckets: Vec<u8> = self.scrub.unreadable.iter().map(bucket_of).collect();
        buckets.sort_unstable();
        buckets.dedup();
        buckets
    }

    /// The digest of a row as it is stored; `None` if it cannot be understood.
    pub(crate) fn stored_digest(&mut self, key: &Bytes, stored: Bytes) -> (EntityId, Option<u128>) {
        let Some(entity) = EntityId::from_utf8(key.clone()) else {
            return (String::from_utf8_lossy(key).into_owned().into(), None);
        };
        let digest = self.decode(&entity, stored).ok().map(|record| {
            let family = self.config.strategies.strategy(&entity).family();
            entity_digest(&entity, &record, family, &mut self.scratch)
        });
        (entity, digest)
    }
}

pub(crate) fn failed(source: Box<dyn std::error::Error + Send + Sync>) -> ReadError {
    ReadError { entity: EntityId::from(""), source }
}
