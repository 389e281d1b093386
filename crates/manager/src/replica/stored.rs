//! The stored state, as the engine asks for it.

use std::{cell::RefCell, ops::Bound};

use archipelago_engine::Records;
use archipelago_proto::EntityId;
use archipelago_store::{Store, Table};
use bytes::Bytes;

use crate::persist::{self, LiveIndex};

/// How many records that were read ahead are passed over in search of one. Where more of them are not asked for, all that is
/// written to is at hand.
const PASSED_OVER_MAX: usize = 16;
/// How many bytes of records are read ahead; what comes after that is read when it is asked for.
const AHEAD_BYTES_MAX: usize = 1 << 20;

/// What a replica stored, as the engine asks for it.
pub(crate) struct Stored<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) live: &'a LiveIndex,
    ahead: RefCell<Ahead>,
}

/// Records that were read ahead.
#[derive(Default)]
struct Ahead {
    /// In the order in which they will be asked for.
    records: Vec<(EntityId, Option<Bytes>)>,
    /// How many of them were asked for, or passed over.
    behind: usize,
}

impl Ahead {
    fn take(&mut self, entity: &EntityId) -> Option<Option<Bytes>> {
        // Those that are passed over are at hand already, from an event before.
        let near = self.records[self.behind..].iter().take(PASSED_OVER_MAX);
        let passed = near.map(|(ahead, _)| ahead).position(|ahead| ahead == entity)?;
        self.behind += passed + 1;
        Some(self.records[self.behind - 1].1.take())
    }
}

impl<'a> Stored<'a> {
    pub(crate) fn new(store: &'a dyn Store, live: &'a LiveIndex) -> Self {
        Stored { store, live, ahead: RefCell::default() }
    }

    /// The same, with the records of these entities read ahead, all at once, so that the memory of one is on its way while
    /// another is copied. Between one event and the next each would be waited for. No commit may come between.
    pub(crate) fn reading_ahead<'e>(self, entities: impl Iterator<Item = &'e EntityId>) -> Self {
        let entities: Vec<&EntityId> = entities.collect();
        let keys: Vec<&[u8]> = entities.iter().map(|entity| &entity.as_bytes()[..]).collect();
        // What cannot be read is tried again when it is asked for, and the reason told then.
        let found = self.store.get_many(Table::Entities, &keys, AHEAD_BYTES_MAX).unwrap_or_default();
        let records = entities.into_iter().cloned().zip(found).collect();
        Stored { ahead: RefCell::new(Ahead { records, behind: 0 }), ..self }
    }
}

impl Records for Stored<'_> {
    fn record(&self, entity: &EntityId) -> Result<Option<Bytes>, Box<dyn std::error::Error + Send + Sync>> {
        match self.ahead.borrow_mut().take(entity) {
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

#[cfg(test)]
mod tests {
    use archipelago_clock::VersionVector;
    use archipelago_proto::ReplicaTable;
    use archipelago_store::{Batch, Durability, MemoryStore};

    use super::*;

    fn store(records: impl IntoIterator<Item = (&'static str, Vec<u8>)>) -> MemoryStore {
        let (store, mut batch) = (MemoryStore::new(), Batch::new());
        for (entity, record) in records {
            batch.put(Table::Entities, entity, record);
        }
        store.commit(batch, Durability::Memory).expect("a store in memory");
        store
    }

    fn index(store: &MemoryStore) -> LiveIndex {
        LiveIndex::load(store, &VersionVector::new(), &ReplicaTable::default()).expect("an empty index")
    }

    #[test]
    fn what_is_read_ahead_is_what_is_stored_however_it_is_asked_for() {
        let store = store([("a", vec![1]), ("b", vec![2]), ("c", vec![3])]);
        let live = index(&store);
        let ids = ["a", "b", "none", "b", "c"].map(EntityId::from);
        let records = Stored::new(&store, &live).reading_ahead(ids.iter());
        // In order, out of order, again, and what was not read ahead.
        for entity in ["a", "none", "c", "b", "b", "a", "elsewhere", "c"] {
            let stored = store.get(Table::Entities, entity.as_bytes()).expect("a store in memory");
            assert_eq!(records.record(&entity.into()).expect("a store in memory"), stored, "{entity}");
        }
    }

    #[test]
    fn one_of_each_entity_is_asked_for_where_one_is_written_again_and_again() {
        let store = store([("hot", vec![1]), ("cold", vec![2])]);
        let live = index(&store);
        let ids: Vec<EntityId> = (0..100).map(|_| "hot".into()).chain(["cold".into()]).collect();
        let records = Stored::new(&store, &live).reading_ahead(ids.iter());
        assert_eq!(records.record(&"hot".into()).expect("it is there").as_deref(), Some(&[1][..]));
        assert_eq!(records.record(&"cold".into()).expect("it is there").as_deref(), Some(&[2][..]));
    }

    #[test]
    fn large_records_are_not_all_held_at_once() {
        let large = || vec![0; AHEAD_BYTES_MAX / 2];
        let store = store([("a", large()), ("b", large()), ("c", large()), ("d", large())]);
        let live = index(&store);
        let ids = ["a", "b", "c", "d"].map(EntityId::from);
        let records = Stored::new(&store, &live).reading_ahead(ids.iter());
        assert_eq!(records.ahead.borrow().records.len(), 3);
        assert_eq!(records.record(&"d".into()).expect("it is there"), Some(large().into()));
    }
}
