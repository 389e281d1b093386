use bytes::Bytes;

use crate::{
    DecodeError, EventBatch, Floor, Limits,
    envelope::{self, EnvelopeKind},
};

/// What a message of the log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogMessage {
    /// Writes.
    Events(EventBatch),
    /// From here on older writes do not count.
    Floor(Floor),
}

impl LogMessage {
    /// Reads a message that came from outside: nothing about it is trusted.
    ///
    /// # Errors
    /// Every [`DecodeError`].
    pub fn decode(message: Bytes, limits: &Limits) -> Result<LogMessage, DecodeError> {
        match envelope::kind(&message) {
            Some(EnvelopeKind::Floor) => Ok(LogMessage::Floor(Floor::decode(message, limits)?)),
            // Whatever it is, the decoder of events says best what is wrong with it.
            _ => Ok(LogMessage::Events(EventBatch::decode(message, limits)?)),
        }
    }
}
