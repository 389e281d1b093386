use std::{collections::BTreeMap, sync::Arc, time::Duration};

use archipelago_clock::{Dot, Hlc, ReplicaId, VersionVector};
use archipelago_conflict::Attention;
use archipelago_proto::{EntityId, Member, MemberState, TraceId};
use bytes::Bytes;

use crate::{Clash, Reincarnation};

/// What the engine wants done. Carry effects out in the order in which [`Engine::flush`](crate::Engine::flush) gives
/// them; if a commit fails, drop the engine and start again from the store.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Store this, atomically.
    Commit(Box<Commit>),
    /// Tell whoever listens. What it tells of is in the commits before.
    Notify(Notice),
    /// This replica has lacked for a while what another one has applied, and the log does not bring it: ask for a
    /// [`Delta`](crate::Delta).
    Repair {
        /// Who has it.
        from: ReplicaId,
        /// Its session: two replicas may go by one name, for a while even by one identity.
        session: u64,
    },
    /// Append this to the log: a [`Floor`](archipelago_proto::Floor). If that fails, another one follows in time.
    TellFloor {
        /// The message.
        message: Bytes,
    },
    /// Read the log again from behind `after`: events that found no room in the causal buffer are due. Messages that
    /// were delivered before this and not handled yet must be dropped.
    Rewind {
        /// The checkpoint: the last message that is done with.
        after: u64,
    },
}

/// Changes that belong together. Everything is a new value for what it names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Commit {
    /// The state of entities, encoded; `None` for one of which nothing is left.
    pub entities: Vec<(EntityId, Option<Bytes>)>,
    /// By how much the number of entities grows.
    pub held: i64,
    /// Dots that became live or ceased to be, and the entity in which: the index by which repair finds what a replica
    /// lacks.
    pub live: Vec<DotChange>,
    /// The same for dots of tombstones that can be reclaimed in time.
    pub tombstones: Vec<DotChange>,
    /// All members that are known.
    pub members: Option<Vec<Member>>,
    /// What others are known to have applied.
    pub heard: Option<BTreeMap<ReplicaId, VersionVector>>,
    /// Below what no older write counts, and below what tombstones may be gone.
    pub floors: Option<(VersionVector, VersionVector)>,
    /// The replica has another identity from here on.
    pub reincarnation: Option<Reincarnation>,
    /// Above which own sequence writes are in doubt, if any, as [`Restored::doubtful_above`](crate::Restored).
    pub doubtful_above: Option<Option<u64>>,
    /// Writes that became new writes of this replica, each with its name until now and its name from now on: this replica
    /// took the state of another one, which did not have them and may have reclaimed removals that they never met.
    pub rewritten: Vec<(Dot, Dot)>,
    /// Entities that began (true) or ceased (false) to wait for someone to resolve a conflict.
    pub pending: Vec<(EntityId, bool)>,
    /// Entries of the vector: the number of a replica and its sequence.
    pub vector: Vec<(u32, u64)>,
    /// Replicas that were given a number, in the order of numbers, the first with the number given.
    pub replicas: Option<(u32, Vec<ReplicaId>)>,
    /// The ceiling of the clock.
    pub hlc_ceiling: Option<Hlc>,
    /// Messages for the log, each with the sequence of its first event and of its last.
    pub outbox: Vec<Outboxed>,
    /// The last message of the log that is in the state.
    pub checkpoint: Option<u64>,
}

/// A change of one row of an index by dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DotChange {
    /// The number of the replica.
    pub replica: u32,
    /// The sequence.
    pub sequence: u64,
    /// The entity that the row is of.
    pub entity: EntityId,
    /// False if the row is to be removed.
    pub is_there: bool,
}

/// A message that must reach the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outboxed {
    /// The sequence of the first event inside.
    pub first_sequence: u64,
    /// The sequence of the last event inside.
    pub last_sequence: u64,
    /// The message: an [`EventBatch`](archipelago_proto::EventBatch).
    pub message: Bytes,
}

