//! How a replica lies in its store: which rows there are, and what a commit of the engine changes in them.

mod filling;
mod live;

use std::{collections::BTreeMap, ops::Bound};

use archipelago_clock::{Dot, Hlc, Incarnation, ReplicaId, VersionVector};
use archipelago_conflict::{Attention, StrategyTable};
use archipelago_engine::{Commit, DotChange, Reincarnation, Restored, is_contested, tombstones};
use archipelago_pipeline::LogId;
use archipelago_proto::{EntityId, Limits, Record, ReplicaTable, decode_members, encode_members};
use archipelago_store::{Batch, Durability, Row, Store, Table};
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{StartError, leader_follower::META_PREFIX};

pub(crate) use filling::{
    Filled, known_replicas, owner, put_entity, put_filled, put_new_replicas, put_restoring, restoring,
};
pub(crate) use live::LiveIndex;

/// The version of the rows described here. A build refuses a store of a newer version.
const FORMAT: u32 = 4;
/// Like this one, with a row for each live write: to a build that knows runs these are singles.
const FORMAT_WITHOUT_RUNS: u32 = 3;
/// And without [`Table::Tombstones`].
const FORMAT_WITHOUT_TOMBSTONES: u32 = 2;
/// And without [`Table::Live`].
const FORMAT_WITHOUT_LIVE: u32 = 1;

const FORMAT_ROW: &[u8] = b"format";
const IDENTITY_ROW: &[u8] = b"identity";
const NAMESPACE_ROW: &[u8] = b"namespace";
const HLC_CEILING_ROW: &[u8] = b"hlc_ceiling";
const CHECKPOINT_ROW: &[u8] = b"checkpoint";
const MEMBERS_ROW: &[u8] = b"members";
/// Above which of its own writes the replica had not heard of others since it was started.
const DOUBTFUL_ROW: &[u8] = b"doubtful_above";
/// What others are known to have applied.
const HEARD_ROW: &[u8] = b"heard";
/// Below what tombstones can go, and what waits for that.
/// Below what tombstones can be reclaimed, and below what they may be gone.
const FLOOR_ROWS: [&[u8]; 2] = [b"floor", b"reclaimed"];
/// Followed by the number of a replica in 4 big-endian bytes.
const REPLICA_ROWS: &[u8] = b"replica/";
/// Followed by the number of a replica in 4 big-endian bytes.
const VECTOR_ROWS: &[u8] = b"vector/";

/// How many rows are read at a time.
const PAGE_ROWS: usize = 1_024;
/// Of the outbox, where a row may have a megabyte.
const OUTBOX_PAGE_ROWS: usize = 16;

/// Where in which log the state stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    pub(crate) log: LogId,
    pub(crate) sequence: u64,
}

/// What a store holds of a replica.
pub(crate) struct Loaded {
    pub(crate) replica: ReplicaId,
    pub(crate) restored: Restored,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) live: LiveIndex,
    pub(crate) outbox_events: u64,
}

/// Reads the replica `name` from its store; a store that is empty becomes that of a new incarnation.
pub(crate) fn load(
    store: &dyn Store,
    name: &str,
    namespace: &str,
    strategies: &StrategyTable,
    mint: impl FnOnce() -> Incarnation,
) -> Result<Loaded, StartError> {
    let Some(StoredMaster { replica, namespace: found, format, checkpoint, restored }) = look(store)? else {
        return create(store, name, namespace, mint());
    };
    for (what, found, expected) in [("master", replica.name(), name), ("namespace", &found, namespace)] {
        if found != expected {
            return Err(StartError::ForeignStore { what, found: found.into(), expected: expected.into() });
        }
    }
    match format {
        FORMAT => {}
        FORMAT_WITHOUT_RUNS => {
            let mut batch = Batch::new();
            batch.put(Table::Meta, FORMAT_ROW, FORMAT.to_be_bytes().to_vec());
            store.commit(batch, Durability::Fsync)?;
        }
        _ => make_indexes(store, &restored.replicas, strategies)?,
    }
    let live = LiveIndex::load(store, &restored.vector, &restored.replicas)?;
    let outbox_events = count_outbox(store)?;
    Ok(Loaded { replica, restored, checkpoint, live, outbox_events })
}

