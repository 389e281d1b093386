//! The stored state, as the engine asks for it.

use std::ops::Bound;

use archipelago_engine::Records;
use archipelago_proto::EntityId;
use archipelago_store::{Store, Table};
use bytes::Bytes;

use crate::persist;

/// The records in a store, as the engine asks for them.
pub(crate) struct Stored<'a>(pub(crate) &'a dyn Store);

impl Records for Stored<'_> {
    fn record(&self, entity: &EntityId) -> Result<Option<Bytes>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.0.get(Table::Entities, entity.as_bytes())?)
    }

    fn live_dots(
        &self,
        replica: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, EntityId)>, Box<dyn std::error::Error + Send + Sync>> {
        persist::dots(self.0, Table::Live, replica, after, limit)
    }

    fn entities(
        &self,
        after: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Box<dyn std::error::Error + Send + Sync>> {
        let from = if after.is_empty() { Bound::Unbounded } else { Bound::Excluded(after) };
        let rows = self.0.scan(Table::Entities, from, Bound::Unbounded, limit)?;
        Ok(rows.into_iter().map(|row| (row.key, row.value)).collect())
    }

    fn tombstones(
        &self,
        replica: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, EntityId)>, Box<dyn std::error::Error + Send + Sync>> {
        persist::dots(self.0, Table::Tombstones, replica, after, limit)
    }
}
