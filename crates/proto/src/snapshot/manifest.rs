use archipelago_clock::{NAME_BYTES_MAX, ReplicaId, VersionVector};
use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    ChunkEntry, DecodeError, Limits, LogPlace, Member,
    envelope::{self, EnvelopeKind},
    heartbeat, member,
    reader::{Reader, malformed},
    replica, vector,
    writer::Writer,
};

const ELEMENTS: usize = 14;

/// What a snapshot is: of what, made by whom, up to where, and of which chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotManifest {
    /// The namespace.
    pub namespace: String,
    /// Whose state it is.
    pub replica: ReplicaId,
    /// When it was made, in milliseconds since the Unix epoch by the clock of who made it.
    pub made_unix_ms: u64,
    /// What is in it: exactly what had been applied then.
    pub vector: VersionVector,
    /// Tombstones that this covers may be missing.
    pub floor: VersionVector,
    /// The join of all floors that had been taken in.
    pub told_floor: VersionVector,
    /// The members of the namespace that were known.
    pub members: Vec<Member>,
    /// The fingerprint of the strategies by which it was made; `None` if it was made of stored rows alone.
    pub strategies: Option<u64>,
    /// All that the log holds up to here is in it; `None` if it was made without a log.
    pub place: Option<LogPlace>,
    /// How many entities are in the chunks; one that is in several chunks counts as often.
    pub entities: u64,
    /// How many bytes the chunks have unpacked.
    pub raw_bytes: u64,
    /// The root of the digest of the state at `vector`, where it is known.
    pub state_digest: Option<u128>,
    /// The chunks, in order.
    pub chunks: Vec<ChunkEntry>,
}

impl SnapshotManifest {
    /// How many bytes the chunks have, as they are kept.
    pub fn bytes(&self) -> u64 {
        self.chunks.iter().fold(0, |bytes, chunk| bytes.saturating_add(chunk.bytes))
    }

    /// One digest for all chunks: XXH3 with 128 bits of their digests one after another. It names the content of the
    /// snapshot, wherever it lies.
    pub fn digest(&self) -> u128 {
        let digests: Vec<u8> = self.chunks.iter().flat_map(|chunk| chunk.digest.to_be_bytes()).collect();
        xxh3_128(&digests)
    }

    /// The message. Its size is not limited here.
    pub fn encode(&self) -> Bytes {
        let mut body = Writer::with_capacity(128 + 24 * self.chunks.len());
        body.array(ELEMENTS);
        body.text(&self.namespace);
        replica::write(&mut body, &self.replica);
        body.unsigned(self.made_unix_ms);
        vector::write(&mut body, &self.vector);
        vector::write(&mut body, &self.floor);
        vector::write(&mut body, &self.told_floor);
        member::write(&mut body, &self.members);
        match self.strategies {
            None => body.nil(),
            Some(strategies) => body.unsigned(strategies),
        }
        heartbeat::write_place(&mut body, self.place.as_ref());
        body.unsigned(self.entities);
        body.unsigned(self.raw_bytes);
        match self.state_digest {
            None => body.nil(),
            Some(digest) => body.binary(&digest.to_be_bytes()),
        }
        body.array(self.chunks.len() * 2);
        for chunk in &self.chunks {
            body.unsigned(chunk.bytes);
            body.binary(&chunk.digest.to_be_bytes());
        }
        body.binary(&self.digest().to_be_bytes());
        envelope::seal(EnvelopeKind::SnapshotManifest, &body.into_vec())
    }

    /// Reads a message that came from outside, of at most `bytes_max` bytes: nothing about it is trusted.
    ///
    /// # Errors
    /// Every [`DecodeError`]; a manifest that has no chunk, or whose digests do not add up, is refused.
    pub fn decode(
        message: Bytes,
        limits: &Limits,
        bytes_max: usize,
    ) -> Result<SnapshotManifest, DecodeError> {
        let body = envelope::open_as(EnvelopeKind::SnapshotManifest, message, bytes_max)?;
        let mut reader = Reader::new(body);
        let elements = reader.array_of_at_least("snapshot manifest", ELEMENTS)?;
        let manifest = SnapshotManifest {
            namespace: reader.text("namespace", "namespace bytes", NAME_BYTES_MAX)?.to_string(),
            replica: replica::read(&mut reader)?,
            made_unix_ms: reader.unsigned("made_unix_ms")?,
            vector: vector::read(&mut reader, limits)?,
            floor: vector::read(&mut reader, limits)?,
            told_floor: vector::read(&mut reader, limits)?,
            members: member::read(&mut reader, limits)?,
            strategies: match reader.is_nil("strategies")? {
                true => None,
                false => Some(reader.unsigned("strategies")?),
            },
            place: heartbeat::read_place(&mut reader)?,
            entities: reader.unsigned("entities")?,
            raw_bytes: reader.unsigned("raw bytes")?,
            state_digest: match reader.is_nil("state digest")? {
                true => None,
                false => Some(reader.u128("state digest")?),
            },
            chunks: read_chunks(&mut reader)?,
        };
        if reader.u128("digest")? != manifest.digest() {
            return Err(malformed("snapshot manifest", "its digest is not that of its chunks"));
        }
        reader.end("snapshot manifest", elements - ELEMENTS)?;
        Ok(manifest)
    }
}

fn read_chunks(reader: &mut Reader) -> Result<Vec<ChunkEntry>, DecodeError> {
    let len = reader.array("chunks")?;
    if len == 0 || len % 2 != 0 {
        return Err(malformed("chunks", "not a list of pairs with at least one"));
    }
    (0..len / 2)
        .map(|_| {
            Ok(ChunkEntry { bytes: reader.unsigned("chunk bytes")?, digest: reader.u128("chunk digest")? })
        })
        .collect()
}