/// A master as it lies in its store.
pub(crate) struct StoredMaster {
    pub(crate) replica: ReplicaId,
    pub(crate) namespace: String,
    format: u32,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) restored: Restored,
}

impl StoredMaster {
    /// False for a store of an older build that no master was started on since: that index is missing.
    pub(crate) fn has_tombstones(&self) -> bool {
        [FORMAT, FORMAT_WITHOUT_RUNS].contains(&self.format)
    }
}

/// Reads which master a store is of, and changes nothing; `None` if it is empty.
pub(crate) fn look(store: &dyn Store) -> Result<Option<StoredMaster>, StartError> {
    let meta = all_rows(store, Table::Meta)?;
    let meta: BTreeMap<Bytes, Bytes> = meta.into_iter().map(|row| (row.key, row.value)).collect();
    if let Some(row) = meta.get(filling::RESTORING_ROW) {
        let snapshot = filling::read_restoring(row)?.snapshot;
        return Err(StartError::HalfRestored { snapshot });
    }
    if meta.keys().any(|row| row.starts_with(META_PREFIX.as_bytes())) {
        let (found, expected) = ("leader-follower".into(), "multi-master".into());
        return Err(StartError::ForeignStore { what: "mode", found, expected });
    }
    let Some(format) = meta.get(FORMAT_ROW) else { return Ok(None) };
    let format = u32::from_be_bytes(fixed(FORMAT_ROW, format)?);
    if ![FORMAT, FORMAT_WITHOUT_RUNS, FORMAT_WITHOUT_TOMBSTONES, FORMAT_WITHOUT_LIVE].contains(&format) {
        let reason = format!("format {format} is not {FORMAT}, the one this build knows; use a newer build");
        return Err(StartError::Row { row: "format".into(), reason });
    }
    let replica: ReplicaId = text(&meta, IDENTITY_ROW)?
        .parse()
        .map_err(|error| StartError::Row { row: "identity".into(), reason: format!("{error}") })?;
    let replicas = load_replicas(&meta)?;
    let hlc_ceiling = match meta.get(HLC_CEILING_ROW) {
        Some(row) => Hlc::from_bits(u64::from_be_bytes(fixed(HLC_CEILING_ROW, row)?)),
        None => Hlc::ZERO,
    };
    let checkpoint: Option<Checkpoint> = match meta.get(CHECKPOINT_ROW) {
        Some(row) => {
            Some(rmp_serde::from_slice(row).map_err(|error| damaged(CHECKPOINT_ROW, &error.to_string()))?)
        }
        None => None,
    };
    let restored = Restored {
        vector: load_vector(&meta, &replicas)?,
        hlc_ceiling,
        replicas,
        checkpoint: checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.sequence),
        members: match meta.get(MEMBERS_ROW) {
            None => Vec::new(),
            Some(row) => decode_members(row.clone(), &Limits::default())
                .map_err(|error| damaged(MEMBERS_ROW, &error.to_string()))?,
        },
        has_run: true,
        doubtful_above: match meta.get(DOUBTFUL_ROW) {
            Some(row) => Some(u64::from_be_bytes(fixed(DOUBTFUL_ROW, row)?)),
            None => None,
        },
        heard: load_plain(&meta, HEARD_ROW)?,
        floors: (load_plain(&meta, FLOOR_ROWS[0])?, load_plain(&meta, FLOOR_ROWS[1])?),
    };
    let namespace = text(&meta, NAMESPACE_ROW)?;
    Ok(Some(StoredMaster { replica, namespace, format, checkpoint, restored }))
}

