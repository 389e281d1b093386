//! Parts of exports that wait in the store until all of their export are there, and all that it builds on.

use std::{collections::BTreeMap, ops::Bound};

use archipelago_clock::VersionVector;
use archipelago_engine::Giver;
use archipelago_proto::{ChangesPart, DeltaPiece};
use archipelago_store::{Batch, Durability, Table};
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{
    ImportError, MultiMasterManager, NotTaken,
    repair::{Fetched, PIECE_BYTES_MAX},
    replica::Command,
    shared::Shared,
};

/// How many parts are read at a time.
const LOAD_ROWS: usize = 64;
/// How long the keys of parts are. Those of other rows in the table, see [`staging`](crate::repair::staging), are shorter.
const KEY_BYTES: usize = 24;

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

/// What is kept of exports that are not merged yet: read from the store once, and then followed.
#[derive(Debug, Default)]
pub(crate) struct Staging(BTreeMap<u128, Export>);

/// Of one export, what is there of it.
#[derive(Debug, Default)]
struct Export {
    /// Of each part, how many bytes it has.
    parts: BTreeMap<u64, u64>,
    last: Option<Last>,
}

/// What the last part of an export says of all of it.
#[derive(Clone, Debug)]
struct Last {
    index: u64,
    since: VersionVector,
    vector: VersionVector,
}

impl Staging {
    fn load(shared: &Shared) -> Result<Self, ImportError> {
        let (mut staging, mut from) = (Staging::default(), Bound::Unbounded);
        loop {
            let after = from.as_ref().map(|key: &Bytes| &key[..]);
            let rows = shared.store.scan(Table::Staged, after, Bound::Unbounded, LOAD_ROWS)?;
            let Some(last) = rows.last() else { return Ok(staging) };
            from = Bound::Excluded(last.key.clone());
            for row in rows.into_iter().filter(|row| row.key.len() == KEY_BYTES) {
                let bytes = row.value.len() as u64;
                staging.add(&ChangesPart::decode(row.value, &shared.limits, PIECE_BYTES_MAX)?, bytes);
            }
        }
    }

    fn add(&mut self, part: &ChangesPart, bytes: u64) {
        let export = self.0.entry(part.export).or_default();
        export.parts.insert(part.index, bytes);
        if part.is_last {
            let (since, vector) = (part.since.clone(), part.piece.vector.clone());
            export.last = Some(Last { index: part.index, since, vector });
        }
    }

    fn has(&self, part: &ChangesPart) -> bool {
        self.0.get(&part.export).is_some_and(|export| export.parts.contains_key(&part.index))
    }

    fn bytes(&self) -> u64 {
        self.0.values().flat_map(|export| export.parts.values()).sum()
    }

    /// Every export of which all parts are there.
    fn whole(&self) -> Vec<(u128, Last)> {
        self.0.iter().filter_map(|(id, export)| Some((*id, export.last_if_whole()?.clone()))).collect()
    }
}

impl Export {
    /// The last part, if all are there.
    fn last_if_whole(&self) -> Option<&Last> {
        let (greatest, _) = self.parts.last_key_value()?;
        // From 0 to the greatest, without a gap; that one may be any number that fits into 64 bits.
        let whole = *greatest == self.parts.len() as u64 - 1;
        self.last.as_ref().filter(|last| whole && last.index == *greatest)
    }
}

