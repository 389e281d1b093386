//! How an empty store becomes that of a replica that has a state already.

use std::{collections::BTreeMap, ops::Bound};

use archipelago_clock::{Hlc, ReplicaId, VersionVector};
use archipelago_proto::{EntityId, Member, Record, ReplicaTable, encode_members};
use archipelago_store::{Batch, Store, Table};
use bytes::Bytes;

use super::{
    FORMAT_ROW, FORMAT_WITHOUT_LIVE, HLC_CEILING_ROW, IDENTITY_ROW, MEMBERS_ROW, NAMESPACE_ROW, REPLICA_ROWS,
    VECTOR_ROWS, all_rows, damaged, load_replicas, numbered_row, put_floors,
};
use crate::{StartError, snapshot::Restoring};

/// There as long as the store is being filled.
pub(super) const RESTORING_ROW: &[u8] = b"restoring";

/// What the store of a replica says beside its entities.
pub(crate) struct Filled<'a> {
    pub(crate) replica: &'a ReplicaId,
    pub(crate) namespace: &'a str,
    pub(crate) vector: &'a VersionVector,
    pub(crate) hlc_ceiling: Hlc,
    pub(crate) floor: &'a VersionVector,
    pub(crate) told_floor: &'a VersionVector,
    pub(crate) members: &'a [Member],
}

/// How far the filling of the store is, if it was begun and has not ended.
pub(crate) fn restoring(store: &dyn Store) -> Result<Option<Restoring>, StartError> {
    store.get(Table::Meta, RESTORING_ROW)?.map(|row| read_restoring(&row)).transpose()
}

pub(super) fn read_restoring(row: &[u8]) -> Result<Restoring, StartError> {
    rmp_serde::from_slice(row).map_err(|error| damaged(RESTORING_ROW, &error.to_string()))
}

/// Whose store it is, for a person to read; `None` if it is empty.
pub(crate) fn owner(store: &dyn Store) -> Result<Option<String>, StartError> {
    if let Some(identity) = store.get(Table::Meta, IDENTITY_ROW)? {
        return Ok(Some(format!("the master {}", String::from_utf8_lossy(&identity))));
    }
    for table in Table::ALL {
        if !store.scan(table, Bound::Unbounded, Bound::Unbounded, 1)?.is_empty() {
            return Ok(Some(format!("something that has rows in the table {:?}", table.name())));
        }
    }
    Ok(None)
}

/// The numbers of replicas that the store knows.
pub(crate) fn known_replicas(store: &dyn Store) -> Result<ReplicaTable, StartError> {
    let meta: BTreeMap<Bytes, Bytes> =
        all_rows(store, Table::Meta)?.into_iter().map(|row| (row.key, row.value)).collect();
    load_replicas(&meta)
}

pub(crate) fn put_restoring(batch: &mut Batch, restoring: &Restoring) {
    let bytes = rmp_serde::to_vec_named(restoring).expect("how far it is, is plain data");
    batch.put(Table::Meta, RESTORING_ROW, bytes);
}

/// An entity, in the place of what was stored of it before.
pub(crate) fn put_entity(batch: &mut Batch, replicas: &mut ReplicaTable, entity: &EntityId, record: &Record) {
    batch.put(Table::Entities, entity.as_bytes().clone(), record.encode(replicas));
}

/// The replicas that were given numbers since there were `known`.
pub(crate) fn put_new_replicas(batch: &mut Batch, replicas: &ReplicaTable, known: usize) {
    for (number, replica) in (0..).zip(replicas.replicas()).skip(known) {
        batch.put(Table::Meta, numbered_row(REPLICA_ROWS, number), replica.to_string());
    }
}

/// The store is full: from here on it is that of a replica.
pub(crate) fn put_filled(batch: &mut Batch, replicas: &mut ReplicaTable, filled: &Filled<'_>) {
    batch.remove(Table::Meta, RESTORING_ROW);
    // Indexes follow from strategies, which are not known here: they are made when a master is started on the store.
    batch.put(Table::Meta, FORMAT_ROW, FORMAT_WITHOUT_LIVE.to_be_bytes().to_vec());
    batch.put(Table::Meta, IDENTITY_ROW, filled.replica.to_string());
    batch.put(Table::Meta, NAMESPACE_ROW, filled.namespace.to_owned());
    batch.put(Table::Meta, HLC_CEILING_ROW, filled.hlc_ceiling.bits().to_be_bytes().to_vec());
    batch.put(Table::Meta, MEMBERS_ROW, encode_members(filled.members));
    put_floors(batch, filled.told_floor, filled.floor);
    for (replica, sequence) in filled.vector.iter() {
        let row = numbered_row(VECTOR_ROWS, replicas.intern(replica));
        batch.put(Table::Meta, row, sequence.to_be_bytes().to_vec());
    }
}
