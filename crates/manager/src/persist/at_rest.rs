//! The store of a replica, as it lies there while nobody runs on it.

use std::collections::BTreeMap;

use archipelago_clock::{ReplicaId, VersionVector};
use archipelago_proto::{Limits, LogPlace, Member, ReplicaTable, decode_members};
use archipelago_store::{Store, Table};
use bytes::Bytes;

use super::{
    CHECKPOINT_ROW, Checkpoint, FLOOR_ROWS, FORMAT, FORMAT_ROW, FORMAT_WITHOUT_LIVE,
    FORMAT_WITHOUT_TOMBSTONES, IDENTITY_ROW, MEMBERS_ROW, NAMESPACE_ROW, all_rows, damaged, filling, fixed,
    load_plain, load_replicas, load_vector, text,
};
use crate::StartError;

/// What the store says beside its entities.
pub(crate) struct AtRest {
    pub(crate) replica: ReplicaId,
    pub(crate) namespace: String,
    pub(crate) vector: VersionVector,
    pub(crate) replicas: ReplicaTable,
    pub(crate) floor: VersionVector,
    pub(crate) reclaimed: VersionVector,
    pub(crate) members: Vec<Member>,
    pub(crate) place: Option<LogPlace>,
}

/// Looks into a store and changes nothing; `None` if it is nobody's.
pub(crate) fn at_rest(store: &dyn Store) -> Result<Option<AtRest>, StartError> {
    let meta = all_rows(store, Table::Meta)?;
    let meta: BTreeMap<Bytes, Bytes> = meta.into_iter().map(|row| (row.key, row.value)).collect();
    if let Some(row) = meta.get(filling::RESTORING_ROW) {
        let snapshot = filling::read_restoring(row)?.snapshot;
        return Err(StartError::HalfRestored { snapshot });
    }
    let Some(format) = meta.get(FORMAT_ROW) else { return Ok(None) };
    let format = u32::from_be_bytes(fixed(FORMAT_ROW, format)?);
    if ![FORMAT, FORMAT_WITHOUT_TOMBSTONES, FORMAT_WITHOUT_LIVE].contains(&format) {
        return Err(damaged(FORMAT_ROW, &format!("format {format} is of a newer build than this one")));
    }
    let replica = text(&meta, IDENTITY_ROW)?.parse();
    let replica = replica.map_err(|_| damaged(IDENTITY_ROW, "it is not a replica id"))?;
    let replicas = load_replicas(&meta)?;
    let vector = load_vector(&meta, &replicas)?;
    let place = match meta.get(CHECKPOINT_ROW) {
        None => None,
        Some(row) => {
            let checkpoint = rmp_serde::from_slice::<Checkpoint>(row);
            let Checkpoint { log, sequence } =
                checkpoint.map_err(|error| damaged(CHECKPOINT_ROW, &error.to_string()))?;
            Some(LogPlace { created_unix_ns: log.created_unix_ns, sequence })
        }
    };
    let members = match meta.get(MEMBERS_ROW) {
        None => Vec::new(),
        Some(row) => decode_members(row.clone(), &Limits::default())
            .map_err(|error| damaged(MEMBERS_ROW, &error.to_string()))?,
    };
    Ok(Some(AtRest {
        replica,
        namespace: text(&meta, NAMESPACE_ROW)?,
        vector,
        replicas,
        floor: load_plain(&meta, FLOOR_ROWS[0])?,
        reclaimed: load_plain(&meta, FLOOR_ROWS[1])?,
        members,
        place,
    }))
}
