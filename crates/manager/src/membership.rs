//! Who belongs to the namespace, and what holds back the reclaiming of tombstones.

use std::{sync::atomic::Ordering, time::Duration};

use archipelago_clock::{Hlc, ReplicaId, VersionVector};
use archipelago_engine::{Engine, EngineConfig, Reclaimable};
use archipelago_proto::{EntityId, MemberState, ReplicaTable};
use archipelago_store::{Store, Table};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::{
    CloseError, CloseReport, MultiMasterManager, ReadError, RetireError, StartError, WriteError,
    WriteReceipt, acknowledge::Spread, persist, replica::Command,
};

/// A member of the namespace, as this master knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberView {
    /// Who it is. A name stands for one master, whose latest incarnation counts.
    pub master_id: ReplicaId,
    /// How it stands.
    pub state: MemberState,
    /// Since when it does.
    pub since: Hlc,
}

/// What could be reclaimed, and what holds that back: a dry run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ReclaimReport {
    /// How many tombstones there are, of entities and of fields.
    pub tombstones: u64,
    /// How many of them every awaited member has applied: they go within seconds.
    pub reclaimable: u64,
    /// About how many bytes their rows take in the store, those of the indexes included.
    pub reclaimable_bytes: u64,
    /// The first of the entities that they are of, up to the number asked for.
    pub entities: Vec<EntityId>,
    /// The members that hold tombstones back, those that hold back most first.
    pub held_back_by: Vec<HeldBack>,
}

/// A member that has not applied all removals, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HeldBack {
    /// Who.
    pub master_id: ReplicaId,
    /// How many tombstones it holds back.
    pub tombstones: u64,
    /// False if it was never heard. A member that never comes back is to be
    /// [retired](MultiMasterManager::retire).
    pub is_heard: bool,
}

impl MultiMasterManager {
    /// The members of the namespace that this master knows, itself included, in order of name: those that left or were
    /// retired, too.
    ///
    /// # Errors
    /// [`ReadError::Closed`] if the manager is closed.
    pub async fn members(&self) -> Result<Vec<MemberView>, ReadError> {
        let (reply, members) = oneshot::channel();
        self.send(Command::Members { reply }).await.ok_or(ReadError::Closed)?;
        let members = members.await.map_err(|_| ReadError::Closed)?.into_iter();
        Ok(members
            .map(|member| MemberView { master_id: member.replica, state: member.state, since: member.since })
            .collect())
    }

    /// Gives up a member that does not come back: nothing waits for it any more, above all no tombstone. All masters learn
    /// of it. Should it come back after all, it catches up by repair or snapshot and joins again, and what it had written
    /// meanwhile reaches the others, too.
    ///
    /// # Errors
    /// [`RetireError`]; nothing changed.
    pub async fn retire(&self, name: &str) -> Result<ReplicaId, RetireError> {
        let (reply, retired) = oneshot::channel();
        let name = name.to_owned();
        self.send(Command::Retire { name, reply }).await.ok_or(RetireError::Closed)?;
        Ok(retired.await.map_err(|_| RetireError::Closed)??)
    }

    /// Leaves the namespace for good: takes no more writes, brings those that are queued to the pipeline, tells the others
    /// that nothing is to wait for it, and closes. Waits up to `deadline` until another master is known to have been told.
    ///
    /// The store keeps everything; started on it again, the master joins again.
    ///
    /// # Errors
    /// [`CloseError`] if the store fails.
    pub async fn leave(&self, deadline: Duration) -> Result<CloseReport, CloseError> {
        self.running.leaving.store(true, Ordering::Release);
        let told = async {
            self.go(false).await?;
            self.drained().await;
            self.go(true).await?;
            let mut spread = self.shared().spread.subscribe();
            // Whoever was never heard cannot be told.
            let is_told = |spread: &Spread| spread.peers.is_empty() || spread.is_left;
            spread.wait_for(is_told).await.map(drop).ok()
        };
        // What was not told in time the others must be told by hand: they retire this master then.
        let _ = tokio::time::timeout(deadline, told).await;
        self.close().await
    }

