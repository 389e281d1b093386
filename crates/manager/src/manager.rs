use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use archipelago_clock::{ReplicaId, VersionVector};
use archipelago_engine::{Change, Received, StateDigest};
use archipelago_pipeline::Pipeline;
use archipelago_pipeline::snapshots::SnapshotStore;
use archipelago_proto::{EncodeError, EntityId, Event, FieldName, Limits, encode_value, split_fields};
use bytes::Bytes;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    ApplyError, Changes, CloseError, ConflictReport, EntityView, HotEntity, ImportError, Imported, LinkState,
    Metrics, MultiMasterBuilder, Notifications, PeerView, ReadError, SessionToken, SnapshotError,
    SnapshotInfo, TrustedKeys, WriteError, WriteReceipt,
    import::{Staging, import},
    intent::Intent,
    metrics,
    replica::{Command, Inspection},
    shared::Shared,
    snapshot::Maker,
};

/// One master of a multi-master namespace: reads and writes locally and at once, with or without network, and ends in
/// the same state as all the other masters.
///
/// A handle: clones are the same master. The master stops when it is [closed](Self::close) or the last handle is
/// dropped; what was acknowledged is in the store in either case.
#[derive(Clone, Debug)]
pub struct MultiMasterManager {
    pub(crate) running: Arc<Running>,
}

#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) shared: Arc<Shared>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) pipeline: Option<Arc<dyn Pipeline>>,
    pub(crate) apply_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) event_buffer_size: usize,
    /// Ends the tasks that talk to the pipeline.
    pub(crate) stop: CancellationToken,
    pub(crate) closing: AtomicBool,
    /// Reading goes on, writing does not.
    pub(crate) leaving: AtomicBool,
    pub(crate) import_bytes_max: u64,
    /// One import at a time; what is kept of earlier ones.
    pub(crate) importing: tokio::sync::Mutex<Option<Staging>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What [`MultiMasterManager::close`] left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseReport {
    /// How many events are still in the outbox: they travel when the master is started again.
    pub outbox_len: u64,
}

impl MultiMasterManager {
    /// The options to start a master with.
    pub fn builder() -> MultiMasterBuilder {
        MultiMasterBuilder::default()
    }

    pub(crate) fn new(running: Running) -> Self {
        MultiMasterManager { running: Arc::new(running) }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.running.shared
    }

    pub(crate) fn shared_handle(&self) -> Arc<Shared> {
        self.running.shared.clone()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.shared().limits
    }

    /// The identity of this master: its name and the incarnation that its store was given. It changes if the store turns
    /// out to be a copy that is behind, or used twice; [`Notification::Reincarnated`](crate::Notification) tells.
    pub fn master_id(&self) -> ReplicaId {
        self.shared().replica()
    }

    /// Gives the entity a value from now on.
    ///
    /// Returns once the write survives the crash that the master's durability names; it reaches the other masters
    /// later, also if the pipeline is away. Under field merge only the fields that changed are written, and the
    /// fields that `value` lacks are removed. The value is written in the version of its [`Schema`](crate::Schema) that
    /// this program knows.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was written, except after [`WriteError::StoreFailed`], where that is unknown.
    pub async fn write<T>(
        &self,
        entity_id: impl Into<EntityId>,
        value: &T,
    ) -> Result<WriteReceipt, WriteError>
    where
        T: Serialize + ?Sized,
    {
        let value = encode_value(value, self.limits())?;
        self.change(entity_id.into(), Change::Put(value), Intent::default()).await
    }

    /// Sets those fields of the entity that `fields` has, a struct or a map; the others stay, lifted if they are in an
    /// older version of their [`Schema`](crate::Schema).
    ///
    /// # Errors
    /// As [`write`](Self::write); also if `fields`, or the value that the entity has under last writer wins, is not a
    /// map.
    pub async fn patch<T>(
        &self,
        entity_id: impl Into<EntityId>,
        fields: &T,
    ) -> Result<WriteReceipt, WriteError>
    where
        T: Serialize + ?Sized,
    {
        let patch = self.patch_of(fields)?;
        self.change(entity_id.into(), patch, Intent::default()).await
    }

    pub(crate) fn patch_of<T: Serialize + ?Sized>(&self, fields: &T) -> Result<Change, WriteError> {
        let not_a_map = || EncodeError::Unrepresentable { reason: "a patch is a struct or a map".into() };
        let value = encode_value(fields, self.limits())?;
        let fields = split_fields(&value, self.limits()).map_err(archipelago_engine::WriteError::from)?;
        let fields: Vec<(FieldName, Option<Bytes>)> =
            fields.ok_or_else(not_a_map)?.into_iter().map(|(name, value)| (name, Some(value))).collect();
        Ok(Change::Patch(fields))
    }

