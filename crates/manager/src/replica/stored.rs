//! The stored state, as the engine asks for it.

use std::{cell::RefCell, ops::Bound};

use archipelago_engine::Records;
use archipelago_proto::EntityId;
use archipelago_store::{Store, Table};
use bytes::Bytes;

use crate::persist::{self, LiveIndex};

/// What a replica stored, as the engine asks for it.
pub(crate) struct Stored<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) live: &'a LiveIndex,
    /// Records that were read ahead, in the order in which they will be asked for, and how many of them are behind.
    ahead: RefCell<(Vec<(EntityId, Option<Bytes>)>, usize)>,
}

impl<'a> Stored<'a> {
    pub(crate) fn new(store: &'a dyn Store, live: &'a LiveIndex) -> Self {
        Stored { store, live, ahead: RefCell::default() }
    }

    /// The same, with the records of these entities read ahead: one right after the other, so that the memory of one is on
    /// its way while another is copied. Between one event and the next each would be waited for. No commit may come
    /// between.
    pub(crate) fn reading_ahead<'e>(self, entities: impl Iterator<Item = &'e EntityId>) -> Self {
        let read = |entity: &EntityId| {
            // What cannot be read is tried again when it is asked for, and the reason told then.
            let record = self.store.get(Table::Entities, entity.as_bytes()).ok()?;
            Some((entity.clone(), record))
        };
        let records = entities.filter_map(read).collect();
        Stored { ahead: RefCell::new((records, 0)), ..self }
    }

    fn read_ahead(&self, entity: &EntityId) -> Option<Option<Bytes>> {
        let (records, behind) = &mut *self.ahead.borrow_mut();
        // Those that are passed over are at hand already, from an event before.
        let passed = records[*behind..].iter().position(|(ahead, _)| ahead == entity)?;
        *behind += passed + 1;
        Some(records[*behind - 1].1.take())
    }
}

impl Records for Stored<'_> {
    fn record(&self, entity: &EntityId) -> Result<Option<Bytes>, Box<dyn std::error::Error + Send + Sync>> {
        match self.read_ahead(entity) {
            Some(record) => Ok(record),
            None => Ok(self.store.get(Table::Entities, entity.as_bytes())?),
        }
    }

    fn live_dots(
        &self,
        replica: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, EntityId)>, Box<dyn std::error::Error + Send + Sync>> {
        self.live.dots(self.store, replica, after, limit)
    }

    fn entities(
        &self,
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Box<dyn std::error::Error + Send + Sync>> {
        let from = if after.is_empty() { Bound::Unbounded } else { Bound::Excluded(after) };
        let rows = self.store.scan(Table::Entities, from, Bound::Unbounded, limit)?;
        Ok(rows.into_iter().map(|row| (row.key, row.value)).collect())
    }

    fn tombstones(
        &self,
        replica: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, EntityId)>, Box<dyn std::error::Error + Send + Sync>> {
        persist::tombstone_dots(self.store, replica, after, limit)
    }
}
