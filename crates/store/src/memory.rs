mod bucket;
mod entities;
mod hashed_row;
mod order;
mod packed_row;
mod slots;

use std::{
    collections::BTreeSet,
    ops::Bound,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use self::{
    entities::Entities,
    packed_row::{Keyed, PackedRow, Split, in_range},
};
use crate::{Batch, Change, Durability, KeyRange, Row, Store, StoreError, Table, limits, store::up_to};

/// A store in memory: for tests, simulations, caches, and replicas that may forget.
///
/// [`Table::Entities`] is a concurrent hash map (dashmap) of small buckets, for point reads and writes that hardly
/// meet. A bucket finds a row by a hash, and a value of about the same length replaces the old one in place. A page of
/// a scan visits every bucket, so its cost follows the rows of the page and not the rows of the table, but read pages
/// of a thousand rows rather than of ten; commits wait meanwhile. The first page after new rows puts the last of them in
/// order, up to 63 in a bucket. The other tables are ordered maps. An entity costs
/// about 60 bytes beyond the bytes of its key and value, a row of another table about 50, and each what the allocator
/// adds.
///
/// Clones are the same handle. [`reopen`](MemoryStore::reopen) gives a new handle on the same rows, as a process
/// would get that starts again after a crash: the old handle and its clones are closed by it.
///
/// The strongest durability is [`Durability::Memory`].
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    rows: Arc<Rows>,
    /// Which of the handles on these rows this is.
    generation: u64,
}

#[derive(Debug, Default)]
struct Rows {
    entities: Entities,
    /// The generation of the handle that is open, or [`NONE_OPEN`]. Changes only under the lock below.
    open_generation: AtomicU64,
    /// Held for writing by a commit from its first change to its last, and for reading by a scan.
    ordered: RwLock<Ordered>,
}

type OrderedTable = BTreeSet<PackedRow>;

#[derive(Debug, Default)]
struct Ordered {
    /// Every table but the entities, at [`Table::place`].
    tables: [OrderedTable; Table::ALL.len()],
    handle: Handle,
}

/// The state of the newest handle. All older ones are closed.
#[derive(Debug, Default)]
struct Handle {
    generation: u64,
    next_failure: Option<String>,
    poison: Option<String>,
}

