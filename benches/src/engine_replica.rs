//! One replica with its records in memory, so that the numbers are the engine's own and no store's.

use std::{collections::HashMap, error::Error};

use archipelago_conflict::{Strategy, StrategyTable};
use archipelago_engine::{Change, Effect, Engine, EngineConfig, LocalWrite, Records, Restored};
use archipelago_proto::{EntityId, EventBatch, Limits, join_fields};
use bytes::Bytes;

use crate::replica_id;

/// How many entities a replica holds while it is measured.
pub const ENTITIES: usize = 10_000;

/// How large a written record is, in bytes.
pub const RECORD_BYTES: usize = 200;

/// The wall clock, which stands still.
const NOW_UNIX_MS: u64 = 1_795_220_962_000;

/// Records in memory.
#[derive(Debug, Default)]
struct Memory(HashMap<EntityId, Bytes>);

impl Records for Memory {
    fn record(&self, entity: &EntityId) -> Result<Option<Bytes>, Box<dyn Error + Send + Sync>> {
        Ok(self.0.get(entity).cloned())
    }

    fn live_dots(
        &self,
        _: u32,
        _: u64,
        _: usize,
    ) -> Result<Vec<(u64, EntityId)>, Box<dyn Error + Send + Sync>> {
        unreachable!("nothing is repaired here")
    }

    fn tombstones(
        &self,
        _: u32,
        _: u64,
        _: usize,
    ) -> Result<Vec<(u64, EntityId)>, Box<dyn Error + Send + Sync>> {
        unreachable!("nothing is reclaimed here")
    }

    fn entities(&self, _: &[u8], _: usize) -> Result<Vec<(Bytes, Bytes)>, Box<dyn Error + Send + Sync>> {
        unreachable!("nothing is scrubbed here")
    }
}

/// An engine with its records.
#[derive(Debug)]
pub struct EngineReplica {
    engine: Engine,
    records: Memory,
    ids: Vec<EntityId>,
    writes: usize,
}

impl EngineReplica {
    /// A replica without entities.
    pub fn new(name: &str, strategy: Strategy) -> Self {
        let strategies = StrategyTable::new(strategy);
        let config = EngineConfig { strategies, ..EngineConfig::new("bench", replica_id(name)) };
        EngineReplica {
            engine: Engine::new(config, Restored::default()),
            records: Memory::default(),
            ids: (0..ENTITIES).map(|n| format!("user/{n}").into()).collect(),
            writes: 0,
        }
    }

    /// Writes `count` records in one commit, one entity after the other, and gives the messages for others.
    ///
    /// A record has [`RECORD_BYTES`] in four fields, of which one is new with every write.
    pub fn write(&mut self, count: usize) -> Vec<Bytes> {
        for _ in 0..count {
            // Coprime to the number of entities: every one has its turn, and neighbours are far apart.
            let entity = self.ids[self.writes * 7_919 % ENTITIES].clone();
            let write =
                LocalWrite { entity, change: Change::Put(record(self.writes)), context: None, trace: None };
            self.writes += 1;
            self.engine.handle_write(write, NOW_UNIX_MS, &self.records).expect("a legal write");
        }
        self.flush()
    }

    /// Decodes a message and applies it in one commit.
    pub fn receive(&mut self, message: Bytes) {
        let batch = EventBatch::decode(message, &Limits::default()).expect("sent by a replica");
        self.engine
            .handle_events(batch.events, None, NOW_UNIX_MS, &self.records)
            .expect("memory is readable");
        self.flush();
    }

    fn flush(&mut self) -> Vec<Bytes> {
        let mut messages = Vec::new();
        for effect in self.engine.flush(NOW_UNIX_MS) {
            if let Effect::Commit(commit) = effect {
                let records = commit.entities.into_iter();
                self.records.0.extend(records.map(|(id, record)| (id, record.expect("nothing goes here"))));
                messages.extend(commit.outbox.into_iter().map(|outboxed| outboxed.message));
            }
        }
        messages
    }
}

/// The `n`th record written.
fn record(n: usize) -> Bytes {
    let text =
        |len: usize, byte: u8| [&[0xd9, u8::try_from(len).expect("short")], &vec![byte; len][..]].concat();
    let number = [&[0xce], &u32::try_from(n).expect("few writes").to_be_bytes()[..]].concat();
    let (name, mail) = (text(50, b'n'), text(60, b'm'));
    let fields = [("name", &name), ("mail", &mail), ("seen", &number)];
    let bytes = 1 + fields.iter().map(|(name, value)| 1 + name.len() + value.len()).sum::<usize>();
    let note = text(RECORD_BYTES - bytes - "note".len() - 3, b'x');
    let record = join_fields(
        fields.into_iter().chain([("note", &note)]).map(|(n, v)| (n, &v[..])).collect::<Vec<_>>().into_iter(),
    );
    debug_assert_eq!(record.len(), RECORD_BYTES);
    record
}