/// Keeps the part, and merges every export that is whole and builds on nothing that is missing.
pub(crate) async fn import(
    master: &MultiMasterManager,
    shared: &Shared,
    staging: &mut Option<Staging>,
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
    let staging = match staging {
        Some(staging) => staging,
        none => none.insert(Staging::load(shared)?),
    };
    if !staging.has(&part) {
        let (staged, bytes_more) = (staging.bytes(), bytes.len() as u64);
        if staged + bytes_more > bytes_max {
            return Err(ImportError::TooMuch { staged, bytes_max });
        }
        let mut batch = Batch::new();
        batch.put(Table::Staged, key.to_vec(), bytes);
        commit(shared, batch).await?;
        staging.add(&part, bytes_more);
    }
    let (mut merged, mut parted) = (None, false);
    loop {
        let before = (merged, parted);
        for (id, last) in staging.whole() {
            if covers(shared, &last.vector) {
                forget(shared, staging, id).await?;
            } else if covers(shared, &last.since) {
                let fetched = fetch(shared, id)?;
                let entities = match take(master, fetched).await {
                    // The master has another identity by now, and may have less under the old one: looked at anew.
                    Err(ImportError::NotTaken(NotTaken::Fenced { .. })) if !parted => {
                        parted = true;
                        continue;
                    }
                    Err(ImportError::NotTaken(error)) => {
                        // What may pass waits; what cannot be taken in as it is never will be. Neither is in the way of
                        // others.
                        if matches!(error, NotTaken::GiverBehind { .. } | NotTaken::Incomplete) {
                            forget(shared, staging, id).await?;
                        }
                        if id == part.export {
                            return Err(error.into());
                        }
                        continue;
                    }
                    taken => taken?,
                };
                forget(shared, staging, id).await?;
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
    Ok(match staging.0.get(&part.export) {
        None => Imported::Known,
        Some(export) if export.last_if_whole().is_some() => Imported::WaitsForChanges,
        Some(_) => Imported::WaitsForParts,
    })
}

/// Gives of how many entities it was.
async fn take(master: &MultiMasterManager, fetched: Fetched) -> Result<u64, ImportError> {
    let (reply, taken) = oneshot::channel();
    master.send(Command::Take { fetched: Box::new(fetched), reply }).await.ok_or(ImportError::Closed)?;
    Ok(taken.await.map_err(|_| ImportError::Closed)??)
}

fn covers(shared: &Shared, vector: &VersionVector) -> bool {
    shared.vector.borrow().dominates(vector)
}

fn key(export: u128, index: u64) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    key[..16].copy_from_slice(&export.to_be_bytes());
    key[16..].copy_from_slice(&index.to_be_bytes());
    key
}

/// All parts of an export together, in their order.
fn fetch(shared: &Shared, export: u128) -> Result<Fetched, ImportError> {
    let mut entities = Vec::new();
    let (mut floor, mut last) = (VersionVector::new(), None);
    for row in rows(shared, export)? {
        let mut part = ChangesPart::decode(row.value, &shared.limits, PIECE_BYTES_MAX)?;
        entities.append(&mut part.piece.entities);
        floor.merge(&part.piece.floor);
        last = Some(part);
    }
    let ChangesPart { since, piece, .. } = last.expect("an export that is whole has parts");
    let DeltaPiece { replica, vector, members, .. } = piece;
    let is_complete = since.is_empty();
    let giver = Giver { replica, vector, floor, is_complete, members };
    Ok(Fetched { giver, since, entities })
}

async fn forget(shared: &Shared, staging: &mut Staging, export: u128) -> Result<(), ImportError> {
    let mut batch = Batch::new();
    for row in rows(shared, export)? {
        batch.remove(Table::Staged, row.key);
    }
    commit(shared, batch).await?;
    staging.0.remove(&export);
    Ok(())
}

fn rows(shared: &Shared, export: u128) -> Result<Vec<archipelago_store::Row>, ImportError> {
    let (first, last) = (key(export, 0), key(export, u64::MAX));
    Ok(shared.store.scan(Table::Staged, Bound::Included(&first), Bound::Included(&last), usize::MAX)?)
}

async fn commit(shared: &Shared, batch: Batch) -> Result<(), ImportError> {
    let store = shared.store.clone();
    let committed = shared.tasks.blocking(move || store.commit(batch, Durability::Fsync)).await;
    committed.map_err(|_| ImportError::Closed)?.map_err(ImportError::Store)
}
