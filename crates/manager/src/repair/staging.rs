//! Pieces that were fetched, in the store until all that they belong to is there.
//!
//! A [`Staged`] is a sequence of [`DeltaPiece`] messages under an id: `get`, or `begin`, then `put` each piece in order,
//! and when the last one is there [`fetched`](Staged::fetched) and, once that was taken in,
//! [`remove`](Staged::remove). With each piece `put` stores in the same batch a *place*: whatever its source needs to
//! go on behind that piece. So a process that is killed anywhere finds either the piece and the place behind it, or
//! neither.
//!
//! ```text
//! let mut staged = match Staged::get(&shared, Slot::Repair).await? {
//!     Some(staged) if staged.id() == id => staged,
//!     other => {
//!         if let Some(other) = other { other.remove().await? }
//!         Staged::begin(&shared, Slot::Repair, id, VersionVector::new())
//!     }
//! };
//! for index in *staged.place()..chunks {          // a `Staged<u64>`: its place is the index of the next chunk
//!     let message = chunk(index).await?;
//!     let piece = DeltaPiece::decode(message.clone(), &shared.limits, PIECE_BYTES_MAX)?;
//!     staged.put(message, &piece, index + 1, bytes_max).await?;
//! }
//! take(staged.fetched().await?).await?;           // `Command::Take`
//! staged.remove().await?;
//! ```
//!
//! A source of its own kind needs a [`Slot`] of its own: a letter and a gauge.
//!
//! # Rows
//!
//! In [`Table::Staged`], beside the parts of imports, whose keys have 24 bytes. A key here has 9: the letter of the slot,
//! and 8 bytes, big-endian, that count the pieces from 0. The head, which says what the pieces are and how many, is under
//! the letter alone. No such key lies between two keys of one import, as those share their first 16 bytes.

use std::sync::{Arc, atomic::AtomicU64};

use archipelago_clock::{ReplicaId, VersionVector};
use archipelago_engine::Giver;
use archipelago_proto::{DecodeError, DeltaPiece};
use archipelago_store::{Batch, Durability, Store, StoreError, Table};
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Fetched, PIECE_BYTES_MAX};
use crate::{metrics, shared::Shared};

/// What pieces are staged for. Of each there is at most one in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// A repair.
    Repair,
    /// A snapshot.
    Snapshot,
}

impl Slot {
    fn letter(self) -> u8 {
        match self {
            Slot::Repair => b'r',
            Slot::Snapshot => b's',
        }
    }

    fn gauge(self, shared: &Shared) -> &AtomicU64 {
        match self {
            Slot::Repair => &shared.counters.repair_bytes_staged,
            Slot::Snapshot => &shared.counters.snapshot_bytes_staged,
        }
    }

    fn head(self) -> Vec<u8> {
        vec![self.letter()]
    }

    fn piece(self, index: u64) -> Vec<u8> {
        [&[self.letter()][..], &index.to_be_bytes()].concat()
    }
}

/// Pieces in the store, and what is known of all of them together. `Place` is where to go on, as their source counts.
#[derive(Debug)]
pub(crate) struct Staged<Place> {
    shared: Arc<Shared>,
    slot: Slot,
    head: Head<Place>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Head<Place> {
    id: String,
    /// The identity of this replica when it began.
    taker: ReplicaId,
    since: VersionVector,
    /// How many rows there are.
    rows: u64,
    /// Nothing is in the last of them: the next piece takes its place.
    last_is_empty: bool,
    bytes: u64,
    entities: u64,
    vector: VersionVector,
    floor: VersionVector,
    held: u64,
    session: u64,
    place: Place,
}

/// Why pieces could not be staged or read back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StagingError {
    /// Nothing was changed.
    #[error("it is more than {bytes_max} bytes, the limit repair_bytes_max; raise it")]
    TooLarge { bytes_max: u64 },
    /// Nothing was changed.
    #[error("a piece cannot be understood: {0}")]
    Decode(#[from] DecodeError),
    /// Remove what is staged.
    #[error("piece {index} of what is staged is missing from the store")]
    Missing { index: u64 },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("this master is closing")]
    Closed,
}

