use std::{
    cmp::Ordering,
    collections::BinaryHeap,
    hash::{BuildHasher, BuildHasherDefault, Hasher},
    hint::black_box,
};

use bytes::Bytes;
use dashmap::DashMap;

use super::{bucket::Bucket, hashed_row::HashedRow};
use crate::{KeyRange, Row, StoreError, store::up_to};

/// Enough that two threads seldom meet in a bucket, few enough that a scan may visit them all.
const BUCKETS: u64 = 1_024;

/// The entities of a store in memory: a concurrent hash map of buckets of rows.
///
/// The hash of its key decides a row's bucket, so reads and writes of different rows hardly ever wait for each
/// other. A bucket finds a row by the same hash, and knows the order of its rows, so a page of a scan costs about as
/// much as its rows, however many others there are.
///
/// Invariant: nothing here locks a shard of the map that it holds already, and whoever writes holds one at a time.
#[derive(Debug, Default)]
pub(super) struct Entities {
    buckets: DashMap<u64, Bucket, BuildHasherDefault<Spread>>,
    /// Of this store alone, so that nobody can choose keys that all come into one place.
    hashes: foldhash::fast::RandomState,
}

impl Entities {
    pub(super) fn get(&self, key: &[u8]) -> Option<Bytes> {
        let place = self.place_of(key);
        let bucket = self.buckets.get(&place.bucket)?;
        bucket.get(place.hash, key).map(|row| Bytes::copy_from_slice(row.value()))
    }

    /// The same of many keys, in one allocation, up to the row with which they come to more than so many bytes.
    pub(super) fn get_many(
        &self,
        keys: &[&[u8]],
        bytes_max: usize,
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.visit(keys, |places, bucket| {
            let likely = at_hand(places, bucket);
            let rows = places.iter().zip(likely).zip(keys).map(|((place, likely), key)| match likely? {
                row if row.key() == *key => Some(row),
                _ => bucket(place)?.get(place.hash, key),
            });
            up_to(bytes_max, rows.map(|row| Ok(row.map(HashedRow::value)))).map(|values| together(&values))
        })
    }

    /// These rows are about to be written.
    pub(super) fn prefetch(&self, keys: &[&[u8]]) {
        // A single one has nothing to be on its way with.
        if keys.len() > 1 {
            self.visit(keys, |places, bucket| drop(at_hand(places, bucket)));
        }
    }

    /// Gives the places of the keys, and what finds their buckets while nobody writes to any of them. Each lock is taken
    /// once, as one for each row would be waited for before the next row is asked for, and always in the same order.
    fn visit<T>(&self, keys: &[&[u8]], visitor: impl FnOnce(&[Place], &BucketOf<'_>) -> T) -> T {
        let places: Vec<Place> = keys.iter().map(|key| self.place_of(key)).collect();
        let shards = self.buckets.shards();
        let mut is_visited = vec![false; shards.len()];
        for place in &places {
            is_visited[self.buckets.determine_shard(place.spread())] = true;
        }
        let shards = shards.iter().zip(is_visited);
        let guards: Vec<_> = shards.map(|(shard, is_visited)| is_visited.then(|| shard.read())).collect();
        visitor(&places, &|place| {
            let shard = guards[self.buckets.determine_shard(place.spread())].as_ref()?;
            let (_, bucket) = shard.get(place.spread() as u64, |(number, _)| *number == place.bucket)?;
            Some(bucket.get())
        })
    }

    pub(super) fn apply(&self, key: &[u8], value: Option<&[u8]>) {
        let place = self.place_of(key);
        let mut bucket = self.buckets.entry(place.bucket).or_default();
        match value {
            Some(value) => bucket.put(place.hash, key, value),
            None => bucket.remove(place.hash, key),
        }
    }

    /// The `limit` smallest rows in the range, in O(buckets log n + limit log buckets log limit), and what it takes to put new
    /// rows in order, of which a bucket has a few.
    pub(super) fn scan(&self, range: &KeyRange<'_>, limit: usize) -> Vec<Row> {
        self.put_in_order();
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

    fn put_in_order(&self) {
        let out_of_order = self.buckets.iter().filter(|bucket| !bucket.is_in_order());
        let out_of_order: Vec<u64> = out_of_order.map(|bucket| *bucket.key()).collect();
        for number in out_of_order {
            if let Some(mut bucket) = self.buckets.get_mut(&number) {
                bucket.put_in_order();
            }
        }
    }

    fn place_of(&self, key: &[u8]) -> Place {
        let hash = self.hashes.hash_one(key);
        Place { bucket: hash % BUCKETS, hash: u32::try_from(hash >> 32).expect("32 bits") }
    }
}

/// Copies of these values, in one allocation.
fn together(values: &[Option<&[u8]>]) -> Vec<Option<Bytes>> {
    let mut all = Bytes::from(values.iter().flatten().copied().collect::<Vec<_>>().concat());
    values.iter().map(|value| value.map(|value| all.split_to(value.len()))).collect()
}

/// Finds the bucket of a place.
type BucketOf<'a> = dyn Fn(&Place) -> Option<&'a Bucket> + 'a;

/// The rows that are most likely at these places, brought into the caches. Each lies elsewhere in memory, and waiting for it
/// takes longer than all else. So all are found by their hashes and then all are asked for, before any is needed: while one
/// is on its way, so are those after it.
fn at_hand<'a>(places: &[Place], bucket: &BucketOf<'a>) -> Vec<Option<&'a HashedRow>> {
    let likely: Vec<Option<&HashedRow>> =
        places.iter().map(|place| bucket(place)?.likely(place.hash)).collect();
    black_box(likely.iter().flatten().fold(0, |all, row| all ^ row.touch()));
    likely
}

/// Where the row of a key is: different bits of one hash.
#[derive(Clone, Copy)]
struct Place {
    /// The number of its bucket.
    bucket: u64,
    /// By which the bucket finds it.
    hash: u32,
}

impl Place {
    /// The hash of the bucket's number.
    fn spread(self) -> usize {
        let mut hasher = Spread::default();
        hasher.write_u64(self.bucket);
        usize::try_from(hasher.finish()).expect("64 bits")
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