impl Commit {
    /// True if there is nothing to store.
    pub fn is_empty(&self) -> bool {
        *self == Commit::default()
    }

    /// True if it must survive whatever the replica promises to survive: what is in it comes from nowhere else.
    pub fn must_last(&self) -> bool {
        self.has_local_writes() || self.reincarnation.is_some() || !self.rewritten.is_empty()
    }

    /// True if it stands for local writes, which are acknowledged by it.
    pub fn has_local_writes(&self) -> bool {
        !self.outbox.is_empty()
    }
}

/// Something worth telling.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// An event of another replica was applied.
    Applied {
        /// The event.
        dot: Dot,
        /// What it wrote to; it may share the memory of a whole message, so [detach](EntityId::detached) it to keep it.
        entity: EntityId,
        /// When it was written.
        hlc: Hlc,
        /// What it is a part of, if its author told; not known of what came by repair.
        trace: Option<TraceId>,
    },
    /// Two writes did not know of each other.
    Conflict(Arc<Conflict>),
    /// An event is stamped too far ahead; it waits, and the later ones of its origin with it.
    Quarantined {
        /// The event.
        dot: Dot,
        /// How far it is ahead of this replica's clock.
        ahead: Duration,
    },
    /// An event waited for long for a write of a replica that is gone, which is nowhere to be had. Should somebody have
    /// applied both, they come by repair.
    LeftToRepair {
        /// The event.
        dot: Dot,
    },
    /// Another replica cannot read what this one writes, or writes what this one cannot read.
    FormatMismatch {
        /// The other replica.
        replica: ReplicaId,
        /// The oldest and the newest version of the envelope that it reads.
        reads: (u64, u64),
    },
    /// Another replica resolves conflicts by other rules: what the two show of the same writes may differ.
    StrategyMismatch {
        /// The other replica.
        replica: ReplicaId,
        /// The fingerprint of this replica's strategies.
        ours: u64,
        /// That of the other's.
        theirs: u64,
    },
    /// Another replica has applied the same writes by the same rules, and has another state: one of the two is damaged.
    Diverged {
        /// The other replica.
        replica: ReplicaId,
    },
    /// Something in the store was changed by somebody else than the engine, or is damaged. What is stored counts from now on.
    Damaged {
        /// The buckets of the digest in which it is.
        buckets: Vec<u8>,
        /// What cannot be understood: the first [`UNREADABLE_MAX`](crate::UNREADABLE_MAX).
        unreadable: Vec<EntityId>,
    },
    /// This replica has another identity.
    Reincarnated {
        /// Its identity before.
        old: ReplicaId,
        /// Its identity now.
        new: ReplicaId,
        /// How many writes it made in this session go by the new identity.
        writes: u64,
    },
    /// This replica was away for so long that others have reclaimed removals that it had not seen. It took their state, and
    /// what it had and they had not became new writes of its own.
    Rewritten {
        /// How many writes.
        writes: u64,
    },
    /// A replica joined, left, or was retired.
    Member {
        /// Who.
        replica: ReplicaId,
        /// How it stands now.
        state: MemberState,
    },
    /// This replica was away for so long that others gave it up, or had left: it joins again.
    Returned {
        /// How it stood until now.
        state: MemberState,
    },
    /// Another replica goes by the same name: two stores were given one, or the old store of this name is still in use.
    NameShared {
        /// The other one.
        other: ReplicaId,
    },
    /// Another writer uses the identity of this replica, which takes no writes until it has
    /// [another one](crate::Engine::reincarnate).
    Fenced {
        /// A write under this replica's name that it did not make.
        dot: Dot,
    },
}

/// A write that was concurrent with live versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The entity written.
    pub entity: EntityId,
    /// The name of the strategy that decided.
    pub strategy: String,
    /// What it asks of people.
    pub attention: Attention,
    /// The write that revealed the conflict.
    pub dot: Dot,
    /// What clashed: under field merge one a field.
    pub clashes: Vec<Clash>,
}
