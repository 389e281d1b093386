use std::time::SystemTime;

use bytes::Bytes;

use super::{Added, Assembler, Part, PartError};
use crate::Incoming;

/// How far back a reader looks at least for the beginning of a payload, in messages.
const READ_BACK_LEAST: u64 = 256;

/// A message as the broker holds it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its place in the log.
    pub sequence: u64,
    /// The origin named by its subject.
    pub origin: String,
    /// The whole payload, or the part.
    pub payload: Bytes,
    /// When the broker stored it.
    pub stored_at: SystemTime,
    /// Which part it is, if it is one.
    pub part: Option<Part>,
}

/// What one subscription makes of the messages of its log: each one becomes an [`Incoming`], and the last part of a
/// payload to arrive brings the whole.
#[derive(Debug)]
pub struct Joiner {
    assembler: Assembler,
    after: u64,
    has_read_back: bool,
}

/// What one message turned out to be.
#[derive(Debug)]
pub struct Joined {
    /// The message, as it is delivered.
    pub incoming: Incoming,
    /// The ids of the payloads that were given up to make room.
    pub given_up: Vec<String>,
    /// Why a part is of no use, if it is not. Its message is delivered without a payload.
    pub refused: Option<PartError>,
}

impl Joiner {
    /// For a subscription that begins after `after`. The limits are those of [`Assembler::new`].
    pub fn new(after: u64, payload_bytes_max: usize, waiting_bytes_max: usize) -> Joiner {
        Joiner {
            assembler: Assembler::new(payload_bytes_max, waiting_bytes_max),
            after,
            has_read_back: false,
        }
    }

    /// Whether the payload of this part may have begun before the subscription did: then messages from the sequence
    /// that is returned on are to be [`join`](Self::join)ed first, and not delivered. Asks for that once.
    pub fn read_back_from(&mut self, message: &Stored) -> Option<u64> {
        let part = message.part.as_ref().filter(|part| part.index > 0)?;
        let reach = u64::from(part.count).saturating_mul(2).saturating_add(READ_BACK_LEAST);
        let from = message.sequence.saturating_sub(reach).max(1);
        if self.has_read_back || from > self.after || self.assembler.waits_for(&message.origin, part) {
            return None;
        }
        self.has_read_back = true;
        Some(from)
    }

    /// Takes the next message.
    pub fn join(&mut self, message: Stored) -> Joined {
        let Stored { sequence, origin, payload, stored_at, part } = message;
        let added = match part {
            None => Ok(Added { whole: Some(payload), given_up: Vec::new() }),
            Some(part) => self.assembler.add(&origin, &part, payload),
        };
        let (added, refused) = match added {
            Ok(added) => (added, None),
            Err(error) => (Added::default(), Some(error)),
        };
        let incoming = Incoming { sequence, origin, payload: added.whole, stored_at };
        Joined { incoming, given_up: added.given_up, refused }
    }
}
