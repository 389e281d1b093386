use std::{fmt::Debug, ops::Bound, sync::Arc};

use bytes::Bytes;

use crate::{Batch, StoreError};

/// A table of a store: an ordered map from bytes to bytes.
///
/// The set is closed, so that a backend can open all of them up front. What the bytes mean is the business of
/// `archipelago-proto` and the engine; a store never looks inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Table {
    /// A few small records about the replica: its identity, clock, vector, checkpoint.
    Meta,
    /// One record an entity, by entity id.
    Entities,
    /// Events that the pipeline has not acknowledged yet, by first sequence number.
    Outbox,
    /// Entities that wait for someone to resolve a conflict, by entity id.
    Pending,
    /// The most recent conflicts, by number.
    Journal,
    /// The writes of which something is live, by number of the replica, sequence and entity id.
    Live,
    /// Parts of imports, and pieces of repairs, that wait for what is missing.
    Staged,
    /// Events that a subscriber's handler failed on, by subscriber and place in the log.
    DeadLetters,
    /// The writes of which a tombstone is held that can be reclaimed in time, in the form of [`Live`](Self::Live).
    Tombstones,
    /// The newest entries of the log that a leader writes, by index of the first in the batch.
    Tail,
}

impl Table {
    /// Every table, in the order in which they were introduced.
    pub const ALL: [Table; 10] = [
        Table::Meta,
        Table::Entities,
        Table::Outbox,
        Table::Pending,
        Table::Journal,
        Table::Live,
        Table::Staged,
        Table::DeadLetters,
        Table::Tombstones,
        Table::Tail,
    ];

    /// The place of this table in [`ALL`](Self::ALL), for a backend that keeps its tables in an array.
    pub const fn place(self) -> usize {
        self as usize
    }

    /// The stable name of this table on disk.
    pub const fn name(self) -> &'static str {
        match self {
            Table::Meta => "meta",
            Table::Entities => "entities",
            Table::Outbox => "outbox",
            Table::Pending => "pending",
            Table::Journal => "journal",
            Table::Live => "live",
            Table::Staged => "staged",
            Table::DeadLetters => "dead_letters",
            Table::Tombstones => "tombstones",
            Table::Tail => "tail",
        }
    }
}

/// The crash that a commit survives once [`Store::commit`] has returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// None: the commit may sit in a buffer of this process.
    Memory,
    /// The death of this process (SIGKILL, panic, abort): the operating system has the bytes.
    Os,
    /// Power loss: the bytes were synced to the disk.
    #[default]
    Fsync,
}

/// One row of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The key, unique in its table.
    pub key: Bytes,
    /// The value stored under it.
    pub value: Bytes,
}

/// Where one replica keeps its state: a few ordered tables with atomic batches.
///
/// The trait is small on purpose; whoever implements it runs the `conformance` suite and is done.
///
/// Contract:
/// - [`commit`](Store::commit) is atomic across tables: after a crash either the whole batch is there or nothing of
///   it, and no later batch is there without every earlier one.
/// - A read that starts after a commit returned sees it. One [`scan`](Store::scan) sees whole batches only; of two
///   calls the second may see later batches.
/// - Keys have 1 to [`KEY_BYTES_MAX`](crate::limits::KEY_BYTES_MAX) bytes, values at most
///   [`VALUE_BYTES_MAX`](crate::limits::VALUE_BYTES_MAX). A batch that breaks a limit is refused as a whole, before
///   any of it is stored, and the store goes on.
/// - After any other failed commit the store refuses every further commit with [`StoreError::Poisoned`] until it is
///   opened again: what reached the disk is unknown, and guessing would lose data.
/// - One process opens a store at a time; a second one gets [`StoreError::Locked`].
///
/// Calls may block on the disk. Async callers run `commit` at [`Durability::Fsync`] on a blocking thread.
pub trait Store: Debug + Send + Sync + 'static {
    /// The value under `key`, or `None`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the backend cannot read, [`StoreError::Closed`].
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// The values under these keys, in their order: what a [`get`](Store::get) of each would give, of which a store may
    /// know how to make many at less cost. The last one is that with which they come to more than `bytes_max` bytes; keys
    /// behind it are not looked at. Of two keys the second may be read after a later commit.
    ///
    /// # Errors
    ///
    /// As [`get`](Store::get), if any of them cannot be read.
    fn get_many(
        &self,
        table: Table,
        keys: &[&[u8]],
        bytes_max: usize,
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        up_to(bytes_max, keys.iter().map(|key| self.get(table, key)))
    }

    /// Up to `limit` rows whose keys lie between the bounds, in ascending order of key bytes.
    ///
    /// To page through a table, go on with `Bound::Excluded(last key)`. Bounds that no key can lie between, such as
    /// a start behind the end, give no rows.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the backend cannot read, [`StoreError::Closed`].
    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError>;

    /// Applies the batch atomically and makes it survive the crash that `durability` names.
    ///
    /// An empty batch stores nothing, but what was committed before it survives what `durability` names from then
    /// on.
    ///
    /// # Errors
    ///
    /// [`StoreError::KeyLength`] and [`StoreError::ValueLength`]: nothing changed, the store goes on.
    /// [`StoreError::Poisoned`] and [`StoreError::Closed`]: nothing changed. [`StoreError::Io`]: after opening the
    /// store again either the whole batch is there or nothing of it, and until then it takes no further commit.
    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError>;

    /// The strongest durability this store can give; `commit` treats a stronger request as this one.
    fn strongest_durability(&self) -> Durability;

    /// Syncs and releases what the store holds. Every later call fails with [`StoreError::Closed`], also after an
    /// error.
    ///
    /// # Errors
    ///
    /// [`StoreError::Io`] if the last sync failed, [`StoreError::Closed`] if it was closed before.
    fn close(&self) -> Result<(), StoreError>;
}

/// These values up to the one with which they come to more than so many bytes.
pub(crate) fn up_to<V: AsRef<[u8]>>(
    bytes_max: usize,
    values: impl Iterator<Item = Result<Option<V>, StoreError>>,
) -> Result<Vec<Option<V>>, StoreError> {
    let (mut taken, mut bytes) = (Vec::with_capacity(values.size_hint().0), 0);
    for value in values {
        let value = value?;
        bytes += value.as_ref().map_or(0, |value| value.as_ref().len());
        taken.push(value);
        if bytes > bytes_max {
            break;
        }
    }
    Ok(taken)
}

/// Shares one store between those who need it.
impl<S: Store + ?Sized> Store for Arc<S> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        (**self).get(table, key)
    }

    fn get_many(
        &self,
        table: Table,
        keys: &[&[u8]],
        bytes_max: usize,
    ) -> Result<Vec<Option<Bytes>>, StoreError> {
        (**self).get_many(table, keys, bytes_max)
    }

    fn scan(
        &self,
        table: Table,
        from: Bound<&[u8]>,
        to: Bound<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        (**self).scan(table, from, to, limit)
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), StoreError> {
        (**self).commit(batch, durability)
    }

    fn strongest_durability(&self) -> Durability {
        (**self).strongest_durability()
    }

    fn close(&self) -> Result<(), StoreError> {
        (**self).close()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_stands_at_its_place() {
        for (place, table) in Table::ALL.into_iter().enumerate() {
            assert_eq!(table.place(), place, "{}", table.name());
        }
    }
}
