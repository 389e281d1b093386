//! The rows of a replica without its tasks: for the measurements of this project. No part of the API; anything here may
//! change at any time.

use archipelago_clock::{ReplicaId, VersionVector};
use archipelago_engine::{Commit, Records};
use archipelago_pipeline::LogId;
use archipelago_proto::ReplicaTable;
use archipelago_store::{Batch, Durability, Store, StoreError};

use crate::{
    StartError,
    persist::{self, LiveIndex},
    replica::Stored,
};

/// A store as a master writes to it.
#[derive(Debug)]
pub struct Rows<S> {
    /// Where they are.
    pub store: S,
    live: LiveIndex,
    log: LogId,
}

impl<S: Store> Rows<S> {
    /// Those of a new replica.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn new(store: S) -> Result<Self, StartError> {
        let live = LiveIndex::load(&store, &VersionVector::default(), &ReplicaTable::default())?;
        Ok(Rows { store, live, log: LogId { name: "log".into(), created_unix_ns: 1 } })
    }

    /// Stores what a master stores for a commit.
    ///
    /// # Errors
    /// If the store fails.
    pub fn commit(
        &self,
        mut commit: Commit,
        replica: &ReplicaId,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let mut batch = Batch::new();
        persist::put(&mut batch, &mut commit, replica, Some(&self.log));
        let indexed = self.live.put(&mut batch, &self.store, &commit.live);
        indexed.map_err(|error| StoreError::Io { action: "read", source: error.into() })?;
        self.store.commit(batch, durability)
    }

    /// What is stored, as an engine asks for it.
    pub fn records(&self) -> impl Records + '_ {
        Stored::new(&self.store, &self.live)
    }
}