    /// Removes the entity. No error if there is none.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn delete(&self, entity_id: impl Into<EntityId>) -> Result<WriteReceipt, WriteError> {
        self.change(entity_id.into(), Change::Delete, Intent::default()).await
    }

    /// Resolves the conflict that was looked at: `value` supersedes exactly the siblings in `seen`, `None` removes the
    /// entity. A sibling that arrived meanwhile stays, and the entity stays conflicted.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn resolve_conflict<T>(
        &self,
        seen: &EntityView,
        value: Option<&T>,
    ) -> Result<WriteReceipt, WriteError>
    where
        T: Serialize + ?Sized,
    {
        let change = match value {
            Some(value) => Change::Put(encode_value(value, self.limits())?),
            None => Change::Delete,
        };
        let intent = Intent { context: Some(seen.token.vector().clone()), ..Intent::default() };
        self.change(seen.id.clone(), change, intent).await
    }

    pub(crate) async fn command<R>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<R, WriteError>>) -> Command,
    ) -> Result<R, WriteError> {
        let (reply, outcome) = oneshot::channel();
        self.send_write(command(reply)).await?;
        outcome.await.map_err(|_| WriteError::Closed)?
    }

    /// Of a master that is about to go or gone, nothing is taken.
    pub(crate) async fn send_write(&self, write: Command) -> Result<(), WriteError> {
        let running = &self.running;
        if running.closing.load(Ordering::Acquire) || running.leaving.load(Ordering::Acquire) {
            return Err(WriteError::Closed);
        }
        running.commands.send(write).await.map_err(|_| WriteError::Closed)
    }

    /// What happens to this master from now on.
    pub fn subscribe(&self) -> Notifications {
        Notifications(self.shared().notifications())
    }

    /// Takes in an event that came by another road than the pipeline. Returns once it is applied and visible, also if
    /// it was before.
    ///
    /// # Errors
    /// [`ApplyError::Timeout`] if what it depends on does not come within `apply_timeout`, and every other
    /// [`ApplyError`].
    pub async fn apply_remote_event(&self, event: Event) -> Result<(), ApplyError> {
        let dot = event.dot.clone();
        let mut vector = self.shared().vector.subscribe();
        let (reply, received) = oneshot::channel();
        let command = Command::Apply { event: Box::new(event), reply };
        self.running.commands.send(command).await.map_err(|_| ApplyError::Closed)?;
        match received.await.map_err(|_| ApplyError::Closed)?? {
            Received::Applied | Received::Duplicate => Ok(()),
            Received::TurnedAway => {
                Err(ApplyError::BufferFull { events_max: self.running.event_buffer_size })
            }
            Received::Fenced => Err(ApplyError::ForeignIdentity),
            Received::Unreadable => Err(ApplyError::NeedsNewerBuild),
            Received::BelowFloor => Err(ApplyError::BelowFloor),
            Received::Waits => {
                let timeout = self.running.apply_timeout;
                match tokio::time::timeout(timeout, vector.wait_for(|vector| vector.contains(&dot))).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(_)) => Err(ApplyError::Closed),
                    Err(_) => Err(ApplyError::Timeout { timeout }),
                }
            }
        }
    }

    /// All that this master has and a holder of `since` lacks, for a replica that no pipeline reaches: give the parts to
    /// its [`import`](Self::import), by any road. `since` is the [`session_token`](Self::session_token) of that replica,
    /// or the [default](SessionToken::default) for everything. Its cost follows the difference, not the state.
    pub fn changes_since(&self, since: &SessionToken) -> Changes<'_> {
        Changes::new(self, since)
    }

    /// Takes in a part of what another replica's [`changes_since`](Self::changes_since) gave: in any order, again, or
    /// months late. Once all parts of an export are there, and all that it builds on, it becomes visible as a whole;
    /// until then the store keeps them, also across restarts. What was imported reaches the other masters as well.
    ///
    /// # Errors
    /// [`ImportError`]; except after [`ImportError::NotTaken`], nothing was kept.
    pub async fn import(&self, part: impl Into<Bytes>) -> Result<Imported, ImportError> {
        let mut staging = self.running.importing.lock().await;
        import(self, self.shared(), &mut staging, part.into(), self.running.import_bytes_max).await
    }

    /// Stores a snapshot of all that this master has, while it goes on: chunk by chunk, in bounded memory, and consistent,
    /// as of the moment when it ends. [`Notification::SnapshotProgress`](crate::Notification::SnapshotProgress) tells how far it is.
    ///
    /// A snapshot that was not finished is none: nobody lists it.
    ///
    /// # Errors
    /// [`SnapshotError`]; what was stored so far is of no use.
    pub async fn create_snapshot(
        &self,
        snapshots: &dyn SnapshotStore,
    ) -> Result<SnapshotInfo, SnapshotError> {
        let maker = Maker { shared: self.shared(), commands: &self.running.commands, snapshots };
        maker.make().await.map(|(info, _)| info)
    }

    /// What this master has applied, to be remembered by a reader or given to another replica.
    pub fn session_token(&self) -> SessionToken {
        self.vector_clock().into()
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.shared().namespace
    }

    /// `None` if the manager is closed.
    pub(crate) async fn send(&self, command: Command) -> Option<()> {
        self.running.commands.send(command).await.ok()
    }

    /// What this master has applied: of each master, the highest sequence.
    pub fn vector_clock(&self) -> VersionVector {
        self.shared().vector.borrow().clone()
    }

    /// Waits until this master has applied all that `token` has seen; false if that took longer than `deadline`.
    pub async fn wait_for(&self, token: &SessionToken, deadline: Duration) -> bool {
        let mut vector = self.shared().vector.subscribe();
        let covered = vector.wait_for(|vector| vector.dominates(token.vector()));
        matches!(tokio::time::timeout(deadline, covered).await, Ok(Ok(_)))
    }

    /// The most recent conflicts with the values that lost, oldest first, up to
    /// [`CONFLICTS_MAX`](crate::CONFLICTS_MAX). The store remembers them across restarts.
    pub fn conflicts(&self) -> Vec<Arc<ConflictReport>> {
        self.shared().conflicts()
    }

    /// The other masters that this one has heard since it was started, in order of name.
    ///
    /// # Errors
    /// [`ReadError::Closed`] if the manager is closed.
    pub async fn peers(&self) -> Result<Vec<PeerView>, ReadError> {
        let (reply, peers) = oneshot::channel();
        self.running.commands.send(Command::Peers { reply }).await.map_err(|_| ReadError::Closed)?;
        peers.await.map_err(|_| ReadError::Closed)
    }

    /// Whom this master believes; `None` if it was started without [`signatures`](MultiMasterBuilder::signatures).
    pub fn trusted_keys(&self) -> Option<&TrustedKeys> {
        self.shared().keys.as_ref()
    }

    /// Counts since the start and gauges as of now.
    pub fn metrics(&self) -> Metrics {
        self.shared().metrics()
    }

    /// Brings what is measured through the facade `metrics` up to now. It is at every heartbeat anyway: this is for whoever
    /// is about to read it. Once a minute at most it looks through all tombstones.
    ///
    /// # Errors
    /// [`ReadError`] if the manager is closed, or the store cannot be read.
    pub async fn measure(&self) -> Result<(), ReadError> {
        let peers = self.peers().await?;
        self.shared().telemetry.counted(&self.metrics());
        let telemetry = &self.shared().telemetry;
        telemetry.peers_are(&peers);
        if telemetry.is_weighing_due() {
            telemetry.weighed(self.reclaimable(0).await?.reclaimable_bytes);
        }
        Ok(())
    }

    /// The entities over which there were most conflicts since the start, `limit` at most and never more than 256, the one
    /// with the most first. Of an entity over which there are many, many write at once: think of a CRDT for it, or of
    /// several entities.
    pub fn hottest_entities(&self, limit: usize) -> Vec<HotEntity> {
        self.shared().telemetry.hottest_entities(limit)
    }

    /// How the master stands with the pipeline.
    pub fn link_state(&self) -> LinkState {
        self.shared().link.borrow().clone()
    }

    /// The vector and the digest of the state that belongs to it, as it is stored: masters with equal vectors have equal
    /// digests.
    ///
    /// # Errors
    /// [`ReadError::Closed`] if the manager is closed, or its store failed.
    pub async fn state_digest(&self) -> Result<(VersionVector, StateDigest), ReadError> {
        let (reply, inspection) = oneshot::channel();
        self.running.commands.send(Command::Inspect { reply }).await.map_err(|_| ReadError::Closed)?;
        let Inspection { vector, digest } = inspection.await.map_err(|_| ReadError::Closed)?;
        Ok((vector, digest))
    }

    /// Takes no more writes, brings what is queued to the pipeline if it is there, syncs and closes the store.
    ///
    /// Waits up to `close_timeout` for the pipeline. All other handles of this master are closed with it. Closing again
    /// does nothing.
    ///
    /// # Errors
    /// [`CloseError`] if the store fails.
    pub async fn close(&self) -> Result<CloseReport, CloseError> {
        let running = &self.running;
        if !running.closing.swap(true, Ordering::AcqRel) {
            // Writes that were under way are stored first: the queue is in order.
            let _ = self.state_digest().await;
            let _ = tokio::time::timeout(running.close_timeout, self.drained()).await;
            running.stop.cancel();
            let (reply, closed) = oneshot::channel();
            if running.commands.send(Command::Close { reply }).await.is_ok() {
                let _ = closed.await;
            }
            running.shared.fall_silent();
            running.shared.store.close()?;
        }
        Ok(CloseReport { outbox_len: metrics::value(&running.shared.counters.outbox_len) })
    }

    /// Returns once the outbox is empty, or at once if the pipeline is not there to empty it.
    pub(crate) async fn drained(&self) {
        let shared = self.shared();
        let mut link = shared.link.subscribe();
        loop {
            let drained = shared.outbox_drained.notified();
            if metrics::value(&shared.counters.outbox_len) == 0 || link.borrow_and_update().queues() {
                return;
            }
            tokio::select! {
                biased;
                () = drained => {}
                _ = link.changed() => {}
            }
        }
    }
}
