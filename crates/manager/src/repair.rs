use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use archipelago_clock::{Dot, ReplicaId, VersionVector};
use archipelago_engine::Giver;
use archipelago_pipeline::{Pipeline, PipelineError};
use archipelago_proto::{DecodeError, DeltaPiece, DeltaRequest, EntityId, Limits, Record};
use tokio::sync::{mpsc, oneshot};

use crate::{NotTaken, Notification, metrics, replica::Command, shared::Shared};

/// About how many bytes of entities one piece has.
pub(crate) const PIECE_BYTES_TARGET: usize = 256 * 1024;
/// How large a piece may be with the one entity that is over the target.
pub(crate) const PIECE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long an answer is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a question without an answer is asked again.
const ATTEMPTS_MAX: usize = 3;
/// How many rounds are asked for what came during the round before.
const ROUNDS_MAX: usize = 64;

/// Brings what this master lacks from the state of another one, when the engine asks for it: one repair at a time.
pub(crate) struct Repairer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pipeline: Arc<dyn Pipeline>,
    /// Weak, or the owner of the engine would never see the last handle go.
    pub(crate) commands: mpsc::WeakSender<Command>,
    /// From whom, and its session.
    pub(crate) wanted: mpsc::Receiver<(ReplicaId, u64)>,
    pub(crate) bytes_max: usize,
}

/// All that another master has and this one lacks.
pub(crate) struct Fetched {
    pub(crate) giver: Giver,
    pub(crate) entities: BTreeMap<EntityId, Record>,
}

/// Why a repair came to nothing. It is tried again once a heartbeat shows that it is needed.
#[derive(Debug, thiserror::Error)]
enum RepairError {
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    #[error("the answer cannot be understood: {0}")]
    Decode(#[from] DecodeError),
    #[error("the answer is not that of the master that was asked")]
    Stranger,
    #[error("the master that is asked was started again, or reclaimed removals, between two pieces")]
    Changed,
    #[error("it is more than {bytes_max} bytes, the limit repair_bytes_max")]
    TooLarge { bytes_max: usize },
    #[error("more is written there than can be fetched: no end after {ROUNDS_MAX} rounds")]
    Endless,
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    #[error("this master is closing")]
    Closed,
}

impl Repairer {
    /// Runs until the owner of the engine is gone.
    pub(crate) async fn run(mut self) {
        while let Some((from, session)) = self.wanted.recv().await {
            let started = Instant::now();
            tracing::info!(%from, "another master has what the log does not bring; repairing from its state");
            match self.repair(&from, session).await {
                Ok(entities) => {
                    let elapsed = started.elapsed();
                    tracing::info!(%from, entities, ?elapsed, "repaired");
                    metrics::add(&self.shared.counters.repairs, 1);
                    self.shared.notify(Notification::Repaired { from, entities });
                }
                Err(RepairError::Closed) => return,
                Err(error) => {
                    tracing::warn!(%from, %error, "the repair came to nothing; it is tried again if need be");
                    self.shared.notify(Notification::RepairFailed { from, reason: error.to_string() });
                }
            }
        }
    }

    async fn repair(&self, from: &ReplicaId, session: u64) -> Result<u64, RepairError> {
        let fetched = self.fetch(from, session).await?;
        let entities = fetched.entities.len() as u64;
        let commands = self.commands.upgrade().ok_or(RepairError::Closed)?;
        let (reply, taken) = oneshot::channel();
        commands.send(Command::Take { fetched, reply }).await.map_err(|_| RepairError::Closed)?;
        taken.await.map_err(|_| RepairError::Closed)??;
        Ok(entities)
    }

    /// Asks round by round until nothing came meanwhile; see [`Delta::is_whole`](archipelago_engine::Delta::is_whole).
    async fn fetch(&self, from: &ReplicaId, session: u64) -> Result<Fetched, RepairError> {
        let mut since = self.shared.vector.borrow().clone();
        let mut is_complete = since.is_empty();
        let (mut entities, mut bytes) = (BTreeMap::new(), 0);
        for _ in 0..ROUNDS_MAX {
            let (mut next, mut first_vector) = (None, None);
            loop {
                let (piece, piece_bytes) = self.ask((from, session), &since, next).await?;
                if piece.session != session {
                    return Err(RepairError::Changed);
                }
                if !since.is_empty() && !since.dominates(&piece.floor) {
                    if is_complete {
                        return Err(RepairError::Changed);
                    }
                    // Removals that are lacking here may be forgotten there: all of its state tells what is gone.
                    is_complete = true;
                    first_vector = Some(VersionVector::new());
                    break;
                }
                bytes += piece_bytes;
                if bytes > self.bytes_max {
                    return Err(RepairError::TooLarge { bytes_max: self.bytes_max });
                }
                entities.extend(piece.entities);
                next = piece.next;
                if next.is_none() && first_vector.is_none() {
                    let DeltaPiece { replica, vector, floor, told_floor, members, .. } = piece;
                    let giver = Giver { replica, vector, floor, told_floor, is_complete, members };
                    return Ok(Fetched { giver, entities });
                }
                first_vector.get_or_insert(piece.vector);
                if next.is_none() {
                    break;
                }
            }
            since = first_vector.unwrap_or(since);
        }
        Err(RepairError::Endless)
    }

    /// One piece, and its size.
    async fn ask(
        &self,
        (of, session): (&ReplicaId, u64),
        since: &VersionVector,
        from: Option<Dot>,
    ) -> Result<(DeltaPiece, usize), RepairError> {
        let request = DeltaRequest {
            namespace: self.shared.namespace.clone(),
            replica: self.shared.replica(),
            since: since.clone(),
            from,
            bytes_max: PIECE_BYTES_TARGET as u64,
        };
        let mut attempts = 1;
        let answer = loop {
            match self.pipeline.ask(&address(session), request.encode(), ANSWER_TIMEOUT).await {
                Err(error) if error.is_retryable() && attempts < ATTEMPTS_MAX => attempts += 1,
                answer => break answer?,
            }
        };
        let bytes = answer.len();
        let piece = DeltaPiece::decode(answer, &self.shared.limits, PIECE_BYTES_MAX)?;
        if piece.replica != *of || piece.namespace != self.shared.namespace {
            return Err(RepairError::Stranger);
        }
        Ok((piece, bytes))
    }
}

/// The name under which the master of a session is asked: names of masters may be shared by mistake.
pub(crate) fn address(session: u64) -> String {
    format!("{session:016x}")
}

/// What is asked of this master, if it is a question about its namespace.
pub(crate) fn question(
    payload: bytes::Bytes,
    namespace: &str,
    limits: &Limits,
) -> Result<DeltaRequest, String> {
    match DeltaRequest::decode(payload, limits) {
        Ok(request) if request.namespace != namespace => Err("it is about another namespace".into()),
        Ok(request) => Ok(request),
        Err(error) => Err(error.to_string()),
    }
}
