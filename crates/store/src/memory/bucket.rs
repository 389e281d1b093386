use std::ops::RangeBounds;

use hashbrown::{HashTable, hash_table::Entry};

use super::{hashed_row::HashedRow, order::Order, slots::Slots};
use crate::KeyRange;

/// Some of the rows of a table: found by the hash of their keys, and in the order of their keys.
///
/// A row keeps its slot while it lives, and all else names it by that. Neither hash nor order know anything of values,
/// so a write to a row that is there leaves them alone.
///
/// In a large table a way down the order is a series of cache misses. So a few new rows gather, and are then put in
/// order one after the other, while what that reads is in the cache: a load of ten million rows took between half and
/// nine tenths of the time for it. A scan does not wait for that: it has them put in order first.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    rows: Slots<HashedRow>,
    by_hash: HashTable<u32>,
    order: Order,
    /// The slots of new rows, which are not in order yet.
    new: Vec<u32>,
}

/// How many new rows gather at most, and which part of all rows: what the first scan after a load has to put in order.
const NEW_MAX: usize = 64;
const NEW_PART: usize = 128;

impl Bucket {
    pub(super) fn get(&self, hash: u32, key: &[u8]) -> Option<&HashedRow> {
        let slot = self.by_hash.find(spread(hash), |&slot| self.rows[slot].is_of(hash, key))?;
        Some(&self.rows[*slot])
    }

    pub(super) fn put(&mut self, hash: u32, key: &[u8], value: &[u8]) {
        let rows = &mut self.rows;
        let is_of_key = |&slot: &u32| rows[slot].is_of(hash, key);
        match self.by_hash.entry(spread(hash), is_of_key, |&slot| spread(rows[slot].hash())) {
            Entry::Occupied(slot) => rows[*slot.get()].set_value(value),
            Entry::Vacant(place) => {
                let slot = rows.insert(HashedRow::new(hash, key, value));
                place.insert(slot);
                self.new.push(slot);
                if self.new.len() > NEW_MAX.min(self.by_hash.len() / NEW_PART) {
                    self.settle();
                }
            }
        }
    }

    pub(super) fn remove(&mut self, hash: u32, key: &[u8]) {
        let rows = &self.rows;
        let Ok(place) = self.by_hash.find_entry(spread(hash), |&slot| rows[slot].is_of(hash, key)) else {
            return;
        };
        let (slot, _) = place.remove();
        match self.new.iter().position(|&new| new == slot) {
            Some(at) => drop(self.new.swap_remove(at)),
            None => self.order.remove(key),
        }
        self.rows.remove(slot);
        if self.by_hash.is_empty() {
            // Nor do the places of what was here cost anything any more.
            *self = Bucket::default();
        }
    }

    /// True if all rows are in order.
    pub(super) fn is_settled(&self) -> bool {
        self.new.is_empty()
    }

    /// Puts the new rows in order.
    pub(super) fn settle(&mut self) {
        for slot in self.new.drain(..) {
            self.order.insert(slot, &self.rows);
        }
    }

    /// The rows in the range, in order. The bucket is settled.
    pub(super) fn range(&self, range: &KeyRange<'_>) -> impl Iterator<Item = &HashedRow> {
        let from = RangeBounds::<[u8]>::start_bound(range);
        debug_assert!(self.is_settled(), "new rows would be left out");
        self.order
            .from(from, &self.rows)
            .map(|slot| &self.rows[slot])
            .take_while(|row| range.holds(row.key()))
    }
}

/// A hash as the table wants it, which looks at the lowest and at the highest bits.
fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(bucket: &mut Bucket) -> Vec<u8> {
        bucket.settle();
        let below = KeyRange::new(std::ops::Bound::Unbounded, std::ops::Bound::Excluded(&[0xff])).unwrap();
        bucket.range(&below).map(|row| row.key()[0]).collect()
    }

    #[test]
    fn few_new_rows_wait_for_their_order_and_no_old_ones() {
        let mut bucket = Bucket::default();
        for key in 0..20_000u32 {
            bucket.put(key, &key.to_be_bytes(), b"value");
            assert!(bucket.new.len() <= NEW_MAX.min(bucket.by_hash.len() / NEW_PART));
        }
        bucket.settle();
        for key in 0..20_000u32 {
            bucket.put(key, &key.to_be_bytes(), b"longer than the old value");
        }
        assert!(bucket.is_settled());
        assert_eq!(bucket.range(&KeyRange::all()).count(), 20_000);
    }

    #[test]
    fn rows_whose_hashes_are_the_same_are_told_apart_by_their_keys() {
        let mut bucket = Bucket::default();
        for key in 0..200 {
            bucket.put(7, &[key], &[key]);
        }
        for key in 0..100 {
            bucket.remove(7, &[2 * key]);
        }
        for key in 0..200 {
            let value = bucket.get(7, &[key]).map(|row| row.value()[0]);
            assert_eq!(value, (key % 2 == 1).then_some(key));
        }
    }

    #[test]
    fn an_emptied_bucket_costs_nothing() {
        let mut bucket = Bucket::default();
        for key in 0..200 {
            bucket.put(key.into(), &[key], b"value");
        }
        for key in 0..200 {
            bucket.remove(key.into(), &[key]);
        }
        assert_eq!((bucket.by_hash.capacity(), bucket.new.capacity()), (0, 0));
    }

    proptest! {
        #[test]
        fn rows_are_in_order_however_they_come_and_go(
            calls in proptest::collection::vec((0..0xffu8, 0..4u8), 0..600),
        ) {
            let (mut bucket, mut model) = (Bucket::default(), std::collections::BTreeSet::new());
            // So many others that new rows gather.
            for other in 0..2_000u32 {
                bucket.put(1_000 + other, &[0xff, other.to_be_bytes()[2], other.to_be_bytes()[3]], b"value");
            }
            for (key, call) in calls {
                match call {
                    0 => {
                        bucket.remove(key.into(), &[key]);
                        model.remove(&key);
                    }
                    1 if key < 8 => prop_assert!(keys(&mut bucket).iter().eq(&model)),
                    _ => {
                        bucket.put(key.into(), &[key], b"value");
                        model.insert(key);
                    }
                }
            }
            prop_assert!(keys(&mut bucket).iter().eq(&model));
        }
    }
}
