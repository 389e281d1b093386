//! The stored state, as the engine asks for it.

use std::ops::Bound;

use archipelago_engine::Records;
use archipelago_proto::EntityId;
use archipelago_store::{Store, Table};
use bytes::Bytes;

use crate::persist::{self, LiveIndex};

/// What a replica stored, as the engine asks for it.
pub(crate) struct Stored<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) live: &'a LiveIndex,
}

impl Records for Stored<'_> {
    fn record(&self, entity: &EntityId) -> Result<Option<Bytes>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.store.get(Table::Entities, entity.as_bytes())?)
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