fn create(
    store: &dyn Store,
    name: &str,
    namespace: &str,
    incarnation: Incarnation,
) -> Result<Loaded, StartError> {
    let replica = ReplicaId::new(name, incarnation)
        .map_err(|error| StartError::Option { option: "master_id", reason: error.to_string() })?;
    let mut batch = Batch::new();
    batch.put(Table::Meta, FORMAT_ROW, FORMAT.to_be_bytes().to_vec());
    batch.put(Table::Meta, IDENTITY_ROW, replica.to_string());
    batch.put(Table::Meta, NAMESPACE_ROW, namespace.to_owned());
    store.commit(batch, Durability::Fsync)?;
    let restored = Restored::default();
    let live = LiveIndex::load(store, &restored.vector, &restored.replicas)?;
    Ok(Loaded { replica, restored, checkpoint: None, live, outbox_events: 0 })
}

fn load_replicas(meta: &BTreeMap<Bytes, Bytes>) -> Result<ReplicaTable, StartError> {
    let mut replicas = Vec::new();
    for (row, value) in numbered(meta, REPLICA_ROWS) {
        let id = std::str::from_utf8(value).ok().and_then(|text| text.parse::<ReplicaId>().ok());
        let id = id.ok_or_else(|| damaged(row, "it is not a replica id"))?;
        if number(row, REPLICA_ROWS)? as usize != replicas.len() {
            return Err(damaged(row, "the one before it is missing"));
        }
        replicas.push(id);
    }
    Ok(ReplicaTable::new(replicas))
}

fn load_vector(meta: &BTreeMap<Bytes, Bytes>, replicas: &ReplicaTable) -> Result<VersionVector, StartError> {
    let mut vector = VersionVector::new();
    for (row, value) in numbered(meta, VECTOR_ROWS) {
        let replica = replicas.replica(number(row, VECTOR_ROWS)?.into());
        let replica = replica.ok_or_else(|| damaged(row, "it is of an unknown replica"))?;
        vector.raise(replica.clone(), u64::from_be_bytes(fixed(row, value)?));
    }
    Ok(vector)
}

fn load_plain<T: Default + DeserializeOwned>(
    meta: &BTreeMap<Bytes, Bytes>,
    row: &'static [u8],
) -> Result<T, StartError> {
    meta.get(row).map_or_else(
        || Ok(T::default()),
        |plain| rmp_serde::from_slice(plain).map_err(|error| damaged(row, &error.to_string())),
    )
}

/// About how many rows a commit changes besides those of entities, and for how many entities one in the index of live
/// writes.
const FEW_ROWS: usize = 16;
const ENTITIES_A_LIVE_ROW: usize = 4;

