//! A snapshot of a running master, chunk by chunk, while it goes on.

use std::time::Duration;

use archipelago_clock::{Dot, VersionVector};
use archipelago_pipeline::snapshots::SnapshotStore;
use archipelago_proto::{DeltaRequest, LogPlace};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    SnapshotError, SnapshotInfo,
    writing::{End, Writing},
};
use crate::{
    Notification,
    repair::PIECE_BYTES_TARGET,
    replica::{Captured, Command},
    shared::{HeldTombstones, Shared},
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
        let _held = HeldTombstones::new(self.shared);
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
        let of = (&*first.piece.namespace, &first.piece.replica);
        let mut writing =
            Writing::begin(self.snapshots, of, first.now_unix_ms, first.piece.held, self.shared.keys.clone())
                .await?;
        let mut told = Instant::now();
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
                part.piece = writing.write(part.piece).await?;
                if told.elapsed() >= TELL_EVERY {
                    told = Instant::now();
                    let (name, progress) = (writing.name.clone(), writing.progress);
                    self.shared.notify(Notification::SnapshotProgress { name, progress });
                }
                from = part.piece.next.take();
                if from.is_none() && round_vector.is_none() {
                    let strategies = Some(self.shared.strategies.fingerprint());
                    let end = End { strategies, place: part.place, state_digest: Some(part.digest) };
                    return writing.finish(part.piece, end, &self.shared.limits).await.map(Some);
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
