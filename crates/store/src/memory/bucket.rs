use std::{hint::black_box, ops::RangeBounds};

use hashbrown::{HashTable, hash_table::Entry};

use super::{hashed_row::HashedRow, order::Order, slots::Slots};
use crate::KeyRange;

/// How many rows may be new: enough that what the order reads to take them in is read once for many.
const NEW_MAX: usize = 64;

/// Some of the rows of a table: found by the hash of their keys, and in the order of their keys.
///
/// A row keeps its slot while it lives, and all else names it by that. Neither hash nor order know anything of values,
/// so a write to a row that is there leaves them alone. The order takes in new rows together, as its nodes are in no cache
/// when a row comes alone.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    rows: Slots<HashedRow>,
    by_hash: HashTable<u32>,
    order: Order,
    /// Rows that the order does not know yet.
    new: Vec<u32>,
}

impl Bucket {
    pub(super) fn get(&self, hash: u32, key: &[u8]) -> Option<&HashedRow> {
        let slot = self.by_hash.find(spread(hash), |&slot| self.rows[slot].is_of(hash, key))?;
        Some(&self.rows[*slot])
    }

    /// The only row that can have the key, if there is not more than one with its hash; nothing of the row is read.
    pub(super) fn likely(&self, hash: u32) -> Option<&HashedRow> {
        let slot = self.by_hash.find(spread(hash), |&slot| self.rows[slot].hash() == hash)?;
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
                if self.new.len() == NEW_MAX {
                    self.put_in_order();
                }
            }
        }
    }

    /// Whether the order knows all rows.
    pub(super) fn is_in_order(&self) -> bool {
        self.new.is_empty()
    }

    pub(super) fn put_in_order(&mut self) {
        let new = std::mem::take(&mut self.new);
        // All are on their way before the first is needed.
        black_box(new.iter().fold(0, |all, slot| all ^ self.rows[*slot].touch()));
        new.into_iter().for_each(|slot| self.order.insert(slot, &self.rows));
    }

    pub(super) fn remove(&mut self, hash: u32, key: &[u8]) {
        self.put_in_order();
        let rows = &self.rows;
        let Ok(place) = self.by_hash.find_entry(spread(hash), |&slot| rows[slot].is_of(hash, key)) else {
            return;
        };
        let (slot, _) = place.remove();
        self.order.remove(key);
        self.rows.remove(slot);
        if self.by_hash.is_empty() {
            // Nor do the places of what was here cost anything any more.
            *self = Bucket::default();
        }
    }

    /// The rows in the range, in order; put them [in order](Self::put_in_order) before.
    pub(super) fn range(&self, range: &KeyRange<'_>) -> impl Iterator<Item = &HashedRow> {
        let from = RangeBounds::<[u8]>::start_bound(range);
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
        bucket.put_in_order();
        bucket.range(&KeyRange::all()).map(|row| row.key()[0]).collect()
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
        assert_eq!(bucket.by_hash.capacity(), 0);
    }

    proptest! {
        #[test]
        fn rows_are_in_order_however_they_come_and_go(
            calls in proptest::collection::vec((0..0xffu8, 0..4u8), 0..600),
        ) {
            let (mut bucket, mut model) = (Bucket::default(), std::collections::BTreeSet::new());
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
