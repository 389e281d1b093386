//! The frame around everything that travels: what it is, of which version, and whether it is whole.

use bytes::Bytes;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_64};

use crate::{
    DecodeError,
    reader::{Reader, malformed},
    writer::Writer,
};

/// The newest version of the envelope that this build writes and reads.
pub const ENVELOPE_VERSION: u64 = 1;

/// How many elements every envelope has.
pub(crate) const ELEMENTS: usize = 5;

/// The first element of every envelope.
const MAGIC: &str = "archipelago";

/// How many bytes a message may have beyond its limit for what is appended to its envelope: a [signature](crate::Signature)
/// that lists all the keys that it may.
const APPENDED_BYTES_MAX: usize = 128 * 1024;

/// What an envelope holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnvelopeKind {
    /// An [`EventBatch`](crate::EventBatch).
    Events,
    /// A [`Heartbeat`](crate::Heartbeat).
    Heartbeat,
    /// A [`DeltaRequest`](crate::DeltaRequest).
    DeltaRequest,
    /// A [`DeltaPiece`](crate::DeltaPiece).
    DeltaPiece,
    /// A [`ChangesPart`](crate::ChangesPart).
    ChangesPart,
    /// A [`Floor`](crate::Floor).
    Floor,
    /// A [`SnapshotChunk`](crate::SnapshotChunk).
    SnapshotChunk,
    /// A [`SnapshotManifest`](crate::SnapshotManifest).
    SnapshotManifest,
    /// A [`StateQuestion`](crate::StateQuestion).
    StateQuestion,
    /// A [`StateAnswer`](crate::StateAnswer).
    StateAnswer,
    /// An [`EntryBatch`](crate::EntryBatch).
    Entries,
    /// A [`NodeBeat`](crate::NodeBeat).
    NodeBeat,
    /// A [`NodeQuestion`](crate::NodeQuestion).
    NodeQuestion,
    /// A [`NodeAnswer`](crate::NodeAnswer).
    NodeAnswer,
}

impl EnvelopeKind {
    const fn code(self) -> u64 {
        match self {
            EnvelopeKind::Events => 1,
            EnvelopeKind::Heartbeat => 2,
            EnvelopeKind::DeltaRequest => 3,
            EnvelopeKind::DeltaPiece => 4,
            EnvelopeKind::ChangesPart => 5,
            EnvelopeKind::Floor => 6,
            EnvelopeKind::SnapshotChunk => 7,
            EnvelopeKind::SnapshotManifest => 8,
            EnvelopeKind::StateQuestion => 9,
            EnvelopeKind::StateAnswer => 10,
            EnvelopeKind::Entries => 11,
            EnvelopeKind::NodeBeat => 12,
            EnvelopeKind::NodeQuestion => 13,
            EnvelopeKind::NodeAnswer => 14,
        }
    }

    fn from_code(code: u64) -> Result<Self, DecodeError> {
        match code {
            1 => Ok(EnvelopeKind::Events),
            2 => Ok(EnvelopeKind::Heartbeat),
            3 => Ok(EnvelopeKind::DeltaRequest),
            4 => Ok(EnvelopeKind::DeltaPiece),
            5 => Ok(EnvelopeKind::ChangesPart),
            6 => Ok(EnvelopeKind::Floor),
            7 => Ok(EnvelopeKind::SnapshotChunk),
            8 => Ok(EnvelopeKind::SnapshotManifest),
            9 => Ok(EnvelopeKind::StateQuestion),
            10 => Ok(EnvelopeKind::StateAnswer),
            11 => Ok(EnvelopeKind::Entries),
            12 => Ok(EnvelopeKind::NodeBeat),
            13 => Ok(EnvelopeKind::NodeQuestion),
            14 => Ok(EnvelopeKind::NodeAnswer),
            found => Err(DecodeError::Unknown { what: "envelope kind", found }),
        }
    }
}

/// Wraps `body` so that a receiver can tell what it is and whether it is whole.
pub(crate) fn seal(kind: EnvelopeKind, body: &[u8]) -> Bytes {
    seal_parts(kind, &[body])
}

/// The same of a body in parts, which come one behind the other.
pub(crate) fn seal_parts(kind: EnvelopeKind, body: &[&[u8]]) -> Bytes {
    let bytes = body.iter().map(|part| part.len()).sum();
    let mut checksum = Xxh3Default::new();
    body.iter().for_each(|part| checksum.update(part));
    let mut writer = Writer::with_capacity(bytes + 40);
    writer.array(ELEMENTS);
    writer.text(MAGIC);
    writer.unsigned(ENVELOPE_VERSION);
    writer.unsigned(kind.code());
    writer.unsigned(checksum.digest());
    writer.binary_head(bytes);
    body.iter().for_each(|part| writer.raw(part));
    writer.into_vec().into()
}

/// The kind that an envelope says it is of, if it can be told without looking into it.
pub(crate) fn kind(bytes: &Bytes) -> Option<EnvelopeKind> {
    let mut reader = Reader::new(bytes.clone());
    reader.array("envelope").ok()?;
    reader.text("envelope", "magic", MAGIC.len()).ok()?;
    reader.unsigned("envelope version").ok()?;
    EnvelopeKind::from_code(reader.unsigned("envelope kind").ok()?).ok()
}

/// The body of an envelope of this kind that arrived from outside.
pub(crate) fn open_as(kind: EnvelopeKind, bytes: Bytes, bytes_max: usize) -> Result<Bytes, DecodeError> {
    match open(bytes, bytes_max)? {
        (found, body) if found == kind => Ok(body),
        (found, _) => Err(malformed("envelope", format!("it holds {found:?} instead of {kind:?}"))),
    }
}

/// The kind and the body of an envelope that arrived from outside.
fn open(bytes: Bytes, bytes_max: usize) -> Result<(EnvelopeKind, Bytes), DecodeError> {
    crate::reader::within("batch_bytes_max", bytes.len(), bytes_max.saturating_add(APPENDED_BYTES_MAX))?;
    let mut reader = Reader::new(bytes);
    let elements = reader.array("envelope").map_err(|_| DecodeError::NotAnEnvelope)?;
    let magic = reader.text("envelope", "magic", MAGIC.len()).map_err(|_| DecodeError::NotAnEnvelope)?;
    if &*magic != MAGIC {
        return Err(DecodeError::NotAnEnvelope);
    }
    let version = reader.unsigned("envelope version")?;
    if version != ENVELOPE_VERSION {
        return Err(DecodeError::UnsupportedVersion { found: version, supported: ENVELOPE_VERSION });
    }
    if elements < ELEMENTS {
        return Err(malformed("envelope", format!("{elements} elements instead of {ELEMENTS}")));
    }
    let kind = reader.unsigned("envelope kind")?;
    let checksum = reader.unsigned("envelope checksum")?;
    let body = reader.binary("envelope body", "batch_bytes_max", bytes_max)?;
    if xxh3_64(&body) != checksum {
        return Err(DecodeError::Checksum);
    }
    // A signature, which is looked at elsewhere or not at all; and what a later build of the same version appends.
    for _ in ELEMENTS..elements {
        reader.skip("envelope")?;
    }
    if !reader.is_at_end() {
        return Err(malformed("envelope", "bytes follow its end"));
    }
    Ok((EnvelopeKind::from_code(kind)?, body))
}
