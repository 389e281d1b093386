//! A batch that is packed behind another one as it is.

use archipelago_clock::Hlc;
use bytes::Bytes;

use super::Head;
use crate::{DecodeError, Limits};

/// A batch whose events all came after the same: behind another batch nothing but the beginning of the first event is another.
pub(super) struct PackedBatch {
    pub(super) head: Head,
    /// How many elements the first event has.
    pub(super) first_elements: usize,
    /// All of the events behind the stamp and the deps of the first.
    pub(super) rest: Bytes,
    pub(super) last_hlc: Hlc,
    /// How many entries the contexts of the events have once unpacked.
    pub(super) context_entries: usize,
}

impl PackedBatch {
    /// `None` if what the events came after grows within the batch, or if a newer build appended something to it.
    pub(super) fn read(message: Bytes, limits: &Limits) -> Result<Option<PackedBatch>, DecodeError> {
        let (mut reader, head) = Head::read(message, limits)?;
        if head.appended > 0 {
            return Ok(None);
        }
        let (mut first_elements, mut rest_at) = (0, 0);
        let (mut last_hlc, mut context_entries) = (head.first.hlc, 0);
        for event in 0..head.len {
            let elements = reader.array_of_at_least("event", 6)?;
            let by = reader.signed("event hlc")?.cast_unsigned();
            last_hlc = Hlc::from_bits(last_hlc.bits().wrapping_add(by));
            if (event == 0 && by != 0) || !reader.is_nil("event deps")? {
                return Ok(None);
            }
            if event == 0 {
                (first_elements, rest_at) = (elements, reader.at());
            }
            if !reader.is_nil("event context")? {
                reader.skip("event context")?;
                context_entries += head.first.deps.len() + 1;
            }
            for _ in 3..elements {
                reader.skip("event")?;
            }
        }
        reader.end("batch", 0)?;
        let rest = reader.since(rest_at);
        Ok(Some(PackedBatch { head, first_elements, rest, last_hlc, context_entries }))
    }

    /// About how many bytes it adds to another one, at most: a pair of numbers for each replica, heads, and the rest.
    pub(super) fn bytes(&self) -> usize {
        const PAIR_BYTES_MAX: usize = 18;
        const HEADS_BYTES_MAX: usize = 16;
        self.rest.len() + PAIR_BYTES_MAX * self.head.first.deps.len() + HEADS_BYTES_MAX
    }
}
