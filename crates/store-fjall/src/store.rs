use std::{
    collections::HashSet,
    fmt,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard},
};

use archipelago_store::{Batch, Change, Durability, KeyRange, Row, Store, StoreError, Table, limits};
use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};
use foldhash::fast::RandomState;

use crate::{FjallOptions, folder::Folder, row_cache::RowCache};

/// A store in a folder on disk. The strongest durability is [`Durability::Fsync`].
///
/// Dropping it closes it, except that an error of the last sync goes unseen.
pub struct FjallStore {
    path: PathBuf,
    /// `None` once closed. Calls hold it for reading, so that closing waits for them.
    open: RwLock<Option<Open>>,
    /// Why a commit failed, if one did.
    poison: OnceLock<String>,
}

/// What is released when the store closes, in this order: the lock of the folder comes last.
struct Open {
    /// By [`Table::place`].
    keyspaces: Vec<Keyspace>,
    entities: Option<RowCache>,
    database: Database,
    _folder: Folder,
}

impl FjallStore {
    /// Opens the store in this folder with the default [options](FjallOptions). A folder that does not exist is
    /// created with its parents; in one that exists, files that are none of the store's are left alone.
    ///
    /// # Errors
    ///
    /// [`StoreError::Locked`] if it is open already, in this process or another; [`StoreError::Open`] if the folder
    /// cannot be created, read or written, holds a format that this version does not know, or is damaged. Nothing
    /// but new files and a batch torn by a crash at the end of the journal is changed by a failed opening.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        FjallOptions::new().open(path)
    }

    pub(crate) fn open_with(path: &Path, options: FjallOptions) -> Result<Self, StoreError> {
        let folder = Folder::lock(path)?;
        let database = folder.open_database(options, |new| keyspaces(new).map(drop))?;
        let keyspaces = keyspaces(&database).map_err(|error| folder.fjall_error("open a table", &error))?;
        Ok(FjallStore {
            path: folder.path().to_owned(),
            open: RwLock::new(Some(Open {
                keyspaces,
                entities: RowCache::new(options.row_cache_bytes),
                database,
                _folder: folder,
            })),
            poison: OnceLock::new(),
        })
    }

    /// The folder of the store, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn read<T>(
        &self,
        action: &'static str,
        read: impl FnOnce(&Open) -> fjall::Result<T>,
    ) -> Result<T, StoreError> {
        let open = self.lock();
        let open = open.as_ref().ok_or(StoreError::Closed)?;
        read(open).map_err(|error| io_error(action, error))
    }

    /// Keeps the first reason why commits are refused from now on.
    fn poison(&self, error: fjall::Error) -> StoreError {
        let reason = self.poison.get_or_init(|| {
            tracing::error!(path = ?self.path, %error, "a commit failed; the store refuses writes until reopened");
            error.to_string()
        });
        match error {
            // Not this commit failed, but an earlier one or a flush in the background.
            fjall::Error::Poisoned => StoreError::Poisoned { reason: reason.clone() },
            error => io_error("commit a batch", error),
        }
    }

    fn lock(&self) -> RwLockReadGuard<'_, Option<Open>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for FjallStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.read("read a row", |open| {
            if !limits::is_key(key) {
                return Ok(None);
            }
            let entities = open.entities.as_ref().filter(|_| table == Table::Entities);
            if let Some(row) = entities.and_then(|rows| rows.get(key)) {
                return Ok(Some(row));
            }
            Ok(open.keyspace(table).get(key)?.map(|value| Bytes::copy_from_slice(&value)))
        })
    }

    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.read("scan a table", |open| {
            let Some(range) = KeyRange::new(from, to) else { return Ok(Vec::new()) };
            let rows = open.database.snapshot().range::<&[u8], _>(open.keyspace(table), range).take(limit);
            rows.map(|row| {
                let (key, value) = row.into_inner()?;
                Ok(Row { key: Bytes::copy_from_slice(&key), value: Bytes::copy_from_slice(&value) })
            })
            .collect()
        })
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        let open = self.lock();
        let open = open.as_ref().ok_or(StoreError::Closed)?;
        if let Some(reason) = self.poison.get() {
            return Err(StoreError::Poisoned { reason: reason.clone() });
        }
        limits::check(&batch)?;
        open.commit(batch, persist_mode(durability)).map_err(|error| self.poison(error))
    }

    fn strongest_durability(&self) -> Durability {
        Durability::Fsync
    }

    fn close(&self) -> Result<(), StoreError> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let open = open.take().ok_or(StoreError::Closed)?;
        if self.poison.get().is_some() {
            // The failed commit was reported; there is nothing that a sync could still promise.
            return Ok(());
        }
        open.database.persist(PersistMode::SyncAll).map_err(|error| io_error("sync before closing", error))
    }
}