    /// Lets the CRDTs of an entity, under CRDT merge, forget what they keep of removals: the items removed from a `List`, the
    /// elements removed from an `RwSet`. That is a write like any other, which others join; `None` if there is nothing to
    /// forget, or some member may not have all of it yet. Tombstones of entities and fields go by themselves.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn compact(&self, entity_id: impl Into<EntityId>) -> Result<Option<WriteReceipt>, WriteError> {
        let entity = entity_id.into();
        self.command(|reply| Command::Compact { entity, reply }).await
    }

    async fn go(&self, is_done: bool) -> Option<()> {
        let (reply, gone) = oneshot::channel();
        self.send(Command::Leave { is_done, reply }).await?;
        gone.await.ok()
    }

    /// What could be reclaimed, and what holds that back; names the first `entities_max` entities. Nothing changes:
    /// tombstones go by themselves as soon as every member has applied them.
    ///
    /// # Errors
    /// [`ReadError`] if the store fails or the manager is closed.
    pub async fn reclaimable(&self, entities_max: usize) -> Result<ReclaimReport, ReadError> {
        let (reply, reclaimable) = oneshot::channel();
        self.send(Command::Reclaimable { reply }).await.ok_or(ReadError::Closed)?;
        let known = reclaimable.await.map_err(|_| ReadError::Closed)?;
        let shared = self.running.shared.clone();
        let scan = move || {
            let replicas = shared.replicas().clone();
            report(&*shared.store, &replicas, known, entities_max)
        };
        self.shared().tasks.blocking(scan).await.map_err(|_| ReadError::Closed)?
    }
}

/// What could be reclaimed in the store of a master that does not run, as of when it did; see
/// [`MultiMasterManager::reclaimable`]. Nothing changes.
///
/// # Errors
/// [`ReadError`] if the store cannot be read, is empty, or is of an older build and no master of this one was started on it.
pub fn reclaimable_in(store: &dyn Store, entities_max: usize) -> Result<ReclaimReport, ReadError> {
    let missing = |reason: &str| StartError::Row { row: "format".into(), reason: reason.to_owned() };
    let stored = persist::look(store)?.ok_or_else(|| missing("there is no master in this store"))?;
    if !stored.has_tombstones() {
        return Err(missing("it is of an older build; start a master on it once").into());
    }
    let replicas = stored.restored.replicas.clone();
    let known =
        Engine::new(EngineConfig::new(stored.namespace, stored.replica), stored.restored).reclaimable();
    report(store, &replicas, known, entities_max)
}

fn report(
    store: &dyn Store,
    replicas: &ReplicaTable,
    known: Reclaimable,
    entities_max: usize,
) -> Result<ReclaimReport, ReadError> {
    let nothing = VersionVector::new();
    let mut report = ReclaimReport::default();
    let mut held_back = vec![0; known.awaited.len()];
    persist::each_row(store, Table::Tombstones, |row| {
        let (number, sequence, entity) = persist::parse_dot(&row.key)?;
        let Some(replica) = replicas.replica(number.into()) else { return Ok(()) };
        report.tombstones += 1;
        let mut is_stable = true;
        for (at, (_, vector)) in known.awaited.iter().enumerate() {
            let has = vector.as_ref().unwrap_or(&nothing).get(replica) >= sequence;
            held_back[at] += u64::from(!has);
            is_stable &= has;
        }
        if is_stable {
            report.reclaimable += 1;
            let record = store.get(Table::Entities, entity.as_bytes())?;
            let bytes = record.map_or(0, |record| record.len()) + entity.len() + 2 * row.key.len();
            report.reclaimable_bytes += bytes as u64;
            if report.entities.len() < entities_max {
                report.entities.push(entity);
            }
        }
        Ok::<_, ReadError>(())
    })?;
    let held_back = known.awaited.into_iter().zip(held_back).filter(|(_, tombstones)| *tombstones > 0);
    let held_back = held_back.map(|((master_id, vector), tombstones)| HeldBack {
        master_id,
        tombstones,
        is_heard: vector.is_some(),
    });
    report.held_back_by = held_back.collect();
    report.held_back_by.sort_by_key(|held| std::cmp::Reverse(held.tombstones));
    Ok(report)
}
