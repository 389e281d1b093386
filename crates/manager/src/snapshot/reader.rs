use archipelago_clock::VersionVector;
use archipelago_pipeline::snapshots::SnapshotStore;
use archipelago_proto::{ChunkEntry, Limits, SnapshotChunk, SnapshotManifest};
use bytes::Bytes;

use crate::{SnapshotError, SnapshotInfo, SnapshotProgress, repair::PIECE_BYTES_MAX};

/// The largest manifest: more than a million chunks.
const MANIFEST_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Reads a snapshot chunk by chunk, and checks all that can be checked: that each chunk is the one that was stored, in its
/// place, that its entities can be read, and at the end that it was all.
#[derive(Debug)]
pub struct SnapshotReader<'a> {
    snapshots: &'a dyn SnapshotStore,
    name: String,
    manifest: SnapshotManifest,
    limits: Limits,
    progress: SnapshotProgress,
    /// Of the last chunk that was read.
    vector: VersionVector,
}

impl<'a> SnapshotReader<'a> {
    /// Reads the manifest of the snapshot `name`.
    ///
    /// # Errors
    /// [`SnapshotError::Snapshots`] if there is none, [`SnapshotError::Damaged`] and [`SnapshotError::Newer`].
    pub async fn open(
        snapshots: &'a dyn SnapshotStore,
        name: &str,
        limits: &Limits,
    ) -> Result<SnapshotReader<'a>, SnapshotError> {
        let manifest = manifest(snapshots, name, limits).await?;
        let progress = SnapshotProgress {
            chunks_in_all: manifest.chunks.len() as u64,
            entities_in_all: manifest.entities,
            ..SnapshotProgress::default()
        };
        let (name, limits) = (name.to_owned(), limits.clone());
        Ok(SnapshotReader { snapshots, name, manifest, limits, progress, vector: VersionVector::new() })
    }

    /// What the snapshot is.
    pub fn info(&self) -> SnapshotInfo {
        SnapshotInfo::new(&self.name, &self.manifest)
    }

    /// How far it is read.
    pub fn progress(&self) -> SnapshotProgress {
        self.progress
    }

    /// Reads and checks the next chunk; false after the last one, and then the snapshot is whole.
    ///
    /// # Errors
    /// [`SnapshotError::Snapshots`], [`SnapshotError::Damaged`] and [`SnapshotError::Newer`].
    pub async fn check_next(&mut self) -> Result<bool, SnapshotError> {
        Ok(self.next().await?.is_some())
    }

    pub(crate) fn manifest(&self) -> &SnapshotManifest {
        &self.manifest
    }

    /// Goes on behind chunks that were read before, with so many entities in them.
    pub(crate) fn resume(&mut self, chunks: u64, entities: u64) {
        let before = self.manifest.chunks.iter().take(usize::try_from(chunks).unwrap_or(usize::MAX));
        self.progress.bytes = before.map(|chunk| chunk.bytes).sum();
        (self.progress.chunks, self.progress.entities) = (chunks, entities);
    }

    pub(crate) async fn next(&mut self) -> Result<Option<SnapshotChunk>, SnapshotError> {
        let index = self.progress.chunks;
        let entry = usize::try_from(index).ok().and_then(|index| self.manifest.chunks.get(index).copied());
        let Some(entry) = entry else {
            self.check_end()?;
            return Ok(None);
        };
        let bytes = self.snapshots.chunk(&self.name, index).await?;
        let chunk = check(&self.name, &self.manifest, (index, entry), bytes, &self.limits)?;
        if !chunk.piece.vector.dominates(&self.vector) {
            return Err(self.damaged(&part(index), "it is of an earlier time than the chunk before"));
        }
        self.vector.clone_from(&chunk.piece.vector);
        self.progress.chunks += 1;
        self.progress.entities += chunk.piece.entities.len() as u64;
        self.progress.bytes += entry.bytes;
        Ok(Some(chunk))
    }

    fn check_end(&self) -> Result<(), SnapshotError> {
        // Nothing is known of a last chunk that was read before an interruption; it was checked then.
        if !self.vector.is_empty() && self.vector != self.manifest.vector {
            return Err(self.damaged("the manifest", "its vector is not that of the last chunk"));
        }
        if self.progress.entities != self.manifest.entities {
            return Err(self.damaged("the manifest", "it counts other entities than the chunks have"));
        }
        Ok(())
    }

    fn damaged(&self, part: &str, reason: &str) -> SnapshotError {
        SnapshotError::damaged(&self.name, part, reason)
    }
}

/// Reads all of a snapshot and checks it: the digest and the order of every chunk, that entities can be read, and that
/// nothing is missing.
///
/// # Errors
/// [`SnapshotError::Snapshots`] for what is missing, [`SnapshotError::Damaged`] and [`SnapshotError::Newer`].
pub async fn verify_snapshot(
    snapshots: &dyn SnapshotStore,
    name: &str,
    limits: &Limits,
) -> Result<SnapshotInfo, SnapshotError> {
    let mut reader = SnapshotReader::open(snapshots, name, limits).await?;
    while reader.check_next().await? {}
    Ok(reader.info())
}

pub(crate) async fn manifest(
    snapshots: &dyn SnapshotStore,
    name: &str,
    limits: &Limits,
) -> Result<SnapshotManifest, SnapshotError> {
    let bytes = snapshots.manifest(name).await?;
    SnapshotManifest::decode(bytes, limits, MANIFEST_BYTES_MAX)
        .map_err(|error| SnapshotError::undecodable(name, "the manifest", error))
}

/// Whether these bytes are the chunk that the manifest speaks of.
pub(crate) fn check(
    name: &str,
    manifest: &SnapshotManifest,
    (index, entry): (u64, ChunkEntry),
    bytes: Bytes,
    limits: &Limits,
) -> Result<SnapshotChunk, SnapshotError> {
    let part = part(index);
    if bytes.len() as u64 != entry.bytes {
        let reason = format!("it has {} bytes instead of {}", bytes.len(), entry.bytes);
        return Err(SnapshotError::damaged(name, &part, reason));
    }
    if ChunkEntry::of(&bytes) != entry {
        return Err(SnapshotError::damaged(name, &part, "its digest is not the one in the manifest"));
    }
    let chunk = SnapshotChunk::decode(bytes, limits, PIECE_BYTES_MAX)
        .map_err(|error| SnapshotError::undecodable(name, &part, error))?;
    if chunk.piece.namespace != manifest.namespace || !manifest.vector.dominates(&chunk.piece.vector) {
        return Err(SnapshotError::damaged(name, &part, "it is not of what the manifest speaks of"));
    }
    Ok(chunk)
}

fn part(index: u64) -> String {
    format!("chunk {index}")
}
