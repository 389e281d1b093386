use archipelago_clock::{Dot, VersionVector};
use archipelago_proto::{ChangesPart, DeltaPiece, DeltaRequest};
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{MultiMasterManager, ReadError, SessionToken, repair::PIECE_BYTES_TARGET, replica::Command};

/// All that one replica has and another one lacks, as parts of bounded size for any road: a file, a request, a stick.
/// Made by [`MultiMasterManager::changes_since`]; each part goes into [`MultiMasterManager::import`].
#[derive(Debug)]
pub struct Changes<'a> {
    master: &'a MultiMasterManager,
    export: u128,
    since: VersionVector,
    index: u64,
    /// What the round at hand asks for: what came since the round before began.
    round_since: VersionVector,
    round_vector: Option<VersionVector>,
    next: Option<Dot>,
    done: bool,
}

impl<'a> Changes<'a> {
    pub(crate) fn new(master: &'a MultiMasterManager, since: &SessionToken) -> Self {
        Changes {
            master,
            export: master.shared().random.word(),
            since: since.vector().clone(),
            index: 0,
            round_since: since.vector().clone(),
            round_vector: None,
            next: None,
            done: false,
        }
    }

    /// The next part, of about 256 KiB; `None` after the last one.
    ///
    /// # Errors
    /// [`ReadError::Closed`] if the manager is closed or its store failed, [`ReadError::Reclaimed`] if the parts were read too
    /// slowly. The parts so far are of no use then.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        if self.done {
            return Ok(None);
        }
        let mut piece = self.read().await?;
        if self.index == 0 && !self.since.is_empty() && !self.since.dominates(&piece.floor) {
            // Removals that are lacking there may be forgotten here: all of the state tells what is gone.
            (self.since, self.round_since) = (VersionVector::new(), VersionVector::new());
            piece = self.read().await?;
        }
        if !self.round_since.is_empty() && !self.round_since.dominates(&piece.floor) {
            return Err(ReadError::Reclaimed);
        }
        // Round by round, until nothing came while the round was read.
        let is_last = self.round_vector.is_none() && piece.next.is_none();
        self.next.clone_from(&piece.next);
        let round_vector = self.round_vector.get_or_insert_with(|| piece.vector.clone());
        if piece.next.is_none() {
            self.round_since.clone_from(round_vector);
            self.round_vector = None;
        }
        let (export, since, index) = (self.export, self.since.clone(), self.index);
        self.index += 1;
        self.done = is_last;
        Ok(Some(ChangesPart { export, since, index, is_last, piece }.encode()))
    }

    /// All parts that are left.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn all(mut self) -> Result<Vec<Bytes>, ReadError> {
        let mut parts = Vec::new();
        while let Some(part) = self.next().await? {
            parts.push(part);
        }
        Ok(parts)
    }

    async fn read(&self) -> Result<DeltaPiece, ReadError> {
        let request = DeltaRequest {
            namespace: self.master.namespace().to_owned(),
            replica: self.master.master_id(),
            since: self.round_since.clone(),
            from: self.next.clone(),
            bytes_max: PIECE_BYTES_TARGET as u64,
        };
        let (reply, piece) = oneshot::channel();
        self.master.send(Command::Give { request, reply }).await.ok_or(ReadError::Closed)?;
        piece.await.map_err(|_| ReadError::Closed)
    }
}