/// Adds what a commit of the engine changes to a batch of the store, but for [`LiveIndex`]. The entities move from the one to
/// the other.
pub(crate) fn put(batch: &mut Batch, commit: &mut Commit, replica: &ReplicaId, log: Option<&LogId>) {
    let entities = commit.entities.len() + commit.entities.len() / ENTITIES_A_LIVE_ROW;
    batch.reserve(entities + commit.tombstones.len() + commit.pending.len() + FEW_ROWS);
    for (entity, record) in commit.entities.drain(..) {
        match record {
            Some(record) => batch.put(Table::Entities, entity, record),
            None => batch.remove(Table::Entities, entity),
        }
    }
    if let Some((first, replicas)) = &commit.replicas {
        for (number, id) in (*first..).zip(replicas) {
            batch.put(Table::Meta, numbered_row(REPLICA_ROWS, number), id.to_string());
        }
    }
    for DotChange { replica, sequence, entity, is_there } in &commit.tombstones {
        let row = dot_row(*replica, *sequence, entity);
        match is_there {
            true => batch.put(Table::Tombstones, row, Bytes::new()),
            false => batch.remove(Table::Tombstones, row),
        }
    }
    if let Some(members) = &commit.members {
        batch.put(Table::Meta, MEMBERS_ROW, encode_members(members));
    }
    if let Some(heard) = &commit.heard {
        batch.put(Table::Meta, HEARD_ROW, rmp_serde::to_vec(heard).expect("vectors are plain data"));
    }
    if let Some((held, reclaimed)) = &commit.floors {
        put_floors(batch, held, reclaimed);
    }
    for (entity, waits) in &commit.pending {
        match waits {
            true => batch.put(Table::Pending, entity.as_bytes().clone(), Bytes::new()),
            false => batch.remove(Table::Pending, entity.as_bytes().clone()),
        }
    }
    for (number, sequence) in &commit.vector {
        batch.put(Table::Meta, numbered_row(VECTOR_ROWS, *number), sequence.to_be_bytes().to_vec());
    }
    if let Some(ceiling) = commit.hlc_ceiling {
        batch.put(Table::Meta, HLC_CEILING_ROW, ceiling.bits().to_be_bytes().to_vec());
    }
    match commit.doubtful_above {
        Some(Some(above)) => {
            batch.put(Table::Meta, DOUBTFUL_ROW, above.to_be_bytes().to_vec());
        }
        Some(None) => {
            batch.remove(Table::Meta, DOUBTFUL_ROW);
        }
        None => {}
    }
    if let Some(reincarnation) = &commit.reincarnation {
        batch.put(Table::Meta, IDENTITY_ROW, reincarnation.new.to_string());
    }
    for outboxed in &commit.outbox {
        let key = OutboxKey {
            incarnation: replica.incarnation(),
            first_sequence: outboxed.first_sequence,
            last_sequence: outboxed.last_sequence,
        };
        batch.put(Table::Outbox, key.bytes(), outboxed.message.clone());
    }
    if let (Some(sequence), Some(log)) = (commit.checkpoint, log) {
        put_checkpoint(batch, &Checkpoint { log: log.clone(), sequence });
    }
}

fn put_floors(batch: &mut Batch, held: &VersionVector, reclaimed: &VersionVector) {
    for (row, floor) in FLOOR_ROWS.into_iter().zip([held, reclaimed]) {
        batch.put(Table::Meta, row, rmp_serde::to_vec(floor).expect("a vector is plain data"));
    }
}

/// Makes the indexes of a store that has not all of them yet: by dot, and of entities that wait for someone.
fn make_indexes(
    store: &dyn Store,
    replicas: &ReplicaTable,
    strategies: &StrategyTable,
) -> Result<(), StartError> {
    let mut batch = Batch::new();
    each_entity(store, |entity, record| {
        let record = Record::decode(record, replicas, &Limits::default())
            .map_err(|error| damaged(entity.as_bytes(), &error.to_string()))?;
        let mut put = |table, dot: &Dot| {
            let number = replicas.number(&dot.actor).expect("it was read by its number");
            batch.put(table, dot_row(number, dot.sequence, &entity), Bytes::new());
        };
        record.versions.iter().for_each(|version| put(Table::Live, &version.dot));
        let family = strategies.strategy(&entity).family();
        tombstones(&record, family).for_each(|dot| put(Table::Tombstones, dot));
        if strategies.strategy(&entity).attention() == Attention::Resolve && is_contested(&record) {
            batch.put(Table::Pending, entity.as_bytes().clone(), Bytes::new());
        }
        if batch.len() >= PAGE_ROWS {
            store.commit(std::mem::take(&mut batch), Durability::Memory)?;
        }
        Ok::<_, StartError>(())
    })?;
    // Only with this row, and after all others, the index is taken for whole.
    batch.put(Table::Meta, FORMAT_ROW, FORMAT.to_be_bytes().to_vec());
    Ok(store.commit(batch, Durability::Fsync)?)
}

