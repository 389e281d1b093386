//! How events share messages.

use archipelago_proto::{BatchEncoder, EncodeError, Event, EventBatch, Limits, Op, Slot};
use bytes::Bytes;

use crate::effect::Outboxed;

/// Packs events of one origin into as few messages as the limits allow.
///
/// # Errors
/// [`EncodeError::OverLimit`] if a single event makes a message over `batch_bytes_max`.
pub fn pack(namespace: &str, events: &[Event], limits: &Limits) -> Result<Vec<Outboxed>, EncodeError> {
    let mut outbox = Vec::new();
    let mut rest = events;
    while let Some(first) = rest.first() {
        let mut encoder = BatchEncoder::new(namespace, limits);
        let mut packed = 0;
        for event in rest {
            let fits = packed == 0 || encoder.bytes() + bytes_at_most(event) <= limits.batch_bytes_max;
            if !fits || !encoder.push(event) {
                break;
            }
            packed += 1;
        }
        let last_sequence = first.dot.sequence + packed as u64 - 1;
        if let Some(message) = encoder.finish()? {
            outbox.push(Outboxed { first_sequence: first.dot.sequence, last_sequence, message });
        }
        rest = &rest[packed..];
    }
    Ok(outbox)
}

/// Packs the first of these messages of one origin, which [`pack`] made one after the other, into one: how many they are, and that
/// message. `None` if only one fits, which is a message already, or if they cannot be read.
pub fn pack_messages(
    namespace: &str,
    messages: impl ExactSizeIterator<Item = Bytes> + Clone,
    limits: &Limits,
) -> Option<(usize, Bytes)> {
    if messages.len() < 2 {
        return None;
    }
    let mut encoder = BatchEncoder::new(namespace, limits);
    let appended =
        messages.clone().take_while(|message| encoder.append(message.clone()).unwrap_or(false)).count();
    if appended > 1 {
        return encoder.finish().ok()?.map(|message| (appended, message));
    }
    // They have to be unpacked for it.
    let (mut events, mut ends) = (Vec::new(), Vec::new());
    for message in messages {
        events.extend(EventBatch::decode(message, limits).ok()?.events);
        ends.extend(events.last().map(|last| last.dot.sequence));
    }
    let packed = pack(namespace, &events, limits).ok()?.into_iter().next()?;
    let whole = ends.iter().take_while(|end| **end <= packed.last_sequence).count();
    (whole > 1 && ends[whole - 1] == packed.last_sequence).then_some((whole, packed.message))
}

/// An upper bound, quickly found, on the bytes that `event` takes in a message, together with all of the message that is
/// not events.
pub(crate) fn bytes_at_most(event: &Event) -> usize {
    // A name of 64 bytes, the incarnation, and four numbers of up to nine bytes, each with a marker.
    const REPLICA: usize = 128;
    const HEADS: usize = 512;
    let op = match &event.op {
        Op::Delete => 0,
        Op::Put(value) => value.len(),
        Op::Patch(fields) => fields
            .iter()
            .map(|(slot, value)| {
                let name = if let Slot::Field(name) = slot { name.len() } else { 0 };
                name + value.as_ref().map_or(0, |value| value.len()) + 10
            })
            .sum(),
    };
    op + event.entity.len() + REPLICA * (event.deps.len() + 1) + HEADS
}
