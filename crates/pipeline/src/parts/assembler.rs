use std::collections::BTreeMap;

use bytes::Bytes;

use super::Part;

/// What a part costs beside its bytes, as far as the limit is concerned.
const OVERHEAD_BYTES: usize = 256;

/// Collects parts until a payload is whole. The bytes that wait are bounded: the payload that was begun first is given
/// up first.
#[derive(Debug)]
pub struct Assembler {
    payload_bytes_max: usize,
    waiting_bytes_max: usize,
    waiting_bytes: usize,
    /// How many payloads were ever begun.
    begun: u64,
    open: BTreeMap<Key, Open>,
    /// The open ones in the order in which they were begun.
    by_age: BTreeMap<u64, Key>,
}

/// Which split of which payload: of who sends it, its id, the number of parts and of bytes.
type Key = (String, String, u32, usize);

#[derive(Debug)]
struct Open {
    age: u64,
    bytes: usize,
    parts: BTreeMap<u32, Bytes>,
}

/// What a part brought about.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// The payload, if this part was the last that it lacked.
    pub whole: Option<Bytes>,
    /// The ids of the payloads that were given up to make room.
    pub given_up: Vec<String>,
}

/// Why a part is of no use. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PartError {
    /// Number, length and place do not belong together.
    #[error("the part does not have the place and the length that its headers say")]
    Malformed,
    /// The whole payload is over the limit of this reader.
    #[error("the payload has {bytes} bytes, over the limit of {bytes_max} here; raise payload_bytes_max")]
    TooLarge {
        /// The size of the payload.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
}

impl Assembler {
    /// Takes payloads of up to `payload_bytes_max`; of parts that wait for others, as much as `waiting_bytes_max`, or
    /// as one payload needs if that is more.
    pub fn new(payload_bytes_max: usize, waiting_bytes_max: usize) -> Assembler {
        Assembler {
            payload_bytes_max,
            waiting_bytes_max,
            waiting_bytes: 0,
            begun: 0,
            open: BTreeMap::new(),
            by_age: BTreeMap::new(),
        }
    }

    /// True if a part of the same payload waits here.
    pub fn waits_for(&self, from: &str, part: &Part) -> bool {
        self.open.contains_key(&key(from, part))
    }

    /// Takes a part that `from` sent. One that was taken already has no effect, unless the payload was complete with
    /// it: then it begins the payload anew.
    ///
    /// # Errors
    /// As [`PartError`] says.
    pub fn add(&mut self, from: &str, part: &Part, payload: Bytes) -> Result<Added, PartError> {
        if part.bytes > self.payload_bytes_max {
            return Err(PartError::TooLarge { bytes: part.bytes, bytes_max: self.payload_bytes_max });
        }
        if part.place().is_none_or(|place| place.len() != payload.len()) {
            return Err(PartError::Malformed);
        }
        let key = key(from, part);
        let open = self.open.entry(key.clone()).or_insert_with(|| {
            self.begun += 1;
            self.by_age.insert(self.begun, key.clone());
            Open { age: self.begun, bytes: 0, parts: BTreeMap::new() }
        });
        let bytes = payload.len() + part.whole.len() + OVERHEAD_BYTES;
        if open.parts.insert(part.index, payload).is_none() {
            open.bytes += bytes;
            self.waiting_bytes += bytes;
        }
        if open.parts.len() as u64 == u64::from(part.count) {
            let open = self.remove(&key).expect("it was added to above");
            let mut whole = Vec::with_capacity(part.bytes);
            open.parts.values().for_each(|part| whole.extend_from_slice(part));
            return Ok(Added { whole: Some(whole.into()), given_up: Vec::new() });
        }
        let mut given_up = Vec::new();
        // A payload alone within its own limit may stay: it bounds itself.
        while self.waiting_bytes > self.waiting_bytes_max && self.open.len() > 1 {
            let oldest = self.by_age.values().next().expect("as many as are open").clone();
            self.remove(&oldest);
            given_up.push(oldest.1);
        }
        Ok(Added { whole: None, given_up })
    }

    fn remove(&mut self, key: &Key) -> Option<Open> {
        let open = self.open.remove(key)?;
        self.by_age.remove(&open.age);
        self.waiting_bytes -= open.bytes;
        Some(open)
    }
}

