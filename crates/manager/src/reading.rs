//! What users read: values, what lies beneath them, and which entities there are.

use std::ops::Bound;

use archipelago_clock::VersionVector;
use archipelago_engine::Visible;
use archipelago_proto::{DecodeError, EntityId, Record};
use archipelago_store::{Durability, StoreError, Table};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::{
    ConflictReport, EntityView, Explanation, MultiMasterManager, ReadError, schema::Lifted, view::rule,
};

impl MultiMasterManager {
    /// The visible value of the entity, or `None` if it was removed or never written.
    ///
    /// A value in an older version of its [`Schema`](crate::Schema) is lifted; a newer one is given as it is.
    ///
    /// # Errors
    /// [`ReadError::Type`] or [`ReadError::NewerSchema`] if the value is not a `T`, [`ReadError::Schema`] if it cannot be
    /// lifted; [`ReadError`] if the store fails.
    pub async fn read<T: DeserializeOwned>(&self, entity_id: &str) -> Result<Option<T>, ReadError> {
        let Some(record) = self.record(&entity_id.into()).await? else { return Ok(None) };
        let Some(visible) = self.visible(entity_id, &record) else { return Ok(None) };
        let (id, schema) = (EntityId::from(entity_id), self.shared().schemas.schema(entity_id));
        let lifted = Lifted::new(&visible.value, schema, self.limits());
        lifted.map_err(|error| ReadError::schema(&id, error))?.decode(&id, schema, self.limits()).map(Some)
    }

    /// All that this master holds of the entity: its live versions, their stamps, and the visible value. `None` if it
    /// was never written.
    ///
    /// The visible value and whole versions are lifted; fields by themselves are shown as they are stored.
    ///
    /// # Errors
    /// [`ReadError`] if the store fails.
    pub async fn entity(&self, entity_id: &str) -> Result<Option<EntityView>, ReadError> {
        let (id, mut seen) = (EntityId::from(entity_id), self.vector_clock());
        let record = self.record(&id).await?;
        // What came since the vector was looked at, if it is shown.
        for version in record.iter().flat_map(|record| &record.versions) {
            if self.shared().vector.borrow().contains(&version.dot) {
                seen.raise(version.dot.actor.clone(), version.dot.sequence);
            }
        }
        let strategy = self.shared().strategies.strategy(entity_id);
        let schema = self.shared().schemas.schema(entity_id);
        Ok(record.map(|record| EntityView::new(id, &record, &**strategy, schema, seen, self.limits())))
    }

    /// Why the entity has the value that it has: its versions, the rule, and what lost. `None` if it was never written.
    ///
    /// # Errors
    /// [`ReadError`] if the store fails.
    pub async fn explain(&self, entity_id: &str) -> Result<Option<Explanation>, ReadError> {
        let Some(entity) = self.entity(entity_id).await? else { return Ok(None) };
        let strategy = self.shared().strategies.strategy(entity_id);
        let conflicts = self.conflicts().into_iter().filter(|report| *report.entity_id == *entity_id);
        Ok(Some(Explanation {
            strategy: strategy.name().to_owned(),
            rule: rule(&**strategy).to_owned(),
            conflicts: conflicts.map(|report| ConflictReport::clone(&report)).collect(),
            entity,
        }))
    }