const NONE_OPEN: u64 = u64::MAX;

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A fresh handle on the same rows; this handle, all its clones, and any other handle on these rows are closed.
    /// A poisoned store takes commits again.
    pub fn reopen(&self) -> Self {
        let mut ordered = self.write();
        let generation = ordered.handle.generation + 1;
        ordered.handle = Handle { generation, ..Handle::default() };
        self.rows.open_generation.store(generation, Ordering::Release);
        MemoryStore { rows: Arc::clone(&self.rows), generation }
    }

    /// Another store with the same rows, as a copy of a folder would be; it is open, and this one stays as it is.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = MemoryStore::new();
        let ordered = self.read();
        let mut rows = copy.write();
        rows.tables.clone_from(&ordered.tables);
        for row in self.rows.entities.scan(&KeyRange::all(), usize::MAX) {
            copy.rows.entities.apply(&row.key, Some(&row.value));
        }
        drop(rows);
        copy
    }

    /// Makes the next commit with any changes or none fail with [`StoreError::Io`] for this reason, with nothing of
    /// it stored. The store is poisoned from then on, until it is [reopened](MemoryStore::reopen).
    pub fn fail_next_commit(&self, reason: impl Into<String>) {
        self.write().handle.next_failure = Some(reason.into());
    }

    fn check_open(&self) -> Result<(), StoreError> {
        let is_open = self.rows.open_generation.load(Ordering::Acquire) == self.generation;
        is_open.then_some(()).ok_or(StoreError::Closed)
    }

    fn read(&self) -> RwLockReadGuard<'_, Ordered> {
        self.rows.ordered.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Ordered> {
        // Nothing panics while it holds the lock, short of failing to allocate.
        self.rows.ordered.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.check_open()?;
        Ok(match table {
            Table::Entities => self.rows.entities.get(key),
            ordered => {
                let (tables, key) = (self.read(), Split::new(key));
                let row = tables.tables[ordered.place()].get(&key as &dyn Keyed);
                row.map(|row| Bytes::copy_from_slice(row.value()))
            }
        })
    }

    fn get_many(
        &self,
        table: Table,
        keys: &[&[u8]],
        bytes_max: usize,
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        self.check_open()?;
        match table {
            Table::Entities => self.rows.entities.get_many(keys, bytes_max),
            ordered => up_to(bytes_max, keys.iter().map(|key| self.get(ordered, key))),
        }
    }

    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let ordered = self.read();
        self.check_open()?;
        let Some(range) = KeyRange::new(from, to) else { return Ok(Vec::new()) };
        let page = |rows: &OrderedTable| in_range(rows, &range).take(limit).map(PackedRow::to_row).collect();
        Ok(match table {
            Table::Entities => self.rows.entities.scan(&range, limit),
            table => page(&ordered.tables[table.place()]),
        })
    }

    fn commit(&self, batch: Batch, _durability: Durability) -> Result<(), StoreError> {
        let mut ordered = self.write();
        self.check_open()?;
        if let Some(reason) = &ordered.handle.poison {
            return Err(StoreError::Poisoned { reason: reason.clone() });
        }
        limits::check(&batch)?;
        if let Some(reason) = ordered.handle.next_failure.take() {
            ordered.handle.poison = Some(reason.clone());
            return Err(StoreError::Io { action: "commit a batch", source: reason.into() });
        }
        let entities = batch.changes().iter().filter(|change| change.table == Table::Entities);
        self.rows.entities.prefetch(&entities.map(|change| &change.key[..]).collect::<Vec<_>>());
        for Change { table, key, value } in batch.into_changes() {
            match table {
                Table::Entities => self.rows.entities.apply(&key, value.as_deref()),
                table => apply(&mut ordered.tables[table.place()], &key, value.as_deref()),
            }
        }
        Ok(())
    }

    fn strongest_durability(&self) -> Durability {
        Durability::Memory
    }

    fn close(&self) -> Result<(), StoreError> {
        let _no_commit_runs = self.write();
        self.check_open()?;
        self.rows.open_generation.store(NONE_OPEN, Ordering::Release);
        Ok(())
    }
}

fn apply(rows: &mut OrderedTable, key: &[u8], value: Option<&[u8]>) {
    match value {
        Some(value) => drop(rows.replace(PackedRow::new(key, value))),
        None => drop(rows.take(&Split::new(key) as &dyn Keyed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(value: &'static str) -> Batch {
        let mut batch = Batch::new();
        batch.put(Table::Meta, "row", value);
        batch
    }

    #[test]
    fn a_reopened_store_has_the_rows_and_closes_the_old_handle() {
        let old = MemoryStore::new();
        old.commit(batch("1"), Durability::Fsync).unwrap();
        let clone = old.clone();
        let new = old.reopen();
        assert_eq!(new.get(Table::Meta, b"row").unwrap().as_deref(), Some(&b"1"[..]));
        for closed in [&old, &clone] {
            assert!(matches!(closed.get(Table::Meta, b"row"), Err(StoreError::Closed)));
            assert!(matches!(closed.commit(batch("2"), Durability::Os), Err(StoreError::Closed)));
        }
        // Reopened through a handle that is long dead, as a test that kept the first one would do.
        let newest = old.reopen();
        assert!(matches!(new.close(), Err(StoreError::Closed)));
        newest.commit(batch("3"), Durability::Memory).unwrap();
    }

    #[test]
    fn a_failed_commit_says_why_stores_nothing_and_poisons_until_reopened() {
        let store = MemoryStore::new();
        store.fail_next_commit("the disk is full");
        let error = store.commit(batch("1"), Durability::Fsync).unwrap_err();
        assert!(error.to_string().contains("the disk is full"), "{error}");
        let error = store.commit(batch("2"), Durability::Fsync).unwrap_err();
        assert!(matches!(&error, StoreError::Poisoned { reason } if reason == "the disk is full"), "{error}");
        assert_eq!(store.get(Table::Meta, b"row").unwrap(), None);
        store.reopen().commit(batch("3"), Durability::Fsync).unwrap();
    }
}
