use std::{
    cmp::Ordering,
    collections::BinaryHeap,
    hash::{BuildHasher, BuildHasherDefault, Hasher},
};

use bytes::Bytes;
use dashmap::DashMap;

use super::bucket::Bucket;
use crate::{KeyRange, Row};

/// Enough that two threads seldom meet in a bucket, few enough that a scan may visit them all.
const BUCKETS: u64 = 1_024;

/// The entities of a store in memory: a concurrent hash map of buckets of rows.
///
/// The hash of its key decides a row's bucket, so reads and writes of different rows hardly ever wait for each
/// other. A bucket finds a row by the same hash, and knows the order of its rows, so a page of a scan costs about as
/// much as its rows, however many others there are.
///
/// Invariant: nothing here touches the map while it holds a guard into it.
#[derive(Debug, Default)]
pub(super) struct Entities {
    buckets: DashMap<u64, Bucket, BuildHasherDefault<Spread>>,
    /// Of this store alone, so that nobody can choose keys that all come into one place.
    hashes: foldhash::fast::RandomState,
}

impl Entities {
    pub(super) fn get(&self, key: &[u8]) -> Option<Bytes> {
        let (number, hash) = self.place_of(key);
        let bucket = self.buckets.get(&number)?;
        bucket.get(hash, key).map(|row| Bytes::copy_from_slice(row.value()))
    }

    pub(super) fn apply(&self, key: &[u8], value: Option<&[u8]>) {
        let (number, hash) = self.place_of(key);
        let mut bucket = self.buckets.entry(number).or_default();
        match value {
            Some(value) => bucket.put(hash, key, value),
            None => bucket.remove(hash, key),
        }
    }

    /// The `limit` smallest rows in the range, in O(buckets log n + limit log buckets log limit).
    pub(super) fn scan(&self, range: &KeyRange<'_>, limit: usize) -> Vec<Row> {
        // The largest of the rows kept so far is on top, to be thrown out by a smaller one.
        let mut smallest = BinaryHeap::<ByKey>::new();
        for bucket in &self.buckets {
            for row in bucket.range(range) {
                if smallest.len() < limit {
                    smallest.push(ByKey(row.to_row()));
                    continue;
                }
                match smallest.peek_mut() {
                    Some(mut largest) if *row.key() < *largest.0.key => *largest = ByKey(row.to_row()),
                    // Nor will the rest of this bucket be smaller.
                    _ => break,
                }
            }
        }
        smallest.into_sorted_vec().into_iter().map(|ByKey(row)| row).collect()
    }

    /// The number of the bucket of a key, and the hash by which the bucket finds it: different bits of one hash.
    fn place_of(&self, key: &[u8]) -> (u64, u32) {
        let hash = self.hashes.hash_one(key);
        (hash % BUCKETS, u32::try_from(hash >> 32).expect("32 bits"))
    }
}

/// The hash of a number that is a hash already, cut to a few bits: they are spread over the whole word again.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("buckets are numbers");
    }

    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing fills the upper bits, which choose the shard; the lower ones choose the place in it.
        let product = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ (product >> 32);
    }
}

/// A row that compares by its key alone.
struct ByKey(Row);

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for ByKey {}

impl PartialOrd for ByKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.key.cmp(&other.0.key)
    }
}

#[cfg(test)]
mod tests;