fn key(from: &str, part: &Part) -> Key {
    (from.to_owned(), part.whole.clone(), part.count, part.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::split;

    fn parts(whole: &str, payload: &'static [u8], part_bytes_max: usize) -> Vec<(Part, Bytes)> {
        let parts = split(whole, payload.len(), part_bytes_max).into_iter();
        parts.map(|(part, place)| (part, Bytes::from_static(&payload[place]))).collect()
    }

    fn add(assembler: &mut Assembler, (part, payload): &(Part, Bytes)) -> Added {
        assembler.add("a", part, payload.clone()).expect("a part")
    }

    #[test]
    fn parts_in_any_order_and_repeated_make_the_payload_once() {
        let parts = parts("id", b"0123456789", 3);
        for first in 0..4 {
            let mut assembler = Assembler::new(10, 10_000);
            let order: Vec<usize> = (0..4).map(|at| (first + at * 3) % 4).collect();
            for &at in &order[..3] {
                assert_eq!(add(&mut assembler, &parts[at]).whole, None);
                assert_eq!(add(&mut assembler, &parts[at]).whole, None, "a repeat");
            }
            assert_eq!(add(&mut assembler, &parts[order[3]]).whole.as_deref(), Some(&b"0123456789"[..]));
            assert_eq!(assembler.waiting_bytes, 0);
            assert!(assembler.open.is_empty() && assembler.by_age.is_empty());
        }
    }

    #[test]
    fn parts_of_two_splits_or_two_senders_do_not_mix() {
        let (by_three, by_four) = (parts("id", b"0123456789", 4), parts("id", b"0123456789", 3));
        let mut assembler = Assembler::new(10, 10_000);
        for part in [&by_three[0], &by_four[1], &by_three[2], &by_four[0], &by_four[3]] {
            assert_eq!(add(&mut assembler, part).whole, None);
        }
        let other = assembler.add("b", &by_three[1].0, by_three[1].1.clone());
        assert_eq!(other.expect("a part").whole, None);
        assert!(add(&mut assembler, &by_three[1]).whole.is_some());
        assert!(add(&mut assembler, &by_four[2]).whole.is_some());
    }

    #[test]
    fn the_payload_that_was_begun_first_is_given_up_first() {
        let begin = |number: usize| parts(["x", "y", "z"][number], &[7; 2_000], 1_000).swap_remove(0);
        let mut assembler = Assembler::new(2_000, 2_600);
        assert_eq!(add(&mut assembler, &begin(0)), Added::default());
        assert_eq!(add(&mut assembler, &begin(1)), Added::default());
        assert_eq!(add(&mut assembler, &begin(2)).given_up, ["x"]);
        assert!(assembler.waiting_bytes <= 2_600);
        assert!(add(&mut assembler, &parts("y", &[7; 2_000], 1_000)[1]).whole.is_some());
        assert_eq!(add(&mut assembler, &parts("x", &[7; 2_000], 1_000)[1]).whole, None, "x is gone");
    }

    #[test]
    fn one_payload_always_finds_room() {
        let mut assembler = Assembler::new(3_000, 0);
        let parts = parts("x", &[7; 3_000], 1_000);
        let joined: Vec<bool> = parts.iter().map(|part| add(&mut assembler, part).whole.is_some()).collect();
        assert_eq!(joined, [false, false, true]);
    }

    #[test]
    fn what_does_not_fit_its_headers_is_refused() {
        let mut assembler = Assembler::new(10, 10_000);
        let (part, payload) = parts("id", b"0123456789", 4).swap_remove(0);
        let refused = [
            (Part { bytes: 11, ..part.clone() }, PartError::TooLarge { bytes: 11, bytes_max: 10 }),
            (Part { index: 3, ..part.clone() }, PartError::Malformed),
            (Part { index: 2, ..part.clone() }, PartError::Malformed),
            (Part { count: 0, ..part }, PartError::Malformed),
        ];
        for (part, error) in refused {
            assert_eq!(assembler.add("a", &part, payload.clone()), Err(error), "{part:?}");
        }
        assert_eq!(assembler.waiting_bytes, 0);
    }
}
