//! What the owner of the engine is asked to do, and what the reader of the log brings it.

use std::sync::Arc;

use archipelago_clock::{ReplicaId, VersionVector};
use archipelago_engine::{Change, LocalWrite, MemberError, Received, Reclaimable, StateDigest};
use archipelago_pipeline::LogId;
use archipelago_proto::{DeltaPiece, DeltaRequest, EntityId, Event, Floor, Heartbeat, LogPlace, Member};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::Examine;
use crate::{
    ApplyError, Expected, NotTaken, PeerView, WriteError, WriteReceipt, intent::Intent, repair::Fetched,
    schema::LooksAt, snapshot::Neighbourhood, writes::Given,
};

/// Gives the change that follows from the visible value, or `None` to leave it. Where only marks are looked at, a value
/// without any may be left out.
pub(crate) type Edit = Box<dyn FnOnce(Option<Bytes>) -> Option<Change> + Send>;

/// What the owner of the engine is asked to do.
pub(crate) enum Command {
    Write {
        write: LocalWrite,
        expected: Expected,
        reply: oneshot::Sender<Result<WriteReceipt, WriteError>>,
    },
    /// Each a write of its own.
    WriteMany {
        given: Vec<Given>,
        reply: oneshot::Sender<Vec<Result<WriteReceipt, WriteError>>>,
    },
    Update {
        entity: EntityId,
        edit: Edit,
        looks_at: LooksAt,
        intent: Intent,
        reply: oneshot::Sender<Result<Option<WriteReceipt>, WriteError>>,
    },
    Apply {
        event: Box<Event>,
        reply: oneshot::Sender<Result<Received, ApplyError>>,
    },
    /// The state, once all of it is stored.
    Inspect {
        reply: oneshot::Sender<Inspection>,
    },
    Peers {
        reply: oneshot::Sender<Vec<PeerView>>,
    },
    /// What is to be said of this master, once all of it is stored.
    Beat {
        reply: oneshot::Sender<Heartbeat>,
    },
    /// A piece of what another master lacks, once all of it is stored.
    Give {
        request: DeltaRequest,
        reply: oneshot::Sender<DeltaPiece>,
    },
    Neighbourhood {
        reply: oneshot::Sender<Neighbourhood>,
    },
    /// A piece of a snapshot, once all of it is stored.
    Capture {
        request: DeltaRequest,
        reply: oneshot::Sender<Captured>,
    },
    /// What this master lacked. Told of how many entities that was.
    Take {
        fetched: Box<Fetched>,
        reply: oneshot::Sender<Result<u64, NotTaken>>,
    },
    /// A look at what is stored, or its mending, once all of it is stored.
    Examine(Examine),
    /// By which sessions the other masters are asked.
    Sessions {
        reply: oneshot::Sender<Vec<Session>>,
    },
    /// What another master says of itself.
    Hear {
        heartbeat: Box<Heartbeat>,
    },
    Members {
        reply: oneshot::Sender<Vec<Member>>,
    },
    /// Gives up the member of this name.
    Retire {
        name: String,
        reply: oneshot::Sender<Result<ReplicaId, MemberError>>,
    },
    /// This master is about to go, or gone.
    Leave {
        is_done: bool,
        reply: oneshot::Sender<()>,
    },
    /// Lets the CRDTs of an entity forget removals, if every member has them.
    Compact {
        entity: EntityId,
        reply: oneshot::Sender<Result<Option<WriteReceipt>, WriteError>>,
    },
    Reclaimable {
        reply: oneshot::Sender<Reclaimable>,
    },
    /// Below what removals may be gone from the store.
    Reclaimed {
        reply: oneshot::Sender<VersionVector>,
    },
    Close {
        reply: oneshot::Sender<()>,
    },
}

impl Command {
    /// As how many commands it counts when a commit is filled.
    pub(crate) fn weight(&self) -> usize {
        if let Command::WriteMany { given, .. } = self { given.len() } else { 1 }
    }

    /// The entities that it may write to, in order.
    pub(crate) fn written(&self) -> impl Iterator<Item = &EntityId> {
        let (one, many) = match self {
            Command::Write { write, .. } => (Some(&write.entity), &[][..]),
            Command::Update { entity, .. } => (Some(entity), &[][..]),
            Command::WriteMany { given, .. } => (None, &given[..]),
            _ => (None, &[][..]),
        };
        one.into_iter().chain(many.iter().filter_map(Given::entity))
    }
}

/// Another master, as it was heard last.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) replica: ReplicaId,
    pub(crate) session: u64,
    pub(crate) strategies: u64,
    pub(crate) silent_ms: u64,
}

/// A consistent look at the state.
#[derive(Clone, Debug)]
pub(crate) struct Inspection {
    pub(crate) vector: VersionVector,
    pub(crate) digest: StateDigest,
}

/// A piece of a snapshot, and what holds at its moment.
#[derive(Debug)]
pub(crate) struct Captured {
    pub(crate) piece: DeltaPiece,
    /// The root of the digest of the state.
    pub(crate) digest: u128,
    pub(crate) place: Option<LogPlace>,
    pub(crate) now_unix_ms: u64,
}

/// What the reader of the log brings.
#[derive(Debug)]
pub(crate) struct Message {
    /// The reading that brought it; of an older reading than the last that was ordered it is dropped.
    pub(crate) reading: u64,
    pub(crate) log: Arc<LogId>,
    pub(crate) sequence: u64,
    /// With it the log is read to where it ended when it was opened.
    pub(crate) is_end: bool,
    pub(crate) content: Content,
}

/// As how many events a message counts at least: each may be as long as a message can be.
const MESSAGE_WEIGHT_MIN: usize = 32;

impl Message {
    /// As how many events it counts when a commit is filled.
    pub(crate) fn weight(&self) -> usize {
        let events = if let Content::Events(events) = &self.content { events.len() } else { 0 };
        events.max(MESSAGE_WEIGHT_MIN)
    }
}

#[derive(Debug)]
pub(crate) enum Content {
    Events(Vec<Event>),
    Floor(Floor),
    /// Nothing that anyone can read.
    Nothing,
    /// Something that a newer build can read.
    Unreadable,
    /// The log is another one from here on, or lost what was read: it is read from behind this message on. Told once
    /// that is stored.
    Changed(oneshot::Sender<()>),
}

/// From where the log is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadFrom {
    /// Counts the readings.
    pub(crate) reading: u64,
    pub(crate) after: u64,
}
