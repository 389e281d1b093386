use std::{collections::BTreeMap, error::Error};

use archipelago_clock::{Incarnation, ReplicaId};
use archipelago_conflict::StrategyTable;
use archipelago_crdt::Value;
use archipelago_engine::{
    Change, DotChange, Effect, Engine, EngineConfig, LocalWrite, ReadError, Records, Restored, WriteError,
    visible,
};
use archipelago_proto::{EntityId, Event, EventBatch, Limits, Record, decode_value};
use bytes::Bytes;

#[derive(Debug, Default)]
struct Disk {
    entities: BTreeMap<EntityId, Bytes>,
    live: BTreeMap<(u32, u64), EntityId>,
}

impl Records for Disk {
    fn record(&self, entity: &EntityId) -> Result<Option<Bytes>, Box<dyn Error + Send + Sync>> {
        Ok(self.entities.get(entity).cloned())
    }

    fn live_dots(
        &self,
        replica: u32,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, EntityId)>, Box<dyn Error + Send + Sync>> {
        let dots = self.live.range((replica, after.saturating_add(1))..=(replica, u64::MAX)).take(limit);
        Ok(dots.map(|((_, sequence), entity)| (*sequence, entity.clone())).collect())
    }

    fn tombstones(
        &self,
        _replica: u32,
        _after: u64,
        _limit: usize,
    ) -> Result<Vec<(u64, EntityId)>, Box<dyn Error + Send + Sync>> {
        // Nothing is reclaimed here.
        Ok(Vec::new())
    }

    fn entities(
        &self,
        _after: &[u8],
        _limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, Box<dyn Error + Send + Sync>> {
        // Nothing is damaged here.
        Ok(Vec::new())
    }
}

/// One replica: a real engine over records in memory.
pub(super) struct Island {
    pub(super) engine: Engine,
    disk: Disk,
}

impl Island {
    /// `number` is the incarnation, so that islands of one name are still different replicas.
    pub(super) fn new(name: &str, number: u64, strategies: &StrategyTable, events_max: usize) -> Self {
        let replica =
            ReplicaId::new(name, Incarnation::from_bits(number)).expect("a history has a legal replica name");
        let config = EngineConfig {
            strategies: strategies.clone(),
            // Everything may have to wait for the event that comes last.
            event_buffer_events_max: events_max,
            ..EngineConfig::new("converge", replica)
        };
        Island { engine: Engine::new(config, Restored::default()), disk: Disk::default() }
    }

    /// The events of the write.
    pub(super) fn write(
        &mut self,
        entity: &EntityId,
        change: Change,
        now_unix_ms: u64,
    ) -> Result<Vec<Event>, WriteError> {
        let write = LocalWrite { entity: entity.clone(), change, context: None, trace: None };
        self.engine.handle_write(write, now_unix_ms, &self.disk)?;
        Ok(self.flush(now_unix_ms))
    }

    pub(super) fn receive(&mut self, event: &Event, now_unix_ms: u64) -> Result<(), ReadError> {
        self.engine.handle_events([event.clone()], None, now_unix_ms, &self.disk)?;
        self.flush(now_unix_ms);
        Ok(())
    }

    fn flush(&mut self, now_unix_ms: u64) -> Vec<Event> {
        let mut events = Vec::new();
        for effect in self.engine.flush(now_unix_ms) {
            let Effect::Commit(commit) = effect else { continue };
            for (entity, record) in commit.entities {
                match record {
                    Some(record) => self.disk.entities.insert(entity, record),
                    None => self.disk.entities.remove(&entity),
                };
            }
            for DotChange { replica, sequence, entity, is_there } in commit.live {
                match is_there {
                    true => self.disk.live.insert((replica, sequence), entity),
                    false => self.disk.live.remove(&(replica, sequence)),
                };
            }
            for outboxed in commit.outbox {
                let batch = EventBatch::decode(outboxed.message, &Limits::default());
                events.extend(batch.expect("an engine encodes what it can decode").events);
            }
        }
        events
    }

    /// Every entity that has a visible value.
    pub(super) fn view(&self) -> BTreeMap<String, Value> {
        let limits = Limits::default();
        let read = |(entity, stored): (&EntityId, &Bytes)| {
            let record = Record::decode(stored.clone(), self.engine.replicas(), &limits);
            let strategy = self.engine.config().strategies.strategy(entity);
            let record = record.expect("an engine stores what it can decode");
            let value = visible(&record, &**strategy, &limits)?.value;
            Some((entity.to_string(), decode_value(&value, &limits).expect("an engine stores values")))
        };
        self.disk.entities.iter().filter_map(read).collect()
    }
}
