use std::{borrow::Borrow, cmp::Ordering};

use bytes::Bytes;

use crate::Row;

/// Key and value in one allocation, which saves an allocation and a fat pointer a row: two bytes with the length
/// of the key, the key, the value. It compares as its key does.
#[derive(Clone)]
pub(super) struct PackedRow(Box<[u8]>);

const KEY_LENGTH_BYTES: usize = 2;

impl PackedRow {
    pub(super) fn new(key: &[u8], value: &[u8]) -> Self {
        let key_length = u16::try_from(key.len()).expect("the length of every key of a batch was checked");
        PackedRow([&key_length.to_le_bytes()[..], key, value].concat().into_boxed_slice())
    }

    fn split(&self) -> (&[u8], &[u8]) {
        let (length, rest) =
            self.0.split_first_chunk::<KEY_LENGTH_BYTES>().expect("a packed row starts with a length");
        rest.split_at(usize::from(u16::from_le_bytes(*length)))
    }

    pub(super) fn key(&self) -> &[u8] {
        self.split().0
    }

    pub(super) fn value(&self) -> &[u8] {
        self.split().1
    }

    pub(super) fn to_row(&self) -> Row {
        let (key, value) = self.split();
        Row { key: Bytes::copy_from_slice(key), value: Bytes::copy_from_slice(value) }
    }
}

impl Borrow<[u8]> for PackedRow {
    fn borrow(&self) -> &[u8] {
        self.key()
    }
}

impl PartialEq for PackedRow {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
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
        self.key().cmp(other.key())
    }
}

impl std::fmt::Debug for PackedRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PackedRow").field(&self.key()).field(&self.value()).finish()
    }
}