impl Open {
    fn keyspace(&self, table: Table) -> &Keyspace {
        &self.keyspaces[table.place()]
    }

    fn commit(&self, batch: Batch, mode: Option<PersistMode>) -> fjall::Result<()> {
        if batch.is_empty() {
            // fjall would not even look at the durability of an empty batch.
            return mode.map_or(Ok(()), |mode| self.database.persist(mode));
        }
        let changes = last_changes(batch);
        let mut write = self.database.batch().durability(mode);
        for Change { table, key, value } in &changes {
            let keyspace = self.keyspace(*table);
            match value {
                Some(value) => write.insert(keyspace, &key[..], &value[..]),
                None => write.remove(keyspace, &key[..]),
            }
        }
        match &self.entities {
            Some(rows) => rows.through(&changes, || write.commit()),
            None => write.commit(),
        }
    }
}

impl fmt::Debug for FjallStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FjallStore")
            .field("path", &self.path)
            .field("poison", &self.poison)
            .finish_non_exhaustive()
    }
}

fn keyspaces(database: &Database) -> fjall::Result<Vec<Keyspace>> {
    let open = |table: Table| database.keyspace(table.name(), || create_options(table));
    Table::ALL.into_iter().map(open).collect()
}

/// How a new table is laid out. The tables that hold little at a time, but are written with every commit, are flushed
/// sooner: their memory would hold nothing but rows overwritten and removed since, for every scan to walk over. And fjall
/// frees what was flushed under a lock that commits wait for, which takes the longer the more rows that were.
fn create_options(table: Table) -> KeyspaceCreateOptions {
    let memtable_bytes = match table {
        Table::Entities => 32 << 20,
        _ => 4 << 20,
    };
    KeyspaceCreateOptions::default().max_memtable_size(memtable_bytes)
}

/// What a durability asks of fjall; `None` leaves the batch in a buffer of this process.
fn persist_mode(durability: Durability) -> Option<PersistMode> {
    match durability {
        Durability::Memory => None,
        Durability::Os => Some(PersistMode::Buffer),
        Durability::Fsync => Some(PersistMode::SyncAll),
    }
}

/// The last change of each row. All changes of a fjall batch carry one sequence number, and which of two changes
/// of a row then wins is not documented.
fn last_changes(batch: Batch) -> Vec<Change> {
    let mut changes = batch.into_changes();
    if changes.len() > 1 {
        let mut seen = HashSet::with_capacity_and_hasher(changes.len(), RandomState::default());
        let is_last: Vec<_> =
            changes.iter().rev().map(|change| seen.insert((change.table, &change.key[..]))).collect();
        if seen.len() < changes.len() {
            drop(seen);
            let mut is_last = is_last.into_iter().rev();
            changes.retain(|_| is_last.next().expect("one flag for each change"));
        }
    }
    changes
}

fn io_error(action: &'static str, error: fjall::Error) -> StoreError {
    StoreError::Io { action, source: Box::new(error) }
}
