use std::{
    borrow::Borrow,
    collections::BinaryHeap,
    hash::{Hash, Hasher},
};

use bytes::Bytes;
use dashmap::{DashMap, Entry};

use super::row;
use crate::{KeyRange, Row};

/// The entities of a store in memory: a concurrent hash map of packed rows.
///
/// Invariant: nothing here touches the map while it holds a guard into it.
#[derive(Debug, Default)]
pub(super) struct Entities {
    rows: DashMap<PackedRow, ()>,
}

impl Entities {
    pub(super) fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.rows.get(key).map(|row| Bytes::copy_from_slice(row.key().value()))
    }

    pub(super) fn apply(&self, key: &[u8], value: Option<&[u8]>) {
        match value {
            Some(value) => match self.rows.entry(PackedRow::new(key, value)) {
                Entry::Vacant(entry) => drop(entry.insert(())),
                // The value is a part of the map's key, so the key is what has to be replaced.
                Entry::Occupied(entry) => drop(entry.replace_entry(())),
            },
            None => drop(self.rows.remove(key)),
        }
    }

    /// The `limit` smallest rows in the range, in O(n log limit).
    pub(super) fn scan(&self, range: &KeyRange<'_>, limit: usize) -> Vec<Row> {
        // The largest of the rows kept so far is on top, to be thrown out by a smaller one.
        let mut smallest = BinaryHeap::<ByKey>::new();
        for entry in &self.rows {
            let packed = entry.key();
            if !range.holds(packed.key()) {
                continue;
            }
            if smallest.len() < limit {
                smallest.push(ByKey(row(packed.key(), packed.value())));
            } else if let Some(mut largest) = smallest.peek_mut()
                && packed.key() < &largest.0.key[..]
            {
                *largest = ByKey(row(packed.key(), packed.value()));
            }
        }
        smallest.into_sorted_vec().into_iter().map(|ByKey(row)| row).collect()
    }
}

/// Key and value in one allocation, which saves an allocation and a fat pointer a row: two bytes with the length
/// of the key, the key, the value. It hashes and compares as its key does.
struct PackedRow(Box<[u8]>);

const KEY_LENGTH_BYTES: usize = 2;

impl PackedRow {
    fn new(key: &[u8], value: &[u8]) -> Self {
        let key_length = u16::try_from(key.len()).expect("the length of every key of a batch was checked");
        PackedRow([&key_length.to_le_bytes()[..], key, value].concat().into_boxed_slice())
    }

    fn split(&self) -> (&[u8], &[u8]) {
        let (length, rest) =
            self.0.split_first_chunk::<KEY_LENGTH_BYTES>().expect("a packed row starts with a length");
        rest.split_at(usize::from(u16::from_le_bytes(*length)))
    }

    fn key(&self) -> &[u8] {
        self.split().0
    }

    fn value(&self) -> &[u8] {
        self.split().1
    }
}

impl Borrow<[u8]> for PackedRow {
    fn borrow(&self) -> &[u8] {
        self.key()
    }
}

impl Hash for PackedRow {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl PartialEq for PackedRow {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for PackedRow {}

impl std::fmt::Debug for PackedRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PackedRow").field(&self.key()).field(&self.value()).finish()
    }
}

struct ByKey(Row);

impl PartialEq for ByKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for ByKey {}

impl PartialOrd for ByKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.key.cmp(&other.0.key)
    }
}