/// Up to `limit` dots of tombstones of the replica with this number, with sequences above `after`.
pub(crate) fn tombstone_dots(
    store: &dyn Store,
    replica: u32,
    after: u64,
    limit: usize,
) -> Result<Vec<(u64, EntityId)>, Box<dyn std::error::Error + Send + Sync>> {
    let Some(first) = after.checked_add(1) else { return Ok(Vec::new()) };
    let (from, to) = (dot_row(replica, first, ""), dot_row(replica, u64::MAX, "\u{10ffff}"));
    let rows = store.scan(Table::Tombstones, Bound::Included(&from), Bound::Included(&to), limit)?;
    let dots = rows.into_iter().map(|row| {
        let (_, sequence, entity) = parse_dot(&row.key)?;
        Ok((sequence, entity))
    });
    dots.collect()
}

/// The number of the replica, the sequence, and the entity of a row of an index by dot.
pub(crate) fn parse_dot(key: &Bytes) -> Result<(u32, u64, EntityId), StartError> {
    let parts = || {
        let number = u32::from_be_bytes(key.get(..4)?.try_into().ok()?);
        let sequence = u64::from_be_bytes(key.get(4..12)?.try_into().ok()?);
        Some((number, sequence, EntityId::from_utf8(key.slice(12..))?))
    };
    parts().ok_or_else(|| damaged(key, "not a key of an index by dot"))
}

fn dot_row(replica: u32, sequence: u64, entity: &str) -> Vec<u8> {
    [&replica.to_be_bytes()[..], &sequence.to_be_bytes(), entity.as_bytes()].concat()
}

/// Adds a new checkpoint to a batch of the store.
pub(crate) fn put_checkpoint(batch: &mut Batch, checkpoint: &Checkpoint) {
    let bytes = rmp_serde::to_vec_named(checkpoint).expect("a checkpoint is plain data");
    batch.put(Table::Meta, CHECKPOINT_ROW, bytes);
}

/// Removes from the outbox what another identity than `change.old` stands for now.
pub(crate) fn disown(batch: &mut Batch, store: &dyn Store, change: &Reincarnation) -> Result<(), StartError> {
    let first_sequence = change.fork + 1;
    let from = OutboxKey { incarnation: change.old.incarnation(), first_sequence, last_sequence: 0 };
    for waiting in outbox(store, Bound::Included(from), usize::MAX)? {
        if waiting.key.incarnation == change.old.incarnation() {
            batch.remove(Table::Outbox, waiting.key.bytes());
        }
    }
    Ok(())
}

/// A message that waits for the pipeline.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) key: OutboxKey,
    pub(crate) message: Bytes,
}

/// Orders the outbox: by incarnation, then by sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OutboxKey {
    pub(crate) incarnation: Incarnation,
    pub(crate) first_sequence: u64,
    pub(crate) last_sequence: u64,
}

impl OutboxKey {
    pub(crate) fn events(&self) -> u64 {
        self.last_sequence - self.first_sequence + 1
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let words = [self.incarnation.bits(), self.first_sequence, self.last_sequence];
        words.into_iter().flat_map(u64::to_be_bytes).collect()
    }

    fn parse(key: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u64::from_be_bytes(key.get(at..at + 8)?.try_into().ok()?));
        let (first_sequence, last_sequence) = (word(8)?, word(16)?);
        let sound = key.len() == 24 && first_sequence >= 1 && last_sequence >= first_sequence;
        sound.then_some(OutboxKey {
            incarnation: Incarnation::from_bits(word(0)?),
            first_sequence,
            last_sequence,
        })
    }
}

/// Up to `limit` messages that wait, in the order in which they must travel.
pub(crate) fn outbox(
    store: &dyn Store,
    from: Bound<OutboxKey>,
    limit: usize,
) -> Result<Vec<Waiting>, StartError> {
    let from = from.map(|key| key.bytes());
    let rows = rows(store, Table::Outbox, from, limit)?;
    rows.into_iter()
        .map(|row| {
            let key =
                OutboxKey::parse(&row.key).ok_or_else(|| damaged(&row.key, "not a key of the outbox"))?;
            Ok(Waiting { key, message: row.value })
        })
        .collect()
}

