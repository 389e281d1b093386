//! What a replica says of itself, again and again. The layout is described in `docs/FORMAT.md`.

use archipelago_clock::{Hlc, NAME_BYTES_MAX, ReplicaId, VersionVector};
use bytes::Bytes;

use crate::{
    DecodeError, Limits,
    envelope::{self, EnvelopeKind},
    reader::Reader,
    replica, vector,
    writer::Writer,
};

/// What a replica says of itself to whoever listens: how far it is, and by what it could differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The namespace that the replica is of.
    pub namespace: String,
    /// Who says it.
    pub replica: ReplicaId,
    /// Drawn at random at each start of the replica: two sessions of one replica at once are two copies of it.
    pub session: u64,
    /// Counts the heartbeats of the session, from 1.
    pub beat: u64,
    /// The replica's clock.
    pub hlc: Hlc,
    /// What the replica has applied and stored, its own writes included.
    pub vector: VersionVector,
    /// The fingerprint of the replica's strategies: replicas that differ in it resolve conflicts differently.
    pub strategies: u64,
    /// The root of the digest of the state at `vector`.
    pub digest: u128,
}

/// How many elements a heartbeat has; later builds may append more.
const ELEMENTS: usize = 8;

impl Heartbeat {
    /// The message.
    pub fn encode(&self) -> Bytes {
        let mut body = Writer::with_capacity(64 + 32 * self.vector.len());
        body.array(ELEMENTS);
        body.text(&self.namespace);
        replica::write(&mut body, &self.replica);
        body.unsigned(self.session);
        body.unsigned(self.beat);
        body.unsigned(self.hlc.bits());
        vector::write(&mut body, &self.vector);
        body.unsigned(self.strategies);
        body.binary(&self.digest.to_be_bytes());
        envelope::seal(EnvelopeKind::Heartbeat, &body.into_vec())
    }

    /// Reads a message that came from outside: nothing about it is trusted.
    ///
    /// # Errors
    /// Every [`DecodeError`].
    pub fn decode(message: Bytes, limits: &Limits) -> Result<Heartbeat, DecodeError> {
        let body = envelope::open_as(EnvelopeKind::Heartbeat, message, limits.batch_bytes_max)?;
        let mut reader = Reader::new(body);
        let elements = reader.array_of_at_least("heartbeat", ELEMENTS)?;
        let heartbeat = Heartbeat {
            namespace: reader.text("namespace", "namespace bytes", NAME_BYTES_MAX)?.to_string(),
            replica: replica::read(&mut reader)?,
            session: reader.unsigned("session")?,
            beat: reader.unsigned("beat")?,
            hlc: Hlc::from_bits(reader.unsigned("hlc")?),
            vector: vector::read(&mut reader, limits)?,
            strategies: reader.unsigned("strategies")?,
            digest: reader.u128("digest")?,
        };
        reader.end("heartbeat", elements - ELEMENTS)?;
        Ok(heartbeat)
    }
}
