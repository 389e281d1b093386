use bytes::Bytes;

use crate::Table;

/// One change of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The table of the row.
    pub table: Table,
    /// The key of the row.
    pub key: Bytes,
    /// The new value, or `None` to remove the row.
    pub value: Option<Bytes>,
}

/// Changes that a store applies together or not at all. Later changes of the same row win.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    changes: Vec<Change>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes room for so many changes more.
    pub fn reserve(&mut self, changes: usize) {
        self.changes.reserve(changes);
    }

    /// Stores `value` under `key`.
    pub fn put(&mut self, table: Table, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.changes.push(Change { table, key: key.into(), value: Some(value.into()) });
    }

    /// Removes the row under `key`; no error if there is none.
    pub fn remove(&mut self, table: Table, key: impl Into<Bytes>) {
        self.changes.push(Change { table, key: key.into(), value: None });
    }

    /// True if the batch changes nothing.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The number of changes.
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// The changes in the order in which they were added.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The changes in the order in which they were added, by value.
    pub fn into_changes(self) -> Vec<Change> {
        self.changes
    }
}
