use std::{sync::Arc, time::Duration};

use archipelago_clock::{Dot, Hlc, ReplicaId};
use archipelago_proto::{EntityId, MemberState, TraceId};
use tokio::sync::broadcast;

use crate::{ConflictReport, SnapshotProgress};

/// Something that happened to a master.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notification {
    /// An event of another master was applied and is visible.
    EventApplied {
        /// The event.
        dot: Dot,
        /// The record it wrote to.
        entity_id: EntityId,
        /// The master that wrote it.
        master_id: ReplicaId,
        /// When it was written.
        hlc: Hlc,
        /// What it is a part of, if its author told; not known of what came by repair.
        trace: Option<TraceId>,
    },
    /// Two writes did not know of each other.
    ConflictDetected(Arc<ConflictReport>),
    /// An event is stamped too far ahead of this master's clock. It waits, and the later ones of its master with it.
    EventQuarantined {
        /// The event.
        dot: Dot,
        /// How far it is ahead.
        ahead: Duration,
    },
    /// The pipeline is back: queued writes travel.
    PipelineUp,
    /// The pipeline is away: writes go on and are queued.
    PipelineDown {
        /// What a person should read about it.
        reason: String,
    },
    /// The broker lost, replaced or trimmed the log that the masters share. Local writes go on and are queued until
    /// [`LogReopened`](Self::LogReopened), and what the log can not bring any more comes by repair.
    LogLost {
        /// What a person should read about it.
        reason: String,
    },
    /// The log that the masters share is followed again, from a new beginning: queued writes travel. What the lost log
    /// did not bring comes from the other masters by repair.
    LogReopened,
    /// How far a repair is: told at most twice a second while it is fetched, and once when all of it is there. Nothing of
    /// it is visible before [`Repaired`](Self::Repaired).
    RepairProgress {
        /// The other master.
        from: ReplicaId,
        /// How many entities were fetched, before an interruption too; one that changed meanwhile and came twice counts
        /// twice.
        entities: u64,
        /// How many bytes they are.
        bytes: u64,
        /// How many the other master holds, if it was asked for everything; `None` if only for what is lacking.
        entities_total: Option<u64>,
    },
    /// This master lacked writes that the log did not bring, and has them now from the state of another one.
    Repaired {
        /// The other master.
        from: ReplicaId,
        /// How many entities were fetched.
        entities: u64,
    },
    /// What this master lacks could not be had from another one. It is tried again while heartbeats show the need, and
    /// goes on from what was fetched.
    RepairFailed {
        /// The other master.
        from: ReplicaId,
        /// Why.
        reason: String,
    },
    /// This master lacked much, and has it now from a snapshot. What came after it comes from the log, or by repair.
    SnapshotTaken {
        /// The snapshot.
        name: String,
        /// How many entities were in it.
        entities: u64,
    },
    /// A snapshot that was due was not made, or the log not trimmed below it. It is tried again soon.
    SnapshotFailed {
        /// Why, for a person to read.
        reason: String,
    },
    /// A snapshot was of no use: the next one is tried, and at last the other masters.
    SnapshotSkipped {
        /// The snapshot.
        name: String,
        /// Why, for a person to read.
        reason: String,
    },
    /// A snapshot of this master is being made, or one that it lacks is being fetched: told now and then.
    SnapshotProgress {
        /// The snapshot.
        name: String,
        /// How far it is.
        progress: SnapshotProgress,
    },
    /// A snapshot of this master is stored.
    SnapshotMade {
        /// The snapshot.
        name: String,
        /// How many entities are in it.
        entities: u64,
        /// How many bytes it takes.
        bytes: u64,
    },
    /// Old messages were removed from the log that the masters share, as happens below snapshots. This master had read
    /// them; a subscriber may not have.
    LogTrimmed {
        /// What a person should read about it.
        reason: String,
    },
    /// Another master is of a build that cannot read what this one writes: upgrade the older one of the two. Until then
    /// neither loses anything; what cannot be read waits in the log.
    FormatMismatch {
        /// The other master.
        master_id: ReplicaId,
        /// The oldest and the newest version of the format that it reads; this one writes
        /// [`ENVELOPE_VERSION`](archipelago_proto::ENVELOPE_VERSION).
        reads: (u64, u64),
    },
    /// Another master resolves conflicts by other rules: what the two show of the same writes may differ until they are
    /// configured alike.
    StrategyMismatch {
        /// The other master.
        master_id: ReplicaId,
        /// The fingerprint of this master's strategies.
        ours: u64,
        /// That of the other's.
        theirs: u64,
    },
    /// Another master has applied the same writes by the same rules, and has another state: one of the two is damaged.
    Diverged {
        /// The other master.
        master_id: ReplicaId,
    },
    /// Something in the store of this master was changed by somebody else, or is damaged. What is stored counts from now on, so
    /// the other masters [diverge](Self::Diverged) from this one until it is
    /// [repaired](crate::MultiMasterManager::repair_from).
    Damaged {
        /// The buckets of the digest in which it is.
        buckets: Vec<u8>,
        /// What cannot be understood any more; of more than a thousand such entities the first.
        unreadable: Vec<EntityId>,
    },
    /// What differed from another master was taken over from it.
    Mended {
        /// The other master.
        from: ReplicaId,
        /// How many entities became the join of both states.
        joined: u64,
        /// How many became what the other master holds.
        replaced: u64,
        /// How many were left as they are.
        left: u64,
    },
    /// Another writer uses the identity of this master: two processes run on copies of one store, or the store was
    /// restored from an old copy. The master takes another identity at once, and goes on.
    Fenced {
        /// A write under this master's name that it did not make.
        dot: Dot,
    },
    /// This master has another identity. What it wrote since it was started goes by the new one; nothing of it is lost.
    /// Inside of CRDTs, what two copies of one store counted under the old identity is the greater of the two, not the sum.
    Reincarnated {
        /// Its identity before.
        old: ReplicaId,
        /// Its identity now.
        new: ReplicaId,
        /// How many writes were given new names.
        writes: u64,
    },
    /// This master was away for so long that others have reclaimed removals that it had not seen. It took the state of one of
    /// them; what it had and that one had not became new writes of this master. Nothing of it is lost, and session tokens
    /// still hold. With siblings a write may stand beside itself, if others had it as well.
    Rewritten {
        /// How many writes.
        writes: u64,
    },
    /// A master joined, left, or was retired.
    MemberChanged {
        /// The master.
        master_id: ReplicaId,
        /// How it stands now.
        state: MemberState,
    },
    /// This master was away for so long that others gave it up, or it had left. It joins again; what it wrote meanwhile
    /// reaches the others by repair. Nothing of it is lost.
    Returned {
        /// How it stood until now.
        state: MemberState,
    },
    /// Another master goes by this master's name: rename one of them, or stop the one that is not meant to be.
    NameShared {
        /// The other one.
        other: ReplicaId,
    },
    /// The store failed; the master takes no more writes until it is started again.
    StoreFailed {
        /// What the store said.
        reason: String,
    },
    /// The listener was too slow for so many notifications; they are gone. State is not affected.
    Missed(u64),
}

/// A stream of what happens to a master, from the moment of the subscription on.
///
/// Up to [`NOTIFICATIONS_MAX`] wait for a slow listener; beyond that the oldest are dropped and
/// [`Notification::Missed`] tells how many.
#[derive(Debug)]
pub struct Notifications(pub(crate) broadcast::Receiver<Notification>);

/// How many notifications wait for a slow listener.
pub const NOTIFICATIONS_MAX: usize = 4_096;

impl Notifications {
    /// The next notification; `None` once the manager is closed. Cancel safe.
    pub async fn next(&mut self) -> Option<Notification> {
        match self.0.recv().await {
            Ok(notification) => Some(notification),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Notification::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
