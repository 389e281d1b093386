use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    DecodeError, DeltaPiece, Limits,
    envelope::{self, EnvelopeKind},
    reader::{Reader, malformed, within},
    writer::Writer,
};

const ELEMENTS: usize = 3;
/// The content is as it is.
const PLAIN: u64 = 0;
/// The content is one block of LZ4, without a frame.
const LZ4_BLOCK: u64 = 1;
/// No block of LZ4 unpacks to more: each byte of a length stands for 255 bytes at most.
const LZ4_RATIO_MAX: usize = 255;

/// One of the chunks that make up a snapshot: a piece of the state, compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotChunk {
    /// What is in it. Of an entity in several chunks the last one counts.
    pub piece: DeltaPiece,
}

/// What the manifest of a snapshot says of one of its chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkEntry {
    /// How many bytes the chunk has, as it is kept.
    pub bytes: u64,
    /// The digest of those bytes: XXH3 with 128 bits and seed 0. It finds damage, not forgery.
    pub digest: u128,
}

impl ChunkEntry {
    /// The entry of a chunk that is kept as these bytes.
    pub fn of(chunk: &[u8]) -> ChunkEntry {
        ChunkEntry { bytes: chunk.len() as u64, digest: xxh3_128(chunk) }
    }
}

impl SnapshotChunk {
    /// The message, and how many bytes the piece has unpacked. Its size is not limited here.
    pub fn encode(&self) -> (Bytes, u64) {
        let mut piece = Writer::default();
        self.piece.write(&mut piece);
        let piece = piece.into_vec();
        let packed = lz4_flex::block::compress(&piece);
        let (code, content) = match packed.len() < piece.len() {
            true => (LZ4_BLOCK, &packed),
            false => (PLAIN, &piece),
        };
        let mut body = Writer::with_capacity(content.len() + 16);
        body.array(ELEMENTS);
        body.unsigned(code);
        body.unsigned(piece.len() as u64);
        body.binary(content);
        (envelope::seal(EnvelopeKind::SnapshotChunk, &body.into_vec()), piece.len() as u64)
    }

    /// Reads a message that came from outside: nothing about it is trusted. Neither it nor what it unpacks to may have
    /// more than `bytes_max` bytes, and no room is made for more than its bytes can unpack to.
    ///
    /// # Errors
    /// Every [`DecodeError`]; a chunk that unpacks to another length than it says is refused.
    pub fn decode(message: Bytes, limits: &Limits, bytes_max: usize) -> Result<SnapshotChunk, DecodeError> {
        let body = envelope::open_as(EnvelopeKind::SnapshotChunk, message, bytes_max)?;
        let mut reader = Reader::new(body);
        let elements = reader.array_of_at_least("snapshot chunk", ELEMENTS)?;
        let code = reader.unsigned("compression")?;
        let raw_bytes = usize::try_from(reader.unsigned("unpacked length")?).unwrap_or(usize::MAX);
        within("snapshot_chunk_bytes_max", raw_bytes, bytes_max)?;
        let content = reader.binary("snapshot chunk", "snapshot_chunk_bytes_max", bytes_max)?;
        reader.end("snapshot chunk", elements - ELEMENTS)?;
        let mut reader = Reader::new(unpack(code, content, raw_bytes)?);
        let piece = DeltaPiece::read(&mut reader, limits)?;
        reader.end("delta piece", 0)?;
        Ok(SnapshotChunk { piece })
    }
}

fn unpack(code: u64, content: Bytes, raw_bytes: usize) -> Result<Bytes, DecodeError> {
    let wrong = |reason: &str| malformed("snapshot chunk", reason);
    match code {
        PLAIN if content.len() == raw_bytes => Ok(content),
        PLAIN => Err(wrong("it is not as long as it says")),
        LZ4_BLOCK => {
            if raw_bytes / LZ4_RATIO_MAX > content.len() {
                return Err(wrong("it says that it unpacks to more than it can"));
            }
            let mut raw = vec![0; raw_bytes];
            match lz4_flex::block::decompress_into(&content, &mut raw) {
                Ok(unpacked) if unpacked == raw_bytes => Ok(raw.into()),
                Ok(_) => Err(wrong("it unpacks to less than it says")),
                Err(error) => Err(malformed("snapshot chunk", error)),
            }
        }
        found => Err(DecodeError::Unknown { what: "compression", found }),
    }
}