impl StagingError {
    /// True if what is staged cannot be read back.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, StagingError::Decode(_) | StagingError::Missing { .. })
    }
}

impl<Place> Staged<Place>
where
    Place: Clone + Default + Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// What is staged in the slot and can still be used. It can if this replica has the identity that it had, and has
    /// still applied all that the pieces build on; otherwise, and if the rows are damaged or of another build, they are
    /// removed.
    ///
    /// # Errors
    /// [`StagingError::Store`], [`StagingError::Closed`].
    pub(crate) async fn get(shared: &Arc<Shared>, slot: Slot) -> Result<Option<Self>, StagingError> {
        let row = {
            let store = shared.store.clone();
            blocking(shared, move || Ok(store.get(Table::Staged, &slot.head())?)).await?
        };
        let Some(row) = row else { return Ok(None) };
        let head = match rmp_serde::from_slice::<Head<Place>>(&row) {
            Ok(head) => head,
            Err(error) => {
                tracing::warn!(%error, "what was staged is of another build, or damaged; it is dropped");
                let store = shared.store.clone();
                blocking(shared, move || remove_unknown(&*store, slot)).await?;
                return Ok(None);
            }
        };
        let staged = Staged { shared: shared.clone(), slot, head };
        let is_of_use =
            staged.head.taker == shared.replica() && shared.vector.borrow().dominates(&staged.head.since);
        if !is_of_use {
            staged.remove().await?;
            return Ok(None);
        }
        staged.count();
        Ok(Some(staged))
    }

    /// Nothing yet, for this id, of what a holder of `since` lacks; `since` must not be more than this replica has
    /// applied. Empty stands for everything. The slot must be empty: [`remove`](Self::remove) what is there.
    pub(crate) fn begin(shared: &Arc<Shared>, slot: Slot, id: String, since: VersionVector) -> Self {
        let head = Head {
            id,
            taker: shared.replica(),
            since,
            rows: 0,
            last_is_empty: false,
            bytes: 0,
            entities: 0,
            vector: VersionVector::new(),
            floor: VersionVector::new(),
            held: 0,
            session: 0,
            place: Place::default(),
        };
        Staged { shared: shared.clone(), slot, head }
    }

    /// Whose pieces these are.
    pub(crate) fn id(&self) -> &str {
        &self.head.id
    }

    /// What the first piece was asked for.
    pub(crate) fn since(&self) -> &VersionVector {
        &self.head.since
    }

    /// Where to go on; the default at the beginning.
    pub(crate) fn place(&self) -> &Place {
        &self.head.place
    }

    /// How many bytes the pieces have.
    pub(crate) fn bytes(&self) -> u64 {
        self.head.bytes
    }

    /// How many entities the pieces have; one that came twice counts twice.
    pub(crate) fn entities(&self) -> u64 {
        self.head.entities
    }

    /// How many entities there will be, if everything was asked for and the giver tells.
    pub(crate) fn entities_total(&self) -> Option<u64> {
        (self.head.since.is_empty() && self.head.held > 0).then_some(self.head.held)
    }

    /// How many pieces there are; one without entities only counts while it is the last.
    pub(crate) fn pieces(&self) -> u64 {
        self.head.rows
    }

    /// The session of the giver when it gave the last piece.
    pub(crate) fn session(&self) -> u64 {
        self.head.session
    }

    /// What the giver had applied when it gave the last piece.
    pub(crate) fn vector(&self) -> &VersionVector {
        &self.head.vector
    }

    /// Stores the next piece, and the place behind it. The message is a [`DeltaPiece`] of this namespace that decodes
    /// with the limits of this master.
    ///
    /// # Errors
    /// [`StagingError::TooLarge`] beyond `bytes_max` of all pieces together, [`StagingError::Store`],
    /// [`StagingError::Closed`]. Nothing was changed.
    pub(crate) async fn put(
        &mut self,
        message: Bytes,
        piece: &DeltaPiece,
        place: Place,
        bytes_max: u64,
    ) -> Result<(), StagingError> {
        let (head, entities) = (&self.head, piece.entities.len() as u64);
        let bytes = head.bytes + message.len() as u64;
        if bytes > bytes_max {
            return Err(StagingError::TooLarge { bytes_max });
        }
        let index = head.rows - u64::from(head.last_is_empty);
        let mut floor = head.floor.clone();
        floor.merge(&piece.floor);
        let next = Head {
            rows: index + 1,
            last_is_empty: entities == 0,
            bytes: if entities == 0 { head.bytes } else { bytes },
            entities: head.entities + entities,
            vector: piece.vector.clone(),
            floor,
            held: piece.held,
            session: piece.session,
            place,
            ..head.clone()
        };
        let mut batch = Batch::new();
        batch.put(Table::Staged, self.slot.piece(index), message);
        let row = rmp_serde::to_vec_named(&next).expect("a head is plain data");
        batch.put(Table::Staged, self.slot.head(), row);
        self.commit(batch).await?;
        self.head = next;
        self.count();
        Ok(())
    }

    /// All pieces together, in their order. This is where they come into memory.
    /// The rows stay.
    ///
    /// # Errors
    /// [`StagingError::Decode`] and [`StagingError::Missing`] if the rows are damaged, [`StagingError::Store`],
    /// [`StagingError::Closed`].
    pub(crate) async fn fetched(&self) -> Result<Fetched, StagingError> {
        let (shared, slot, rows) = (self.shared.clone(), self.slot, self.head.rows);
        let (since, floor) = (self.head.since.clone(), self.head.floor.clone());
        blocking(&self.shared, move || {
            let mut entities = Vec::new();
            let mut last = None;
            for index in 0..rows {
                let row = shared.store.get(Table::Staged, &slot.piece(index))?;
                let row = row.ok_or(StagingError::Missing { index })?;
                let mut piece = DeltaPiece::decode(row, &shared.limits, PIECE_BYTES_MAX)?;
                entities.append(&mut piece.entities);
                last = Some(piece);
            }
            let last = last.ok_or(StagingError::Missing { index: 0 })?;
            let DeltaPiece { replica, vector, members, .. } = last;
            let is_complete = since.is_empty();
            let giver = Giver { replica, vector, floor, is_complete, members };
            Ok(Fetched { giver, since, entities })
        })
        .await
    }

    /// Removes the rows. Afterwards the slot is empty.
    ///
    /// # Errors
    /// [`StagingError::Store`], [`StagingError::Closed`].
    pub(crate) async fn remove(self) -> Result<(), StagingError> {
        let mut batch = Batch::new();
        batch.remove(Table::Staged, self.slot.head());
        for index in 0..self.head.rows {
            batch.remove(Table::Staged, self.slot.piece(index));
        }
        self.commit(batch).await?;
        metrics::set(self.slot.gauge(&self.shared), 0);
        Ok(())
    }

    fn count(&self) {
        metrics::set(self.slot.gauge(&self.shared), self.head.bytes);
    }

    async fn commit(&self, batch: Batch) -> Result<(), StagingError> {
        let store = self.shared.store.clone();
        // What is lost with the power can be fetched again, and of batches an end is lost, nothing in between.
        blocking(&self.shared, move || Ok(store.commit(batch, Durability::Os)?)).await
    }
}

/// Removes rows of which only the keys are understood.
fn remove_unknown(store: &dyn Store, slot: Slot) -> Result<(), StagingError> {
    let mut batch = Batch::new();
    batch.remove(Table::Staged, slot.head());
    let mut index = 0;
    while store.get(Table::Staged, &slot.piece(index))?.is_some() {
        batch.remove(Table::Staged, slot.piece(index));
        index += 1;
    }
    Ok(store.commit(batch, Durability::Os)?)
}

async fn blocking<T: Send + 'static>(
    shared: &Shared,
    work: impl FnOnce() -> Result<T, StagingError> + Send + 'static,
) -> Result<T, StagingError> {
    shared.tasks.blocking(work).await.map_err(|_| StagingError::Closed)?
}
