//! Parts of exports that wait in the store until all of their export are there, and all that it builds on.

use std::{collections::BTreeMap, ops::Bound};

use archipelago_clock::VersionVector;
use archipelago_proto::{ChangesPart, EntityId, Record};
use archipelago_store::{Batch, Durability, Table};
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    ImportError, MultiMasterManager, NotTaken,
    repair::{Fetched, PIECE_BYTES_MAX},
    replica::Command,
    shared::Shared,
};

/// What came of [`MultiMasterManager::import`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Imported {
    /// Whole exports are merged and visible, this part's or others that had waited for it.
    Merged {
        /// How many entities they held.
        entities: u64,
    },
    /// Nothing new was in it.
    Known,
    /// It is kept, also across restarts, until the other parts of its export come.
    WaitsForParts,
    /// It is kept, also across restarts: its export builds on changes that have not come yet.
    WaitsForChanges,
}

/// Of one export, what is there of it.
#[derive(Debug, Default)]
struct Export {
    parts: BTreeMap<u64, ChangesPart>,
}

impl Export {
    /// The last part, if all are there.
    fn last(&self) -> Option<&ChangesPart> {
        let (index, last) = self.parts.last_key_value()?;
        (last.is_last && self.parts.len() as u64 == index + 1).then_some(last)
    }

    fn into_fetched(self) -> Option<Fetched> {
        let vector = self.last()?.piece.vector.clone();
        let mut entities: BTreeMap<EntityId, Record> = BTreeMap::new();
        self.parts.into_values().for_each(|part| entities.extend(part.piece.entities));
        Some(Fetched { vector, entities })
    }
}

/// Keeps the part, and merges every export that is whole and builds on nothing that is missing.
pub(crate) async fn import(
    master: &MultiMasterManager,
    shared: &Shared,
    bytes: Bytes,
    bytes_max: u64,
) -> Result<Imported, ImportError> {
    let part = ChangesPart::decode(bytes.clone(), &shared.limits, PIECE_BYTES_MAX)?;
    if part.piece.namespace != shared.namespace {
        let (expected, found) = (shared.namespace.clone(), part.piece.namespace);
        return Err(ImportError::ForeignNamespace { expected, found });
    }
    let key = key(part.export, part.index);
    if part.is_last && part.index == 0 && covers(shared, &part.piece.vector) {
        return Ok(Imported::Known);
    }
    let staged = staged_bytes(shared)?;
    if shared.store.get(Table::Staged, &key)?.is_none() {
        if staged + bytes.len() as u64 > bytes_max {
            return Err(ImportError::TooMuch { staged, bytes_max });
        }
        let mut batch = Batch::new();
        batch.put(Table::Staged, key.to_vec(), bytes);
        commit(shared, batch).await?;
    }
    let (mut merged, mut parted) = (None, false);
    loop {
        let before = (merged, parted);
        for id in exports(shared)? {
            let export = load(shared, id)?;
            let Some(last) = export.last() else { continue };
            if covers(shared, &last.piece.vector) {
                forget(shared, id).await?;
            } else if covers(shared, &last.since) {
                let Some(fetched) = export.into_fetched() else { continue };
                let entities = fetched.entities.len() as u64;
                match take(master, fetched).await {
                    // The master has another identity by now, and may have less under the old one: looked at anew.
                    Err(ImportError::NotTaken(NotTaken::Fenced { .. })) if !parted => {
                        parted = true;
                        continue;
                    }
                    taken => taken?,
                }
                forget(shared, id).await?;
                merged = Some(merged.unwrap_or(0) + entities);
            }
        }
        if (merged, parted) == before {
            break;
        }
    }
    if let Some(entities) = merged {
        return Ok(Imported::Merged { entities });
    }
    let export = load(shared, part.export)?;
    Ok(match (export.parts.is_empty(), export.last()) {
        (true, _) => Imported::Known,
        (false, Some(_)) => Imported::WaitsForChanges,
        (false, None) => Imported::WaitsForParts,
    })
}

async fn take(master: &MultiMasterManager, fetched: Fetched) -> Result<(), ImportError> {
    let (reply, taken) = oneshot::channel();
    master.send(Command::Take { fetched, reply }).await.ok_or(ImportError::Closed)?;
    Ok(taken.await.map_err(|_| ImportError::Closed)??)
}

fn covers(shared: &Shared, vector: &VersionVector) -> bool {
    shared.vector.borrow().dominates(vector)
}

fn key(export: u128, index: u64) -> [u8; 24] {
    let mut key = [0; 24];
    key[..16].copy_from_slice(&export.to_be_bytes());
    key[16..].copy_from_slice(&index.to_be_bytes());
    key
}

/// The exports of which parts are kept.
fn exports(shared: &Shared) -> Result<Vec<u128>, ImportError> {
    let (mut ids, mut from) = (Vec::new(), Bound::Unbounded);
    loop {
        let rows = shared.store.scan(
            Table::Staged,
            from.as_ref().map(|key: &[u8; 24]| &key[..]),
            Bound::Unbounded,
            1,
        )?;
        let Some(id) = rows.first().and_then(|row| row.key.get(..16)?.try_into().ok()) else {
            return Ok(ids);
        };
        let id = u128::from_be_bytes(id);
        ids.push(id);
        from = Bound::Excluded(key(id, u64::MAX));
    }
}

fn load(shared: &Shared, export: u128) -> Result<Export, ImportError> {
    let mut loaded = Export::default();
    for row in rows(shared, export)? {
        let part = ChangesPart::decode(row.value, &shared.limits, PIECE_BYTES_MAX)?;
        loaded.parts.insert(part.index, part);
    }
    Ok(loaded)
}

async fn forget(shared: &Shared, export: u128) -> Result<(), ImportError> {
    let mut batch = Batch::new();
    for row in rows(shared, export)? {
        batch.remove(Table::Staged, row.key);
    }
    commit(shared, batch).await
}

fn rows(shared: &Shared, export: u128) -> Result<Vec<archipelago_store::Row>, ImportError> {
    let (first, last) = (key(export, 0), key(export, u64::MAX));
    Ok(shared.store.scan(Table::Staged, Bound::Included(&first), Bound::Included(&last), usize::MAX)?)
}

fn staged_bytes(shared: &Shared) -> Result<u64, ImportError> {
    let rows = shared.store.scan(Table::Staged, Bound::Unbounded, Bound::Unbounded, usize::MAX)?;
    Ok(rows.iter().map(|row| row.value.len() as u64).sum())
}

async fn commit(shared: &Shared, batch: Batch) -> Result<(), ImportError> {
    let store = shared.store.clone();
    let committed = tokio::task::spawn_blocking(move || store.commit(batch, Durability::Fsync)).await;
    committed.map_err(|_| ImportError::Closed)?.map_err(ImportError::Store)
}
