//! One replica as a manager drives it, without the manager's tasks and channels.

use std::{collections::BTreeMap, ops::Bound};

use archipelago_clock::ReplicaId;
use archipelago_engine::{
    Change, Effect, Engine, EngineConfig, LocalWrite, Restored, StateDigest, pack_messages,
};
use archipelago_manager::internals::Rows;
use archipelago_proto::{EntityId, EventBatch, Limits, decode_value, encode_value};
use archipelago_store::{Batch, Durability, MemoryStore, Row, Store, Table};
use bytes::Bytes;

use crate::{now_unix_ms, replica_id};

const NAMESPACE: &str = "bench";

/// How many writes a manager takes into one commit at most.
const GROUP_WRITES_MAX: usize = 256;

/// How many events a manager takes into one commit, with the last message maybe more.
const GROUP_EVENTS_MAX: usize = 1_024;

/// How many rows of the outbox a manager looks at first for one message; those of full commits fill it.
const OUTBOX_ROWS_MAX: usize = 4;

/// An engine whose commits go into a [`MemoryStore`], whole: records, vector, ceiling of the clock, outbox, checkpoint.
/// Its messages are encoded, packed and decoded as those of a manager are.
#[derive(Debug)]
pub struct StoredReplica {
    id: ReplicaId,
    engine: Engine,
    stored: Rows<MemoryStore>,
    limits: Limits,
    uncommitted: usize,
    /// Of the messages received, the last one's place in the log.
    position: u64,
}

impl StoredReplica {
    /// A replica without records, in which the last writer wins.
    pub fn new(name: &str) -> Self {
        let id = replica_id(name);
        let config = EngineConfig::new(NAMESPACE, id.clone());
        StoredReplica {
            id,
            limits: config.limits.clone(),
            engine: Engine::new(config, Restored::default()),
            stored: Rows::new(MemoryStore::new()).expect("memory is readable"),
            uncommitted: 0,
            position: 0,
        }
    }

    /// Writes one record. It is committed with those after it: by [`commit`](Self::commit), or when a group is full.
    pub fn write(&mut self, key: &str, value: &str) {
        let value = encode_value(value, &self.limits).expect("a text is a legal value");
        let write = LocalWrite { entity: key.into(), change: Change::Put(value), context: None, trace: None };
        self.engine.handle_write(write, now_unix_ms(), &self.stored.records()).expect("a legal write");
        self.uncommitted += 1;
        if self.uncommitted == GROUP_WRITES_MAX {
            self.commit();
        }
    }

    /// Commits what was written or received.
    pub fn commit(&mut self) {
        self.uncommitted = 0;
        let now = now_unix_ms();
        self.engine.handle_tick(now, &self.stored.records()).expect("memory is readable");
        for effect in self.engine.flush(now) {
            if let Effect::Commit(commit) = effect {
                let stored = self.stored.commit(*commit, &self.id, Durability::Memory);
                stored.expect("memory takes every batch");
            }
        }
    }

    /// Takes everything out of the outbox and packs it into messages for the log.
    pub fn send(&mut self) -> Vec<Bytes> {
        let mut messages = Vec::new();
        loop {
            let rows = self.rows(Table::Outbox, Bound::Unbounded, OUTBOX_ROWS_MAX);
            if rows.is_empty() {
                return messages;
            }
            let mut bytes = 0;
            let fitting = rows.iter().take_while(|row| {
                bytes += row.value.len();
                bytes <= self.limits.batch_bytes_target
            });
            let rows = &rows[..fitting.count().max(1)];
            let packed = rows.iter().map(|row| row.value.clone());
            let packed = pack_messages(NAMESPACE, packed, &self.limits);
            let (packed, message) = packed.unwrap_or_else(|| (1, rows[0].value.clone()));
            messages.push(message);
            let mut acknowledged = Batch::new();
            for row in &rows[..packed] {
                acknowledged.remove(Table::Outbox, row.key.clone());
            }
            self.stored.store.commit(acknowledged, Durability::Memory).expect("memory takes every batch");
        }
    }

    /// Decodes messages of another replica, applies and commits them.
    pub fn receive(&mut self, messages: Vec<Bytes>) {
        for message in messages {
            let batch = self.decode(message);
            self.uncommitted += batch.events.len();
            self.position += 1;
            self.engine
                .handle_events(batch.events, Some(self.position), now_unix_ms(), &self.stored.records())
                .expect("memory is readable");
            if self.uncommitted >= GROUP_EVENTS_MAX {
                self.commit();
            }
        }
        self.commit();
    }

    fn decode(&self, message: Bytes) -> EventBatch {
        EventBatch::decode(message, &self.limits).expect("sent by a replica")
    }

    /// The value under `key`, if there is one.
    pub fn read(&self, key: &str) -> Option<String> {
        self.visible(&key.into())
    }

    fn visible(&self, entity: &EntityId) -> Option<String> {
        let visible = self.engine.visible(entity, &self.stored.records()).expect("memory is readable")?;
        Some(decode_value(&visible.value, &self.limits).expect("written as text"))
    }

    /// Every record that a reader sees.
    pub fn contents(&self) -> BTreeMap<String, String> {
        let mut contents = BTreeMap::new();
        let mut from = Bound::Unbounded;
        loop {
            let rows = self.rows(Table::Entities, from.as_ref().map(|key: &Bytes| &key[..]), 1_000);
            let Some(last) = rows.last() else { return contents };
            from = Bound::Excluded(last.key.clone());
            for row in rows {
                let entity = EntityId::from_utf8(row.key).expect("written as text");
                contents.extend(self.visible(&entity).map(|value| (entity.as_str().to_owned(), value)));
            }
        }
    }

    /// The digest of the state.
    pub fn digest(&self) -> &StateDigest {
        self.engine.digest()
    }

    fn rows(&self, table: Table, from: Bound<&[u8]>, limit: usize) -> Vec<Row> {
        self.stored.store.scan(table, from, Bound::Unbounded, limit).expect("memory is readable")
    }
}