pub(crate) fn count_outbox(store: &dyn Store) -> Result<u64, StartError> {
    let (mut events, mut from) = (0, Bound::Unbounded);
    loop {
        let page = outbox(store, from, OUTBOX_PAGE_ROWS)?;
        let Some(last) = page.last() else { return Ok(events) };
        from = Bound::Excluded(last.key);
        events += page.iter().map(|waiting| waiting.key.events()).sum::<u64>();
    }
}

/// Calls `visit` with every stored entity, in order of id.
pub(crate) fn each_entity<E: From<StartError>>(
    store: &dyn Store,
    mut visit: impl FnMut(EntityId, Bytes) -> Result<(), E>,
) -> Result<(), E> {
    each_row(store, Table::Entities, |row| {
        let id = EntityId::from_utf8(row.key.clone());
        visit(id.ok_or_else(|| damaged(&row.key, "the id of an entity is not UTF-8"))?, row.value)
    })
}

/// Calls `visit` with every row of a table, in order of key.
pub(crate) fn each_row<E: From<StartError>>(
    store: &dyn Store,
    table: Table,
    mut visit: impl FnMut(Row) -> Result<(), E>,
) -> Result<(), E> {
    let mut from = Bound::Unbounded;
    loop {
        let page = rows(store, table, from, PAGE_ROWS)?;
        let Some(last) = page.last().map(|row| row.key.to_vec()) else { return Ok(()) };
        page.into_iter().try_for_each(&mut visit)?;
        from = Bound::Excluded(last);
    }
}

fn all_rows(store: &dyn Store, table: Table) -> Result<Vec<Row>, StartError> {
    rows(store, table, Bound::Unbounded, usize::MAX)
}

fn rows(
    store: &dyn Store,
    table: Table,
    mut from: Bound<Vec<u8>>,
    limit: usize,
) -> Result<Vec<Row>, StartError> {
    let mut rows: Vec<Row> = Vec::new();
    while rows.len() < limit {
        let page_rows = PAGE_ROWS.min(limit - rows.len());
        let page = store.scan(table, from.as_ref().map(Vec::as_slice), Bound::Unbounded, page_rows)?;
        let Some(last) = page.last() else { break };
        from = Bound::Excluded(last.key.to_vec());
        rows.extend(page);
    }
    Ok(rows)
}

fn numbered<'m>(
    meta: &'m BTreeMap<Bytes, Bytes>,
    prefix: &'static [u8],
) -> impl Iterator<Item = (&'m [u8], &'m [u8])> {
    let rows = meta.range(Bytes::from_static(prefix)..);
    rows.take_while(move |(key, _)| key.starts_with(prefix)).map(|(key, value)| (&key[..], &value[..]))
}

fn numbered_row(prefix: &[u8], number: u32) -> Vec<u8> {
    [prefix, &number.to_be_bytes()].concat()
}

fn number(row: &[u8], prefix: &[u8]) -> Result<u32, StartError> {
    Ok(u32::from_be_bytes(fixed(row, &row[prefix.len()..])?))
}

fn fixed<const N: usize>(row: &[u8], value: &[u8]) -> Result<[u8; N], StartError> {
    value.try_into().map_err(|_| damaged(row, &format!("{} bytes instead of {N}", value.len())))
}

fn text(meta: &BTreeMap<Bytes, Bytes>, row: &'static [u8]) -> Result<String, StartError> {
    let value = meta.get(row).ok_or_else(|| damaged(row, "it is missing"))?;
    String::from_utf8(value.to_vec()).map_err(|_| damaged(row, "it is not UTF-8"))
}

fn damaged(row: &[u8], reason: &str) -> StartError {
    StartError::Row { row: row.escape_ascii().to_string(), reason: reason.to_owned() }
}
