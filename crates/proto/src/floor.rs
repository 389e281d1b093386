//! A cut below which tombstones are reclaimed. The layout is described in `docs/FORMAT.md`.

use archipelago_clock::{NAME_BYTES_MAX, ReplicaId, VersionVector};
use bytes::Bytes;

use crate::{
    DecodeError, Limits,
    envelope::{self, EnvelopeKind},
    reader::Reader,
    replica, vector,
    writer::Writer,
};

/// A message of the log: every awaited member has applied what is covered by this vector, so from here on in the log no
/// write counts whose admitting replica had not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Floor {
    /// The namespace.
    pub namespace: String,
    /// Who found it.
    pub replica: ReplicaId,
    /// The cut.
    pub vector: VersionVector,
}

const ELEMENTS: usize = 3;

impl Floor {
    /// The message.
    pub fn encode(&self) -> Bytes {
        let mut body = Writer::with_capacity(64 + 32 * self.vector.len());
        body.array(ELEMENTS);
        body.text(&self.namespace);
        replica::write(&mut body, &self.replica);
        vector::write(&mut body, &self.vector);
        envelope::seal(EnvelopeKind::Floor, &body.into_vec())
    }

    /// Reads a message that came from outside: nothing about it is trusted.
    ///
    /// # Errors
    /// Every [`DecodeError`].
    pub fn decode(message: Bytes, limits: &Limits) -> Result<Floor, DecodeError> {
        let body = envelope::open_as(EnvelopeKind::Floor, message, limits.batch_bytes_max)?;
        let mut reader = Reader::new(body);
        let elements = reader.array_of_at_least("floor", ELEMENTS)?;
        let floor = Floor {
            namespace: reader.text("namespace", "namespace bytes", NAME_BYTES_MAX)?.to_string(),
            replica: replica::read(&mut reader)?,
            vector: vector::read(&mut reader, limits)?,
        };
        reader.end("floor", elements - ELEMENTS)?;
        Ok(floor)
    }
}
