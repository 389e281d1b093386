//! A master as it lies in a store that none runs on.

use std::{ops::Bound, sync::Arc};

use archipelago_clock::{ReplicaId, VersionVector};
use archipelago_conflict::Strategy;
use archipelago_proto::{Body, DecodeError, EntityId, Limits, Record};
use archipelago_store::{Store, Table};
use bytes::Bytes;

use crate::{
    EntityView, ReadError, Schema, StartError,
    persist::{self, StoredMaster},
};

/// What is in the store of a master that does not run, to look at. Nothing is changed.
///
/// The strategies of the master are not in its store. Of fields all together are visible, and of siblings the one with the
/// greatest stamp, which is what all strategies but custom ones show. Values are not lifted by schemas.
#[derive(Clone)]
pub struct MasterAtRest {
    store: Arc<dyn Store>,
    master: Arc<StoredMaster>,
    limits: Limits,
}

/// A stored entity, and why it cannot be read if so.
#[derive(Debug)]
#[non_exhaustive]
pub struct EntityAtRest {
    /// Its id; of one that is no text, with what is none written as `\x..`.
    pub id: String,
    /// All that is held of it; also of one that was removed, as long as a tombstone is left.
    pub entity: Result<EntityView, ReadError>,
}

impl MasterAtRest {
    /// Looks at a store; `None` if no master ever ran on it.
    ///
    /// # Errors
    /// [`StartError`] if it is not the store of a master, or what describes the master cannot be read.
    pub fn open(store: Arc<dyn Store>) -> Result<Option<MasterAtRest>, StartError> {
        let master = persist::look(&*store)?;
        Ok(master.map(|master| MasterAtRest { store, master: Arc::new(master), limits: Limits::default() }))
    }

    /// The name and the incarnation of the master.
    pub fn master_id(&self) -> &ReplicaId {
        &self.master.replica
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.master.namespace
    }

    /// What it had applied.
    pub fn vector_clock(&self) -> &VersionVector {
        &self.master.restored.vector
    }

    /// How many of its writes wait for the broker.
    ///
    /// # Errors
    /// [`StartError`] if the store fails, or the outbox cannot be read.
    pub fn outbox_len(&self) -> Result<u64, StartError> {
        persist::count_outbox(&*self.store)
    }

    /// All that is held of an entity; `None` if it was never written, or was removed and forgotten.
    ///
    /// # Errors
    /// [`ReadError`] if the store fails, or the entity cannot be read.
    pub fn entity(&self, id: &str) -> Result<Option<EntityView>, ReadError> {
        let row = self.store.get(Table::Entities, id.as_bytes())?;
        row.map(|row| self.view(id.into(), row)).transpose()
    }

    /// Up to `limit` stored entities, in order of id, of those that begin with `prefix` and come after `after`. To page, go on
    /// after the last one. One that cannot be read does not hide the others.
    ///
    /// # Errors
    /// [`ReadError`] if the store fails.
    pub fn entities(
        &self,
        prefix: &str,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Bytes, EntityAtRest)>, ReadError> {
        let from = match after {
            Some(after) => Bound::Excluded(after),
            None if prefix.is_empty() => Bound::Unbounded,
            None => Bound::Included(prefix.as_bytes()),
        };
        let rows = self.store.scan(Table::Entities, from, Bound::Unbounded, limit)?;
        let rows = rows.into_iter().take_while(|row| row.key.starts_with(prefix.as_bytes()));
        Ok(rows
            .map(|row| {
                let key = row.key.clone();
                let Some(id) = EntityId::from_utf8(row.key.clone()) else {
                    let reason =
                        DecodeError::Malformed { what: "entity id", reason: "it is not UTF-8".into() };
                    let id = row.key.escape_ascii().to_string();
                    let entity = Err(ReadError::Record { entity: id.clone(), reason });
                    return (key, EntityAtRest { id, entity });
                };
                (key, EntityAtRest { id: id.to_string(), entity: self.view(id, row.value) })
            })
            .collect())
    }

    fn view(&self, id: EntityId, row: Bytes) -> Result<EntityView, ReadError> {
        let record = Record::decode(row, &self.master.restored.replicas, &self.limits)
            .map_err(|reason| ReadError::Record { entity: id.to_string(), reason })?;
        let has_fields = record.versions.iter().any(|version| matches!(version.body, Body::Fields(_)));
        let strategy = if has_fields { Strategy::CrdtMerge } else { Strategy::VersionVector };
        let seen = self.master.restored.vector.clone();
        Ok(EntityView::new(id, &record, &strategy, &Schema::default(), seen, &self.limits))
    }
}

impl std::fmt::Debug for MasterAtRest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MasterAtRest")
            .field("master_id", self.master_id())
            .field("namespace", &self.namespace())
            .finish_non_exhaustive()
    }
}
