//! A snapshot into an empty store, so that a master started on it has the state.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use archipelago_clock::{Hlc, Incarnation, ReplicaId};
use archipelago_pipeline::snapshots::SnapshotStore;
use archipelago_proto::{DeltaPiece, Limits, ReplicaTable};
use archipelago_store::{Batch, Durability, Store};
use serde::{Deserialize, Serialize};

use super::{SnapshotError, SnapshotInfo, SnapshotProgress, SnapshotReader};
use crate::{
    StartError,
    persist::{self, Filled},
};

/// A snapshot that is being restored into an empty store: see [`restore_snapshot`]. Dropped or killed before it ends, it
/// goes on where it was when it is begun again.
#[derive(Debug)]
pub struct SnapshotRestore<'a> {
    reader: SnapshotReader<'a>,
    store: Arc<dyn Store>,
    namespace: String,
    replicas: ReplicaTable,
    restoring: Restoring,
}

/// How far a restore is: a row of the store that it fills.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Restoring {
    /// The name of the snapshot, for people.
    pub(crate) snapshot: String,
    /// The digest of the snapshot, in hexadecimal digits.
    digest: String,
    /// The identity that the store will have.
    identity: String,
    /// How many chunks are in the store.
    chunks: u64,
    /// How many entities were in them.
    entities: u64,
    /// The greatest stamp in them.
    hlc: u64,
}

impl<'a> SnapshotRestore<'a> {
    /// Begins to restore the snapshot `name` as the store of the master `master_id`, or goes on with it.
    ///
    /// # Errors
    /// [`SnapshotError::NotEmpty`] and [`SnapshotError::HalfRestored`] if the store has something else,
    /// [`SnapshotError::ForeignNamespace`], and what is wrong with the snapshot or the store. Nothing was changed.
    pub async fn begin(
        snapshots: &'a dyn SnapshotStore,
        name: &str,
        store: Arc<dyn Store>,
        (master_id, namespace): (&str, &str),
        limits: &Limits,
    ) -> Result<SnapshotRestore<'a>, SnapshotError> {
        let mut reader = SnapshotReader::open(snapshots, name, limits).await?;
        let found = &reader.manifest().namespace;
        if found != namespace {
            let (name, found, expected) = (name.to_owned(), found.clone(), namespace.to_owned());
            return Err(SnapshotError::ForeignNamespace { name, found, expected });
        }
        let digest = format!("{:032x}", reader.manifest().digest());
        let restoring = match persist::restoring(&*store)? {
            Some(found) => {
                let identity = found.identity.parse::<ReplicaId>();
                if found.digest != digest || identity.is_ok_and(|identity| identity.name() != master_id) {
                    let found = format!("{:?}, as the master {:?}", found.snapshot, found.identity);
                    return Err(SnapshotError::HalfRestored { found });
                }
                found
            }
            None => {
                if let Some(owner) = persist::owner(&*store)? {
                    return Err(SnapshotError::NotEmpty { owner });
                }
                let identity = mint(master_id)?.to_string();
                Restoring { snapshot: name.to_owned(), digest, identity, chunks: 0, entities: 0, hlc: 0 }
            }
        };
        reader.resume(restoring.chunks, restoring.entities);
        let replicas = persist::known_replicas(&*store)?;
        let namespace = namespace.to_owned();
        let restore = SnapshotRestore { reader, store, namespace, replicas, restoring };
        let mut batch = Batch::new();
        persist::put_restoring(&mut batch, &restore.restoring);
        restore.commit(batch, Durability::Fsync).await?;
        Ok(restore)
    }

    /// How far it is.
    pub fn progress(&self) -> SnapshotProgress {
        self.reader.progress()
    }

    /// Restores the next chunk; false after the last one, and then a master can be started on the store.
    ///
    /// # Errors
    /// [`SnapshotError`] if the snapshot is not usable, or the store fails. What was restored stays, and it can be gone on
    /// with once the cause is mended.
    pub async fn restore_next(&mut self) -> Result<bool, SnapshotError> {
        let Some(chunk) = self.reader.next().await? else {
            self.finish().await?;
            return Ok(false);
        };
        let mut batch = Batch::new();
        let known = self.replicas.replicas().len();
        self.put(&mut batch, chunk.piece);
        persist::put_new_replicas(&mut batch, &self.replicas, known);
        let progress = self.reader.progress();
        (self.restoring.chunks, self.restoring.entities) = (progress.chunks, progress.entities);
        persist::put_restoring(&mut batch, &self.restoring);
        // Batches survive in their order: power loss takes progress, and nothing else.
        self.commit(batch, Durability::Os).await?;
        Ok(true)
    }

    /// What is being restored.
    pub fn info(&self) -> SnapshotInfo {
        self.reader.info()
    }

    fn put(&mut self, batch: &mut Batch, piece: DeltaPiece) {
        for (entity, record) in piece.entities {
            let stamps = record.versions.iter().map(|version| version.hlc.bits());
            self.restoring.hlc = stamps.fold(self.restoring.hlc, u64::max);
            // One that changed while the snapshot was made comes again, and replaces what came before.
            persist::put_entity(batch, &mut self.replicas, &entity, &record);
        }
    }

    async fn finish(&mut self) -> Result<(), SnapshotError> {
        let manifest = self.reader.manifest();
        let identity = self.restoring.identity.parse().map_err(|error| StartError::Row {
            row: "restoring".into(),
            reason: format!("its identity is none: {error}"),
        })?;
        let mut batch = Batch::new();
        let known = self.replicas.replicas().len();
        persist::put_filled(
            &mut batch,
            &mut self.replicas,
            &Filled {
                replica: &identity,
                namespace: &self.namespace,
                vector: &manifest.vector,
                hlc_ceiling: Hlc::from_bits(self.restoring.hlc),
                floor: &manifest.floor,
                told_floor: &manifest.told_floor,
                members: &manifest.members,
            },
        );
        persist::put_new_replicas(&mut batch, &self.replicas, known);
        self.commit(batch, Durability::Fsync).await
    }

    async fn commit(&self, batch: Batch, durability: Durability) -> Result<(), SnapshotError> {
        let store = self.store.clone();
        let committed = tokio::task::spawn_blocking(move || store.commit(batch, durability)).await;
        Ok(committed.map_err(|_| SnapshotError::Closed)??)
    }
}

/// Fills an empty store with the snapshot `name`, so that the master `master_id` of `namespace` started on it has the state
/// that is in it. It is a new incarnation, and takes part like every other master: what came after the snapshot it reads
/// from the log, or fetches from other masters.
///
/// Cancelled or killed, it goes on where it was when it is called again; until it is done, no master starts on the store.
///
/// # Errors
/// [`SnapshotError::NotEmpty`] if the store has anything; then nothing was changed. Every other [`SnapshotError`].
pub async fn restore_snapshot(
    snapshots: &dyn SnapshotStore,
    name: &str,
    store: Arc<dyn Store>,
    (master_id, namespace): (&str, &str),
    limits: &Limits,
) -> Result<SnapshotInfo, SnapshotError> {
    let mut restore = SnapshotRestore::begin(snapshots, name, store, (master_id, namespace), limits).await?;
    while restore.restore_next().await? {}
    Ok(restore.info())
}

fn mint(master_id: &str) -> Result<ReplicaId, StartError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_unix_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    ReplicaId::new(master_id, Incarnation::mint(now_unix_ms, rand::random()))
        .map_err(|error| StartError::Option { option: "master_id", reason: error.to_string() })
}
