use std::{fmt, sync::OnceLock};

use archipelago_clock::Dot;
use archipelago_conflict::Family;
use archipelago_proto::{Body, EntityId, Record, Slot};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// How many buckets the digest of a state has.
pub const DIGEST_BUCKETS: usize = 256;

/// A digest of the whole state of a replica that follows each change at the cost of that change.
///
/// Entities fall into [`DIGEST_BUCKETS`] buckets by a hash of their id; a bucket is the sum of the hashes of its
/// entities. Replicas with equal vectors have equal digests; tombstones are left out, because replicas reclaim them at
/// different times. It finds accidents, not forgeries.
///
/// Source of the incremental sum: Bellare, Micciancio: "A New Paradigm for Collision-Free Hashing: Incrementality at
/// Reduced Cost" (1997), with a faster hash that does not resist an attacker.
#[derive(Clone)]
pub struct StateDigest {
    buckets: Box<[u128; DIGEST_BUCKETS]>,
    /// Of these buckets, once somebody asked: heartbeats ask again and again.
    root: OnceLock<u128>,
}

impl StateDigest {
    /// The digest of the empty state.
    pub fn new() -> Self {
        StateDigest { buckets: Box::new([0; DIGEST_BUCKETS]), root: OnceLock::new() }
    }

    /// One number for all buckets: equal for equal states.
    pub fn root(&self) -> u128 {
        *self.root.get_or_init(|| {
            let bytes: Vec<u8> = self.buckets.iter().flat_map(|bucket| bucket.to_be_bytes()).collect();
            xxh3_128(&bytes)
        })
    }

    /// The buckets.
    pub fn buckets(&self) -> &[u128; DIGEST_BUCKETS] {
        &self.buckets
    }

    pub(crate) fn replace(&mut self, entity: &EntityId, old: u128, new: u128) {
        if old != new {
            let bucket = usize::from(bucket_of(entity));
            self.buckets[bucket] = self.buckets[bucket].wrapping_sub(old).wrapping_add(new);
            self.root = OnceLock::new();
        }
    }
}

impl PartialEq for StateDigest {
    fn eq(&self, other: &Self) -> bool {
        self.buckets == other.buckets
    }
}

impl Eq for StateDigest {}

impl Default for StateDigest {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.root())
    }
}

impl fmt::Debug for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateDigest({self})")
    }
}

/// The bucket of an entity.
pub fn bucket_of(entity: &EntityId) -> u8 {
    xxh3_64(entity.as_bytes()).to_be_bytes()[0]
}

/// The hash of one entity; 0 for one without a value. `scratch` is overwritten.
pub(crate) fn entity_digest(
    entity: &EntityId,
    record: &Record,
    family: Family,
    scratch: &mut Vec<u8>,
) -> u128 {
    // Siblings keep a tombstone as long as it has a sibling: there, it is part of what readers see.
    let siblings = family == Family::Siblings;
    scratch.clear();
    put(scratch, entity.as_bytes());
    let head = scratch.len();
    let mut has_value = false;
    for version in &record.versions {
        let live = match &version.body {
            Body::Tombstone => siblings,
            Body::Whole(_) => true,
            Body::Fields(fields) => fields.iter().any(|(_, value)| value.is_some()),
        };
        if !live {
            continue;
        }
        let Dot { actor, sequence } = &version.dot;
        put(scratch, actor.name().as_bytes());
        let numbers = [actor.incarnation().bits(), *sequence, version.hlc.bits()].map(u64::to_be_bytes);
        scratch.extend_from_slice(numbers.as_flattened());
        match &version.body {
            Body::Tombstone => scratch.push(0),
            Body::Whole(value) => {
                has_value = true;
                scratch.push(1);
                put(scratch, value);
            }
            Body::Fields(fields) => {
                has_value = true;
                for (slot, value) in fields {
                    let Some(value) = value else { continue };
                    match slot {
                        Slot::Root => scratch.push(2),
                        Slot::Field(name) => {
                            scratch.push(3);
                            put(scratch, name.as_bytes());
                        }
                    }
                    put(scratch, value);
                }
                scratch.push(4);
            }
        }
    }
    if !has_value || scratch.len() == head { 0 } else { xxh3_128(scratch) }
}

/// Length first, so that no two lists of parts run into the same bytes.
fn put(scratch: &mut Vec<u8>, bytes: &[u8]) {
    scratch.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    scratch.extend_from_slice(bytes);
}
