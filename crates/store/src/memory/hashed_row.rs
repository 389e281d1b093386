use std::fmt;

use bytes::Bytes;

use crate::Row;

/// A row that is found by the hash of its key.
///
/// Key and value are one allocation, with a little room behind them: records of one kind differ by a few bytes from
/// write to write, and a value that fits replaces the old one where it is, without the allocator.
#[derive(Default)]
pub(super) struct HashedRow {
    /// The key, the value, and the room.
    bytes: Box<[u8]>,
    /// Part of the hash of the key: most other keys differ in it, and need not be read.
    hash: u32,
    key_len: u16,
    /// How many bytes of room there are.
    room: u16,
}

/// Allocations are whole multiples of this.
const STEP_BYTES: usize = 16;

/// How long a cache line is on most processors, and how many of a row are asked for before it is read.
const LINE_BYTES: usize = 64;
const LINES_TOUCHED_MAX: usize = 8;

impl HashedRow {
    /// A row with no more room than a step leaves. `key` is no longer than a key can be.
    pub(super) fn new(hash: u32, key: &[u8], value: &[u8]) -> Self {
        let used = key.len() + value.len();
        let mut bytes = Vec::with_capacity(used.next_multiple_of(STEP_BYTES));
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        bytes.resize(used.next_multiple_of(STEP_BYTES), 0);
        HashedRow {
            hash,
            key_len: u16::try_from(key.len()).expect("a batch with a longer key is refused"),
            room: u16::try_from(bytes.len() - used).expect("less than a step"),
            bytes: bytes.into_boxed_slice(),
        }
    }

    /// True if the row has this key, whose hash this is.
    pub(super) fn is_of(&self, hash: u32, key: &[u8]) -> bool {
        self.hash == hash && self.key() == key
    }

    /// Reads a byte of each cache line of the row, up to a number of lines, and gives what they come to.
    pub(super) fn touch(&self) -> u8 {
        self.bytes.iter().step_by(LINE_BYTES).take(LINES_TOUCHED_MAX).fold(0, |all, byte| all ^ byte)
    }

    pub(super) fn hash(&self) -> u32 {
        self.hash
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.bytes[..usize::from(self.key_len)]
    }

    pub(super) fn value(&self) -> &[u8] {
        &self.bytes[usize::from(self.key_len)..self.bytes.len() - usize::from(self.room)]
    }

    /// Puts the value where the old one is, if it fits and does not leave too much room; else allocates anew.
    pub(super) fn set_value(&mut self, value: &[u8]) {
        let used = usize::from(self.key_len) + value.len();
        match room_to_keep(self.bytes.len(), used) {
            Some(room) => {
                self.bytes[usize::from(self.key_len)..used].copy_from_slice(value);
                self.room = room;
            }
            None => *self = HashedRow::new(self.hash, self.key(), value),
        }
    }

    pub(super) fn to_row(&self) -> Row {
        Row { key: Bytes::copy_from_slice(self.key()), value: Bytes::copy_from_slice(self.value()) }
    }
}

/// How many bytes are left of an allocation of which so many are used; `None` if they are too few or too many: more than
/// a quarter, unless a new allocation would leave as many.
fn room_to_keep(allocated: usize, used: usize) -> Option<u16> {
    let room = allocated.checked_sub(used)?;
    if room >= STEP_BYTES && room > allocated / 4 {
        return None;
    }
    u16::try_from(room).ok()
}

impl fmt::Debug for HashedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Row { key, value } = self.to_row();
        f.debug_tuple("HashedRow").field(&key).field(&value).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_of_about_the_same_length_is_written_in_place() {
        let key = b"entity-00001234";
        let mut row = HashedRow::new(7, key, &[1; 230]);
        let place = row.bytes.as_ptr();
        for len in [230, 241, 225, 190, 241] {
            row.set_value(&vec![2; len]);
            assert_eq!((row.bytes.as_ptr(), row.value()), (place, &vec![2; len][..]));
        }
        row.set_value(&[3; 242]);
        assert_eq!((row.bytes.len(), row.value()), (272, &[3; 242][..]));
    }

    #[test]
    fn a_large_row_gives_back_what_its_room_cannot_count() {
        let mut row = HashedRow::new(7, b"key", &vec![1; 1 << 20]);
        row.set_value(&vec![2; (1 << 20) - (1 << 16)]);
        assert_eq!(row.bytes.len(), (1 << 20) - (1 << 16) + STEP_BYTES);
        assert_eq!(row.value(), vec![2; (1 << 20) - (1 << 16)]);
    }

    proptest! {
        #[test]
        fn rows_keep_key_and_value_and_little_room(
            key in proptest::collection::vec(any::<u8>(), 1..41),
            values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 1..20),
        ) {
            let mut row = HashedRow::new(7, &key, b"");
            for value in values {
                row.set_value(&value);
                prop_assert_eq!((row.key(), row.value(), row.hash()), (&key[..], &value[..], 7));
                let used = key.len() + value.len();
                prop_assert!(used * 4 >= row.bytes.len() * 3 || row.bytes.len() - used < STEP_BYTES);
            }
        }
    }
}
