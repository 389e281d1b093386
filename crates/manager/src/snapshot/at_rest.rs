//! A snapshot of a store that no master runs on.

use std::{ops::Bound, sync::Arc};

use archipelago_pipeline::snapshots::SnapshotStore;
use archipelago_proto::{DeltaPiece, EntityId, Limits, LogPlace, Record, Version};
use archipelago_store::{Row, Store, Table};
use bytes::Bytes;

use super::{
    SnapshotError, SnapshotInfo, SnapshotProgress,
    writing::{End, Writing},
};
use crate::{
    StartError, SystemClock, WallClock,
    persist::{self, StoredMaster},
    repair::PIECE_BYTES_TARGET,
};

/// How many rows are read at a time.
const PAGE_ROWS: usize = 1_024;

/// Stores a snapshot of what is in a store that no master runs on; `progress` is told after each chunk. The strategies of
/// the master are not known here, and not needed: its rows are taken as they are. `expected` is the name and the namespace
/// that the store must have, where given.
///
/// Dropped before it ends, it leaves nothing that is listed.
///
/// # Errors
/// [`SnapshotError::Empty`], [`SnapshotError::Start`] if it is the store of another master or cannot be read,
/// [`SnapshotError::Snapshots`].
pub async fn snapshot_at_rest(
    store: Arc<dyn Store>,
    snapshots: &dyn SnapshotStore,
    expected: (Option<&str>, Option<&str>),
    limits: &Limits,
    mut progress: impl FnMut(SnapshotProgress),
) -> Result<SnapshotInfo, SnapshotError> {
    let at_rest = persist::look(&*store)?.ok_or(SnapshotError::Empty)?;
    let found = [("master", at_rest.replica.name()), ("namespace", &*at_rest.namespace)];
    for ((what, found), expected) in found.into_iter().zip([expected.0, expected.1]) {
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            let (found, expected) = (found.to_owned(), expected.to_owned());
            return Err(StartError::ForeignStore { what, found, expected }.into());
        }
    }
    let of = (&*at_rest.namespace, &at_rest.replica);
    let mut writing = Writing::begin(snapshots, of, SystemClock.now_unix_ms(), 0, None).await?;
    let mut rows = Rows { store, after: None, page: Vec::new().into_iter(), is_end: false };
    let (mut piece, mut bytes) = (empty(&at_rest), 0);
    while let Some((entity, record, row_bytes)) = rows.next(&at_rest, limits).await? {
        if bytes > 0 && bytes + row_bytes > PIECE_BYTES_TARGET {
            writing.write(std::mem::replace(&mut piece, empty(&at_rest))).await?;
            progress(writing.progress);
            bytes = 0;
        }
        bytes += row_bytes;
        piece.entities.push((entity, record));
    }
    let last = writing.write(piece).await?;
    progress(writing.progress);
    let place = at_rest.checkpoint.as_ref().map(|checkpoint| LogPlace {
        created_unix_ns: checkpoint.log.created_unix_ns,
        sequence: checkpoint.sequence,
    });
    let end = End { strategies: None, place, state_digest: None };
    writing.finish(last, end, limits).await.map(|(info, _)| info)
}

fn empty(at_rest: &StoredMaster) -> DeltaPiece {
    DeltaPiece {
        namespace: at_rest.namespace.clone(),
        replica: at_rest.replica.clone(),
        session: 0,
        vector: at_rest.restored.vector.clone(),
        entities: Vec::new(),
        next: None,
        floor: at_rest.restored.floors.1.clone(),
        told_floor: at_rest.restored.floors.0.clone(),
        members: at_rest.restored.members.clone(),
        held: 0,
    }
}

/// The stored entities, one by one.
struct Rows {
    store: Arc<dyn Store>,
    after: Option<Bytes>,
    page: std::vec::IntoIter<Row>,
    is_end: bool,
}

impl Rows {
    /// The next entity, and how many bytes its row has.
    async fn next(
        &mut self,
        at_rest: &StoredMaster,
        limits: &Limits,
    ) -> Result<Option<(EntityId, Record, usize)>, SnapshotError> {
        let row = match self.page.next() {
            Some(row) => row,
            None if self.is_end => return Ok(None),
            None => {
                let (store, after) = (self.store.clone(), self.after.clone());
                let scan = move || {
                    let from = after.as_ref().map_or(Bound::Unbounded, |after| Bound::Excluded(&after[..]));
                    store.scan(Table::Entities, from, Bound::Unbounded, PAGE_ROWS)
                };
                let page = tokio::task::spawn_blocking(scan).await.map_err(|_| SnapshotError::Closed)??;
                self.is_end = page.len() < PAGE_ROWS;
                self.after = page.last().map(|row| row.key.clone());
                self.page = page.into_iter();
                let Some(row) = self.page.next() else { return Ok(None) };
                row
            }
        };
        let damaged = |reason: String| StartError::Row { row: row.key.escape_ascii().to_string(), reason };
        let entity = EntityId::from_utf8(row.key.clone());
        let entity = entity.ok_or_else(|| damaged("the id of an entity is not UTF-8".into()))?;
        let bytes = row.key.len() + row.value.len();
        let record = Record::decode(row.value.clone(), &at_rest.restored.replicas, limits)
            .map_err(|error| damaged(error.to_string()))?;
        let is_unknown = |version: &Version| !at_rest.restored.vector.contains(&version.dot);
        if record.versions.iter().any(is_unknown) {
            return Err(damaged("it holds a write that its store does not know of".into()).into());
        }
        Ok(Some((entity, record, bytes)))
    }
}
