use std::time::Duration;

use archipelago_clock::ReplicaId;
use archipelago_engine::Round;
use archipelago_pipeline::Pipeline;
use archipelago_proto::{DeltaPiece, DeltaRequest};
use bytes::Bytes;

use super::{PIECE_BYTES_MAX, PIECE_BYTES_TARGET, RepairError, address};
use crate::shared::Shared;

/// How long an answer is waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a question without an answer is asked again.
const ATTEMPTS_MAX: usize = 3;

/// Another master, as it is asked for pieces of its state.
pub(super) struct Peer<'a> {
    pub(super) replica: &'a ReplicaId,
    pub(super) session: u64,
    pub(super) pipeline: &'a dyn Pipeline,
    pub(super) shared: &'a Shared,
}

impl Peer<'_> {
    /// The piece where the round is, and its message.
    pub(super) async fn ask(&self, round: &Round) -> Result<(DeltaPiece, Bytes), RepairError> {
        let request = DeltaRequest {
            namespace: self.shared.namespace.clone(),
            replica: self.shared.replica(),
            since: round.since.clone(),
            from: round.from.clone(),
            bytes_max: PIECE_BYTES_TARGET as u64,
        };
        let (address, request) = (address(self.session), request.encode());
        let mut attempts = 1;
        let message = loop {
            match self.pipeline.ask(&address, request.clone(), ANSWER_TIMEOUT).await {
                Err(error) if error.is_retryable() && attempts < ATTEMPTS_MAX => attempts += 1,
                answer => break answer?,
            }
        };
        let piece = DeltaPiece::decode(message.clone(), &self.shared.limits, PIECE_BYTES_MAX)?;
        let is_of_peer = piece.replica == *self.replica && piece.session == self.session;
        if !is_of_peer || piece.namespace != self.shared.namespace {
            return Err(RepairError::Stranger);
        }
        Ok((piece, message))
    }
}
