//! Payloads that are larger than one message of the broker: how they are split into parts, and joined again.
//!
//! For implementations of [`Pipeline`](crate::Pipeline). A payload of `bytes` is split into as few parts as the limit
//! on one message allows, all equally long but the last, which may be shorter: `count` and `bytes` say how long each
//! one is, so that parts of two different splits of one payload never mix.

mod assembler;
mod joiner;

use std::{
    fmt::Display,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

pub use assembler::{Added, Assembler, PartError};
pub use joiner::{Joined, Joiner, Stored};

/// Which part of which payload a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Names the whole payload among all of its sender: the id of the message that was published.
    pub whole: String,
    /// Which part, from 0 on.
    pub index: u32,
    /// How many parts the payload has.
    pub count: u32,
    /// How many bytes the whole payload has.
    pub bytes: usize,
}

impl Part {
    /// The id of this part's message, the same for each retry: lets the broker drop repeats.
    pub fn message_id(&self) -> String {
        format!("{}/{}/{}", self.whole, self.index, self.count)
    }

    /// The place of this part in the payload; `None` if there is no such split.
    fn place(&self) -> Option<Range<usize>> {
        let (index, count) = (usize::try_from(self.index).ok()?, usize::try_from(self.count).ok()?);
        if index >= count || count > self.bytes {
            return None;
        }
        let length = self.bytes.div_ceil(count);
        let start = index.checked_mul(length)?;
        let end = start.checked_add(length)?.min(self.bytes);
        // The last part of a split is not empty, so neither are the others.
        (length.checked_mul(count - 1)? < self.bytes).then_some(start..end)
    }
}

/// Gives names to the payloads that one handle appends, which are not published and so have no message id.
#[derive(Debug)]
pub struct WholeNames {
    prefix: String,
    given: AtomicU64,
}

impl WholeNames {
    /// `handle` is what no other handle on the log is called: the parts of two payloads under one name would be joined.
    pub fn new(handle: impl Display) -> WholeNames {
        // No message id has a blank in it.
        WholeNames { prefix: format!("append {handle}/"), given: AtomicU64::new(0) }
    }

    /// One that was not given before.
    pub fn next_name(&self) -> String {
        format!("{}{}", self.prefix, self.given.fetch_add(1, Ordering::Relaxed))
    }
}

/// The parts of a payload of `bytes`, of which each has at most `part_bytes_max`, and their places in it. None if the
/// payload is empty, if `part_bytes_max` is 0, or if there were more than 2³² of them.
pub fn split(whole: &str, bytes: usize, part_bytes_max: usize) -> Vec<(Part, Range<usize>)> {
    let count = bytes.checked_div(part_bytes_max).map_or(0, |_| bytes.div_ceil(part_bytes_max));
    let Ok(count) = u32::try_from(count) else { return Vec::new() };
    let part = |index| Part { whole: whole.to_owned(), index, count, bytes };
    let place = |part: Part| part.place().map(|place| (part, place));
    (0..count).filter_map(|index| place(part(index))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_split_covers_the_payload_without_overlap_in_as_few_parts_as_fit() {
        for bytes in 1..200 {
            for part_bytes_max in 1..60 {
                let parts = split("id", bytes, part_bytes_max);
                assert_eq!(parts.len(), bytes.div_ceil(part_bytes_max), "{bytes} by {part_bytes_max}");
                let mut end = 0;
                for (part, place) in parts {
                    assert_eq!(place.start, end, "{part:?}");
                    assert!((1..=part_bytes_max).contains(&place.len()), "{part:?}");
                    end = place.end;
                }
                assert_eq!(end, bytes);
            }
        }
        assert!(split("id", 0, 10).is_empty() && split("id", 10, 0).is_empty());
        assert!(split("id", usize::MAX, 1).is_empty());
    }

    #[test]
    fn what_no_split_has_is_no_part() {
        let part = |index, count, bytes| Part { whole: "id".into(), index, count, bytes };
        for forged in [
            part(0, 0, 0),
            part(0, 0, 9),
            part(2, 2, 9),
            part(0, 10, 9),
            part(0, 4, 5),
            part(u32::MAX, u32::MAX, usize::MAX),
        ] {
            assert_eq!(forged.place(), None, "{forged:?}");
        }
    }
}
