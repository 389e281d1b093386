//! How the state of an entity is stored: its live versions, each with its dot, its stamp and what it still holds.

use std::collections::HashMap;

use archipelago_clock::{Dot, Hlc, ReplicaId};
use bytes::Bytes;

use crate::{
    DecodeError, Limits, Slot, op,
    reader::{Reader, malformed},
    writer::Writer,
};

/// The version of the record layout that this build writes.
const RECORD_VERSION: u64 = 1;

/// The replicated state of one entity: its live versions, sorted by dot. Almost always one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The versions that no write has superseded.
    pub versions: Vec<Version>,
}

/// One live version of an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The write that made it.
    pub dot: Dot,
    /// When that was.
    pub hlc: Hlc,
    /// What of that write is still live.
    pub body: Body,
}

/// What a live version holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The entity was removed.
    Tombstone,
    /// The entity's value as a whole.
    Whole(Bytes),
    /// The fields of which this version is the winner, sorted by slot; `None` for a removed one (a tombstone).
    Fields(Vec<(Slot, Option<Bytes>)>),
}

/// So few replicas are found faster by looking at each than by a hash.
const LOOKED_THROUGH_MAX: usize = 8;

/// Numbers for replica ids, so that a stored dot takes few bytes. Belongs to one store and only ever grows.
#[derive(Clone, Debug, Default)]
pub struct ReplicaTable {
    replicas: Vec<ReplicaId>,
    numbers: HashMap<ReplicaId, u32, foldhash::fast::RandomState>,
}

impl ReplicaTable {
    /// The table with these replicas, in the order of their numbers.
    pub fn new(replicas: Vec<ReplicaId>) -> Self {
        let mut table = ReplicaTable::default();
        for replica in replicas {
            table.intern(&replica);
        }
        table
    }

    /// The number of `replica`; it is given the next one if it has none.
    pub fn intern(&mut self, replica: &ReplicaId) -> u32 {
        if let Some(number) = self.number(replica) {
            return number;
        }
        let number = u32::try_from(self.replicas.len()).expect("fewer than 2^32 replicas");
        self.replicas.push(replica.clone());
        self.numbers.insert(replica.clone(), number);
        number
    }

    /// The number of `replica`, if it has one.
    pub fn number(&self, replica: &ReplicaId) -> Option<u32> {
        if self.replicas.len() > LOOKED_THROUGH_MAX {
            return self.numbers.get(replica).copied();
        }
        let place = self.replicas.iter().position(|known| known == replica)?;
        u32::try_from(place).ok()
    }

    /// The replica with this number.
    pub fn replica(&self, number: u64) -> Option<&ReplicaId> {
        self.replicas.get(usize::try_from(number).ok()?)
    }

    /// All replicas, in the order of their numbers.
    pub fn replicas(&self) -> &[ReplicaId] {
        &self.replicas
    }
}

/// How many bytes a record takes at most before its versions, and a version beside its content: numbers of up to nine bytes,
/// and heads of up to five.
const HEAD_BYTES_MAX: usize = 6;
const VERSION_BYTES_MAX: usize = 5 + 9 + 9 + 5;

impl Record {
    /// The stored form. Enters replicas that the table does not know yet; store the table with the record.
    pub fn encode(&self, table: &mut ReplicaTable) -> Bytes {
        let mut writer = Writer::with_capacity(self.bytes_at_most());
        self.write(&mut writer, table);
        writer.into_vec().into()
    }

    /// The stored forms of many records, in one allocation: each of them keeps all.
    pub fn encode_all<'r>(
        records: impl Iterator<Item = &'r Record> + Clone,
        table: &mut ReplicaTable,
    ) -> Vec<Bytes> {
        let mut writer = Writer::with_capacity(records.clone().map(Record::bytes_at_most).sum());
        let ends = records.map(|record| {
            record.write(&mut writer, table);
            writer.len()
        });
        let ends: Vec<usize> = ends.collect();
        let (mut all, mut at) = (Bytes::from(writer.into_vec()), 0);
        ends.into_iter().map(|end| all.split_to(end - std::mem::replace(&mut at, end))).collect()
    }

    fn bytes_at_most(&self) -> usize {
        let content = |version: &Version| match &version.body {
            Body::Tombstone => 0,
            Body::Whole(value) => value.len(),
            Body::Fields(fields) => op::bytes_at_most(fields),
        };
        let versions = self.versions.iter().map(|version| VERSION_BYTES_MAX + content(version));
        HEAD_BYTES_MAX + versions.sum::<usize>()
    }

    fn write(&self, writer: &mut Writer, table: &mut ReplicaTable) {
        writer.array(1 + 4 * self.versions.len());
        writer.unsigned(RECORD_VERSION);
        for version in &self.versions {
            writer.unsigned(u64::from(table.intern(&version.dot.actor)));
            writer.unsigned(version.dot.sequence);
            writer.unsigned(version.hlc.bits());
            match &version.body {
                Body::Tombstone => writer.nil(),
                Body::Whole(value) => writer.binary(value),
                Body::Fields(fields) => op::write_fields(writer, fields),
            }
        }
    }

    /// Reads the stored form, of whatever size it has become.
    ///
    /// # Errors
    /// Every [`DecodeError`]: a store can be damaged like anything else.
    pub fn decode(bytes: Bytes, table: &ReplicaTable, limits: &Limits) -> Result<Record, DecodeError> {
        let limits = limits.for_state();
        let mut reader = Reader::new(bytes);
        let elements = reader.array("record")?;
        let version = if elements == 0 { 0 } else { reader.unsigned("record version")? };
        if version != RECORD_VERSION {
            return Err(DecodeError::UnsupportedVersion { found: version, supported: RECORD_VERSION });
        }
        if elements % 4 != 1 {
            return Err(malformed("record", format!("{elements} elements")));
        }
        let mut versions = Vec::with_capacity(elements / 4);
        for _ in 0..elements / 4 {
            let replica = table.replica(reader.unsigned("replica number")?);
            let replica = replica.ok_or_else(|| malformed("replica number", "it is not in the table"))?;
            let dot = Dot::new(replica.clone(), reader.unsigned("sequence")?);
            let hlc = Hlc::from_bits(reader.unsigned("hlc")?);
            versions.push(Version { dot, hlc, body: read_body(&mut reader, &limits)? });
        }
        if !reader.is_at_end() {
            return Err(malformed("record", "bytes follow its end"));
        }
        Ok(Record { versions })
    }
}

fn read_body(reader: &mut Reader, limits: &Limits) -> Result<Body, DecodeError> {
    if reader.is_nil("record body")? {
        return Ok(Body::Tombstone);
    }
    if reader.is_at_map("record body")? {
        return Ok(Body::Fields(op::read_fields(reader, limits)?));
    }
    Ok(Body::Whole(reader.binary("record body", "value_bytes_max", limits.value_bytes_max)?))
}
