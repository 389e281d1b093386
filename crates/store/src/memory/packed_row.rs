use std::{
    borrow::Borrow,
    cmp::Ordering,
    collections::BTreeSet,
    fmt,
    ops::{Bound, RangeBounds},
};

use bytes::Bytes;

use crate::{KeyRange, Row};

/// A row of an ordered table, which compares as its key does.
///
/// The first bytes of the key are in the row itself, so that most comparisons on the way down a tree need nothing of what is
/// elsewhere in memory. All else is one allocation: the rest of the key, and the value.
#[derive(Clone)]
pub(super) struct PackedRow {
    head: Head,
    tail: Box<[u8]>,
}

/// How many bytes of a key are in the row itself.
const HEAD_BYTES: usize = 14;

/// The first bytes of a key, and its length, in two words: 8 bytes, and 6 bytes and the length. As numbers the bytes compare as they
/// do in the key; zeros are where a short key has none.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Head(u64, u64);

impl Head {
    fn new(key: &[u8]) -> Head {
        let mut bytes = [0; 16];
        let head = key.len().min(HEAD_BYTES);
        bytes[..head].copy_from_slice(&key[..head]);
        // No row has a longer key. One that is looked for compares by its bytes all the same.
        let len = u16::try_from(key.len()).unwrap_or(u16::MAX);
        bytes[HEAD_BYTES..].copy_from_slice(&len.to_be_bytes());
        let word = |at: usize| u64::from_be_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        Head(word(0), word(8))
    }

    fn bytes(self) -> [u8; 16] {
        let (first, second) = (self.0.to_be_bytes(), self.1.to_be_bytes());
        std::array::from_fn(|at| if at < 8 { first[at] } else { second[at - 8] })
    }

    fn key_len(self) -> usize {
        usize::try_from(self.1 & 0xffff).expect("16 bits")
    }

    /// How many bytes the key has behind these.
    fn rest_len(self) -> usize {
        self.key_len().saturating_sub(HEAD_BYTES)
    }
}

/// A key, split as rows split theirs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Split<'a> {
    head: Head,
    /// All of the key behind the head.
    rest: &'a [u8],
}

impl<'a> Split<'a> {
    pub(super) fn new(key: &'a [u8]) -> Self {
        Split { head: Head::new(key), rest: &key[key.len().min(HEAD_BYTES)..] }
    }
}

impl Ord for Split<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_bytes = self.head.0.cmp(&other.head.0).then((self.head.1 >> 16).cmp(&(other.head.1 >> 16)));
        // Of two keys with the same head, one that is shorter than a head is the beginning of the other one.
        by_bytes
            .then_with(|| self.rest.cmp(other.rest))
            .then_with(|| self.head.key_len().cmp(&other.head.key_len()))
    }
}

impl PartialOrd for Split<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What has a key: a row, and a key that is looked for.
pub(super) trait Keyed {
    fn split(&self) -> Split<'_>;
}

impl Keyed for PackedRow {
    fn split(&self) -> Split<'_> {
        Split { head: self.head, rest: &self.tail[..self.head.rest_len()] }
    }
}

impl Keyed for Split<'_> {
    fn split(&self) -> Split<'_> {
        *self
    }
}

impl<'a> Borrow<dyn Keyed + 'a> for PackedRow {
    fn borrow(&self) -> &(dyn Keyed + 'a) {
        self
    }
}

impl PartialEq for dyn Keyed + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.split() == other.split()
    }
}

impl Eq for dyn Keyed + '_ {}

impl PartialOrd for dyn Keyed + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Keyed + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.split().cmp(&other.split())
    }
}

impl PackedRow {
    pub(super) fn new(key: &[u8], value: &[u8]) -> Self {
        let Split { head, rest } = Split::new(key);
        let mut tail = Vec::with_capacity(rest.len() + value.len());
        tail.extend_from_slice(rest);
        tail.extend_from_slice(value);
        PackedRow { head, tail: tail.into_boxed_slice() }
    }

    /// The key, put together.
    pub(super) fn key(&self) -> Bytes {
        let head = self.head.bytes();
        let head = &head[..HEAD_BYTES.min(self.head.key_len())];
        match self.head.rest_len() {
            0 => Bytes::copy_from_slice(head),
            rest => [head, &self.tail[..rest]].concat().into(),
        }
    }

    pub(super) fn value(&self) -> &[u8] {
        &self.tail[self.head.rest_len()..]
    }

    pub(super) fn to_row(&self) -> Row {
        Row { key: self.key(), value: Bytes::copy_from_slice(self.value()) }
    }
}

/// The rows of a table in a range of keys, in their order.
pub(super) fn in_range<'t>(
    rows: &'t BTreeSet<PackedRow>,
    range: &KeyRange<'_>,
) -> impl Iterator<Item = &'t PackedRow> {
    let (from, to) = (RangeBounds::<[u8]>::start_bound(range), RangeBounds::<[u8]>::end_bound(range));
    let (from, to) = (from.map(Split::new), to.map(Split::new));
    rows.range::<dyn Keyed, _>((keyed(&from), keyed(&to)))
}

fn keyed<'k>(bound: &'k Bound<Split<'k>>) -> Bound<&'k (dyn Keyed + 'k)> {
    bound.as_ref().map(|split| split as &dyn Keyed)
}

impl PartialEq for PackedRow {
    fn eq(&self, other: &Self) -> bool {
        self.split() == other.split()
    }
}

impl Eq for PackedRow {}

impl PartialOrd for PackedRow {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PackedRow {
    fn cmp(&self, other: &Self) -> Ordering {
        self.split().cmp(&other.split())
    }
}

impl fmt::Debug for PackedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PackedRow").field(&self.key()).field(&self.value()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Keys that share their beginnings, around the length of a head.
    fn keys() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(0..2u8, 0..20)
    }

    proptest! {
        #[test]
        fn rows_compare_as_their_keys_do(a in keys(), b in keys(), value in keys()) {
            let (row, other) = (PackedRow::new(&a, &value), PackedRow::new(&b, &value));
            prop_assert_eq!(row.cmp(&other), a.cmp(&b));
            prop_assert_eq!(Split::new(&a).cmp(&Split::new(&b)), a.cmp(&b));
            prop_assert_eq!(row == other, a == b);
        }

        #[test]
        fn keys_that_no_row_has_compare_as_others_do(more in 1..3usize, last in 0..2u8) {
            let longest = vec![1; usize::from(u16::MAX)];
            let longer = [&longest[..], &vec![last; more]].concat();
            prop_assert_eq!(Split::new(&longest).cmp(&Split::new(&longer)), Ordering::Less);
            let other = [&longest[..usize::from(u16::MAX) - 1], &vec![2; more]].concat();
            prop_assert_eq!(Split::new(&other).cmp(&Split::new(&longer)), other.cmp(&longer));
        }

        #[test]
        fn key_and_value_come_back(key in keys(), value in keys()) {
            let row = PackedRow::new(&key, &value);
            prop_assert_eq!(&row.key()[..], &key[..]);
            prop_assert_eq!(row.value(), &value[..]);
        }
    }
}
