//! A snapshot of a running master, chunk by chunk, while it goes on.

use std::time::Duration;

use archipelago_clock::{Dot, VersionVector};
use archipelago_pipeline::snapshots::{SnapshotStore, SnapshotStoreError, SnapshotWriter};
use archipelago_proto::{ChunkEntry, DeltaPiece, DeltaRequest, LogPlace, SnapshotChunk, SnapshotManifest};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{SnapshotError, SnapshotInfo, SnapshotProgress, name, reader};
use crate::{
    Notification,
    repair::PIECE_BYTES_TARGET,
    replica::{Captured, Command},
    shared::Shared,
};

/// How many rounds are read for what came during the round before.
const ROUNDS_MAX: usize = 64;
/// How often it is begun again because something was forgotten meanwhile that had been read.
const ATTEMPTS_MAX: usize = 8;
/// How often listeners are told how far it is.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// Makes snapshots of one master.
pub(crate) struct Maker<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) commands: &'a mpsc::Sender<Command>,
    pub(crate) snapshots: &'a dyn SnapshotStore,
}

/// A snapshot that was made, and its place in the log.
pub(crate) type Made = (SnapshotInfo, Option<LogPlace>);

impl Maker<'_> {
    /// Makes a snapshot, and reads its manifest back.
    ///
    /// The parts are those that a repair of everything would read: see
    /// [`Delta::is_whole`](archipelago_engine::Delta::is_whole). That misses what became of an entity only if all that is
    /// left of it is forgotten after it was read; so tombstones are held meanwhile, and where they could not be, it is
    /// begun again.
    pub(crate) async fn make(&self) -> Result<Made, SnapshotError> {
        let _held = self.shared.hold_tombstones();
        for _ in 0..ATTEMPTS_MAX {
            if let Some((info, place)) = self.attempt().await? {
                let (name, entities, bytes) = (info.name.clone(), info.entities, info.bytes);
                tracing::info!(%name, entities, bytes, "a snapshot is stored");
                self.shared.notify(Notification::SnapshotMade { name, entities, bytes });
                return Ok((info, place));
            }
        }
        Err(SnapshotError::Endless)
    }

    /// `None` if something was forgotten meanwhile that had been read.
    async fn attempt(&self) -> Result<Option<Made>, SnapshotError> {
        let first = self.capture(&VersionVector::new(), None).await?;
        let mut writing = Writing::begin(self, &first).await?;
        let mut since = VersionVector::new();
        let mut captured = Some(first);
        for _ in 0..ROUNDS_MAX {
            let (mut from, mut round_vector) = (None, None);
            loop {
                let mut part = match captured.take() {
                    Some(first) => first,
                    None => self.capture(&since, from).await?,
                };
                if !since.is_empty() && !since.dominates(&part.piece.floor) {
                    return Ok(None);
                }
                part.piece = writing.write(part.piece, self.shared).await?;
                from = part.piece.next.take();
                if from.is_none() && round_vector.is_none() {
                    return writing.finish(part, self).await.map(Some);
                }
                round_vector.get_or_insert(part.piece.vector);
                if from.is_none() {
                    break;
                }
            }
            since = round_vector.unwrap_or(since);
        }
        Err(SnapshotError::Endless)
    }

    async fn capture(&self, since: &VersionVector, from: Option<Dot>) -> Result<Captured, SnapshotError> {
        let request = DeltaRequest {
            namespace: self.shared.namespace.clone(),
            replica: self.shared.replica(),
            since: since.clone(),
            from,
            bytes_max: PIECE_BYTES_TARGET as u64,
        };
        let (reply, captured) = oneshot::channel();
        let sent = self.commands.send(Command::Capture { request, reply }).await;
        sent.map_err(|_| SnapshotError::Closed)?;
        captured.await.map_err(|_| SnapshotError::Closed)
    }
}

/// A snapshot that is being written.
struct Writing {
    name: String,
    made_unix_ms: u64,
    writer: Box<dyn SnapshotWriter>,
    chunks: Vec<ChunkEntry>,
    raw_bytes: u64,
    progress: SnapshotProgress,
    told: Instant,
}

impl Writing {
    async fn begin(maker: &Maker<'_>, first: &Captured) -> Result<Writing, SnapshotError> {
        let mut made_unix_ms = first.now_unix_ms;
        let (name, writer) = loop {
            let name = name::name(&first.piece.namespace, made_unix_ms, &first.piece.replica);
            match maker.snapshots.begin(&name).await {
                // The one before was made in the same millisecond.
                Err(SnapshotStoreError::AlreadyExists { .. }) => made_unix_ms += 1,
                writer => break (name, writer?),
            }
        };
        let progress = SnapshotProgress { entities_in_all: first.piece.held, ..SnapshotProgress::default() };
        let (chunks, told) = (Vec::new(), Instant::now());
        Ok(Writing { name, made_unix_ms, writer, chunks, raw_bytes: 0, progress, told })
    }

    /// Stores a piece, and gives it back without its entities.
    async fn write(&mut self, piece: DeltaPiece, shared: &Shared) -> Result<DeltaPiece, SnapshotError> {
        let mut chunk = SnapshotChunk { piece };
        let (bytes, raw_bytes) = chunk.encode();
        let entry = ChunkEntry::of(&bytes);
        self.writer.chunk(bytes).await?;
        self.chunks.push(entry);
        self.raw_bytes += raw_bytes;
        self.progress.chunks += 1;
        self.progress.bytes += entry.bytes;
        self.progress.entities += chunk.piece.entities.len() as u64;
        if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            let (name, progress) = (self.name.clone(), self.progress);
            shared.notify(Notification::SnapshotProgress { name, progress });
        }
        chunk.piece.entities.clear();
        Ok(chunk.piece)
    }

    async fn finish(self, last: Captured, maker: &Maker<'_>) -> Result<Made, SnapshotError> {
        let manifest = SnapshotManifest {
            namespace: last.piece.namespace,
            replica: last.piece.replica,
            made_unix_ms: self.made_unix_ms,
            vector: last.piece.vector,
            floor: last.piece.floor,
            told_floor: last.piece.told_floor,
            members: last.piece.members,
            strategies: Some(maker.shared.strategies.fingerprint()),
            place: last.place,
            entities: self.progress.entities,
            raw_bytes: self.raw_bytes,
            state_digest: Some(last.digest),
            chunks: self.chunks,
        };
        self.writer.finish(manifest.encode()).await?;
        let stored = reader::manifest(maker.snapshots, &self.name, &maker.shared.limits).await?;
        if stored != manifest {
            let reason = "it is not the one that was stored";
            return Err(SnapshotError::damaged(&self.name, "the manifest", reason));
        }
        Ok((SnapshotInfo::new(&self.name, &manifest), manifest.place))
    }
}
