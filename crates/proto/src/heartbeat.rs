//! What a replica says of itself, again and again. The layout is described in `docs/FORMAT.md`.

use archipelago_clock::{Hlc, NAME_BYTES_MAX, ReplicaId, VersionVector};
use bytes::Bytes;

use crate::{
    DecodeError, Limits, Member,
    envelope::{self, ENVELOPE_VERSION, EnvelopeKind},
    member,
    reader::{Reader, malformed},
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
    /// The members that the replica knows of, itself included.
    pub members: Vec<Member>,
    /// No write counts, as an event, whose admitting replica had not applied this.
    pub floor: VersionVector,
    /// Up to where the replica is done with the log, if it follows one.
    pub place: Option<LogPlace>,
    /// The oldest and the newest version of the envelope that the replica can read.
    pub reads: (u64, u64),
}

/// A place in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPlace {
    /// When the log was created, in nanoseconds since the Unix epoch as its broker counts.
    pub created_unix_ns: u64,
    /// The last message that is done with.
    pub sequence: u64,
}

/// How many elements a heartbeat has; later builds may append more.
const ELEMENTS: usize = 13;
/// How many it had before members were part of it.
const ELEMENTS_WITHOUT_MEMBERS: usize = 8;

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
        member::write(&mut body, &self.members);
        vector::write(&mut body, &self.floor);
        write_place(&mut body, self.place.as_ref());
        body.unsigned(self.reads.0);
        body.unsigned(self.reads.1);
        envelope::seal(EnvelopeKind::Heartbeat, &body.into_vec())
    }

    /// Reads a message that came from outside: nothing about it is trusted.
    ///
    /// # Errors
    /// Every [`DecodeError`].
    pub fn decode(message: Bytes, limits: &Limits) -> Result<Heartbeat, DecodeError> {
        let body = envelope::open_as(EnvelopeKind::Heartbeat, message, limits.batch_bytes_max)?;
        let mut reader = Reader::new(body);
        let elements = reader.array_of_at_least("heartbeat", ELEMENTS_WITHOUT_MEMBERS)?;
        let mut heartbeat = Heartbeat {
            namespace: reader.text("namespace", "namespace bytes", NAME_BYTES_MAX)?.to_string(),
            replica: replica::read(&mut reader)?,
            session: reader.unsigned("session")?,
            beat: reader.unsigned("beat")?,
            hlc: Hlc::from_bits(reader.unsigned("hlc")?),
            vector: vector::read(&mut reader, limits)?,
            strategies: reader.unsigned("strategies")?,
            digest: reader.u128("digest")?,
            members: Vec::new(),
            floor: VersionVector::new(),
            place: None,
            reads: (ENVELOPE_VERSION, ENVELOPE_VERSION),
        };
        if elements >= ELEMENTS {
            heartbeat.members = member::read(&mut reader, limits)?;
            heartbeat.floor = vector::read(&mut reader, limits)?;
            heartbeat.place = read_place(&mut reader)?;
            heartbeat.reads = (reader.unsigned("oldest version")?, reader.unsigned("newest version")?);
        }
        let known = if elements >= ELEMENTS { ELEMENTS } else { ELEMENTS_WITHOUT_MEMBERS };
        reader.end("heartbeat", elements - known)?;
        Ok(heartbeat)
    }
}

pub(crate) fn write_place(writer: &mut Writer, place: Option<&LogPlace>) {
    let Some(place) = place else { return writer.nil() };
    writer.array(2);
    writer.unsigned(place.created_unix_ns);
    writer.unsigned(place.sequence);
}

pub(crate) fn read_place(reader: &mut Reader) -> Result<Option<LogPlace>, DecodeError> {
    if reader.is_nil("log place")? {
        return Ok(None);
    }
    if reader.array("log place")? != 2 {
        return Err(malformed("log place", "expected a time and a sequence"));
    }
    let created_unix_ns = reader.unsigned("log creation")?;
    Ok(Some(LogPlace { created_unix_ns, sequence: reader.unsigned("log sequence")? }))
}
