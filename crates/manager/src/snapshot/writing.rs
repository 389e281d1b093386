use archipelago_clock::ReplicaId;
use archipelago_pipeline::{
    PipelineError,
    snapshots::{SnapshotStore, SnapshotStoreError, SnapshotWriter},
};
use archipelago_proto::{ChunkEntry, DeltaPiece, Limits, LogPlace, SnapshotChunk, SnapshotManifest};
use bytes::Bytes;

use super::{SnapshotError, SnapshotInfo, SnapshotProgress, create::Made, name, reader};
use crate::{TrustedKeys, signatures::MANIFEST};

/// A snapshot that is being written. Dropped before it is finished, it is none.
pub(super) struct Writing<'a> {
    snapshots: &'a dyn SnapshotStore,
    pub(super) name: String,
    pub(super) progress: SnapshotProgress,
    made_unix_ms: u64,
    writer: Box<dyn SnapshotWriter>,
    keys: Option<TrustedKeys>,
    chunks: Vec<ChunkEntry>,
    raw_bytes: u64,
}

/// What only the end of a snapshot tells.
pub(super) struct End {
    pub(super) strategies: Option<u64>,
    pub(super) place: Option<LogPlace>,
    pub(super) state_digest: Option<u128>,
}

impl<'a> Writing<'a> {
    pub(super) async fn begin(
        snapshots: &'a dyn SnapshotStore,
        (namespace, replica): (&str, &ReplicaId),
        now_unix_ms: u64,
        entities_in_all: u64,
        keys: Option<TrustedKeys>,
    ) -> Result<Writing<'a>, SnapshotError> {
        let mut made_unix_ms = now_unix_ms;
        let (name, writer) = loop {
            let name = name::name(namespace, made_unix_ms, replica);
            match snapshots.begin(&name).await {
                // The one before was made in the same millisecond.
                Err(SnapshotStoreError::AlreadyExists { .. }) => made_unix_ms += 1,
                writer => break (name, writer?),
            }
        };
        let progress = SnapshotProgress { entities_in_all, ..SnapshotProgress::default() };
        Ok(Writing {
            snapshots,
            name,
            progress,
            made_unix_ms,
            writer,
            keys,
            chunks: Vec::new(),
            raw_bytes: 0,
        })
    }

    /// Stores a piece, and gives it back without its entities.
    pub(super) async fn write(&mut self, piece: DeltaPiece) -> Result<DeltaPiece, SnapshotError> {
        let mut chunk = SnapshotChunk { piece };
        let (bytes, raw_bytes) = chunk.encode();
        let bytes = signed(self.keys.as_ref(), &self.name, &self.chunks.len().to_string(), bytes)?;
        let entry = ChunkEntry::of(&bytes);
        self.writer.chunk(bytes).await?;
        self.chunks.push(entry);
        self.raw_bytes += raw_bytes;
        self.progress.chunks += 1;
        self.progress.bytes += entry.bytes;
        self.progress.entities += chunk.piece.entities.len() as u64;
        chunk.piece.entities.clear();
        Ok(chunk.piece)
    }

    /// Stores the manifest, and reads it back: only then the snapshot is one.
    pub(super) async fn finish(
        self,
        last: DeltaPiece,
        end: End,
        limits: &Limits,
    ) -> Result<Made, SnapshotError> {
        let manifest = SnapshotManifest {
            namespace: last.namespace,
            replica: last.replica,
            made_unix_ms: self.made_unix_ms,
            vector: last.vector,
            floor: last.floor,
            told_floor: last.told_floor,
            members: last.members,
            strategies: end.strategies,
            place: end.place,
            entities: self.progress.entities,
            raw_bytes: self.raw_bytes,
            state_digest: end.state_digest,
            chunks: self.chunks,
        };
        let manifest_bytes = signed(self.keys.as_ref(), &self.name, MANIFEST, manifest.encode())?;
        self.writer.finish(manifest_bytes).await?;
        let stored = reader::manifest(self.snapshots, &self.name, limits).await?;
        if stored != manifest {
            let reason = "it is not the one that was stored";
            return Err(SnapshotError::damaged(&self.name, "the manifest", reason));
        }
        Ok((SnapshotInfo::new(&self.name, &manifest), manifest.place))
    }
}

/// A part of a snapshot, signed if the master signs.
fn signed(
    keys: Option<&TrustedKeys>,
    name: &str,
    part: &str,
    bytes: Bytes,
) -> Result<Bytes, SnapshotStoreError> {
    let Some(keys) = keys else { return Ok(bytes) };
    let refused = |error: PipelineError| SnapshotStoreError::Refused { reason: error.to_string() };
    keys.sign_kept(name, part, &bytes).map_err(refused)
}