    /// Up to `limit` entities that wait for someone to [resolve](Self::resolve_conflict) a conflict, in order of id, of
    /// those that come after `after`. Only strategies that ask for it, such as `manual`, have any.
    ///
    /// # Errors
    /// [`ReadError`] if the store fails.
    pub async fn pending_conflicts(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<EntityView>, ReadError> {
        let (store, after) = (self.shared().store.clone(), after.map(str::to_owned));
        let scan = move || {
            let from = after.as_ref().map_or(Bound::Unbounded, |after| Bound::Excluded(after.as_bytes()));
            store.scan(Table::Pending, from, Bound::Unbounded, limit)
        };
        let rows = self.aside(scan).await??;
        let mut pending = Vec::with_capacity(rows.len());
        for row in rows {
            pending.extend(self.entity(&String::from_utf8_lossy(&row.key)).await?);
        }
        // Whatever was resolved between the two looks is none any more.
        pending.retain(|entity| entity.conflicted);
        Ok(pending)
    }

    async fn record(&self, id: &EntityId) -> Result<Option<Record>, ReadError> {
        if id.is_empty() {
            return Ok(None);
        }
        let Some(stored) = self.shared().store.get(Table::Entities, id.as_bytes())? else { return Ok(None) };
        let record = self.decode(id, stored)?;
        self.covered(&record).await;
        Ok(Some(record))
    }

    /// Waits until the vector covers what was read. A commit can be read a moment before the vector moves, and a token that
    /// is taken after a read must cover what was shown.
    async fn covered(&self, record: &Record) {
        let is_covered =
            |vector: &VersionVector| record.versions.iter().all(|version| vector.contains(&version.dot));
        if is_covered(&self.shared().vector.borrow()) {
            return;
        }
        let mut vector = self.shared().vector.subscribe();
        tokio::select! {
            biased;
            _ = vector.wait_for(|vector| is_covered(vector)) => {}
            // By then everything that was stored before is covered. If the store failed or the row is damaged, it never is.
            _ = self.state_digest() => {}
        }
    }

    fn visible(&self, entity_id: &str, record: &Record) -> Option<Visible> {
        let strategy = self.shared().strategies.strategy(entity_id);
        archipelago_engine::visible(record, &**strategy, self.limits())
    }

    fn decode(&self, id: &EntityId, stored: Bytes) -> Result<Record, ReadError> {
        Record::decode(stored, &self.shared().replicas(), self.limits())
            .map_err(|reason| ReadError::Record { entity: id.to_string(), reason })
    }

    /// The ids of up to `limit` entities that have a value, in order, of those that begin with `prefix` and come after
    /// `after`. To page, go on after the last one.
    ///
    /// # Errors
    /// [`ReadError`] if the store fails.
    pub async fn entity_ids(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<EntityId>, ReadError> {
        let (master, prefix, after) = (self.clone(), prefix.to_owned(), after.map(str::to_owned));
        self.aside(move || master.scan_ids(&prefix, after.as_deref(), limit)).await?
    }

    fn scan_ids(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<EntityId>, ReadError> {
        let mut ids = Vec::new();
        let mut from = match after {
            Some(after) if after >= prefix => Bound::Excluded(Bytes::copy_from_slice(after.as_bytes())),
            _ if prefix.is_empty() => Bound::Unbounded,
            _ => Bound::Included(Bytes::copy_from_slice(prefix.as_bytes())),
        };
        while ids.len() < limit {
            let from_bytes = from.as_ref().map(|from| &from[..]);
            let page = self.shared().store.scan(Table::Entities, from_bytes, Bound::Unbounded, 256)?;
            let Some(last) = page.last() else { return Ok(ids) };
            from = Bound::Excluded(last.key.clone());
            for row in page {
                if !row.key.starts_with(prefix.as_bytes()) {
                    return Ok(ids);
                }
                let id = EntityId::from_utf8(row.key.clone()).ok_or_else(|| ReadError::Record {
                    entity: row.key.escape_ascii().to_string(),
                    reason: DecodeError::Malformed { what: "entity id", reason: "it is not UTF-8".into() },
                })?;
                let visible = self.visible(&id, &self.decode(&id, row.value)?).is_some();
                if visible && ids.len() < limit {
                    ids.push(id);
                }
            }
        }
        Ok(ids)
    }

    /// Reads much of the store where it keeps no other task waiting. One in memory is read at once: it never blocks.
    async fn aside<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ReadError> {
        if self.shared().store.strongest_durability() == Durability::Memory {
            return Ok(read());
        }
        let read = self.shared().tasks.blocking(read).await;
        read.map_err(|error| StoreError::Io { action: "read", source: error.into() }.into())
    }
}
