use std::time::Duration;

use archipelago_engine::{self as engine, MemberError};
use archipelago_pipeline::PipelineError;
use archipelago_proto::{DecodeError, EncodeError, EntityId};
use archipelago_store::StoreError;

use crate::LiftError;

/// Why a manager could not start. Nothing was changed but what the message says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// An option is missing or not usable. Permanent.
    #[error("{option}: {reason}")]
    Option {
        /// The name of the option.
        option: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store belongs to another replica or namespace. Permanent: choose another folder, or the name that it has.
    #[error("the store belongs to the {what} {found:?}, not to {expected:?}; choose another folder or name")]
    ForeignStore {
        /// `master` or `namespace`.
        what: &'static str,
        /// What the store belongs to.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// The restoring of a snapshot into the store was interrupted. Run it again, and it goes on where it was.
    #[error(
        "the store is half restored from the snapshot {snapshot:?}; restore it again to finish, and then start"
    )]
    HalfRestored {
        /// The snapshot.
        snapshot: String,
    },
    /// A row of the store is damaged or of a newer build. Permanent for this build.
    #[error("cannot understand the row {row:?} of the store: {reason}")]
    Row {
        /// The name of the row.
        row: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Why a write was refused or not acknowledged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The value is over a limit or cannot be encoded. Permanent for this value; nothing was written.
    #[error(transparent)]
    Value(#[from] EncodeError),
    /// The engine refused the write; nothing was written.
    #[error(transparent)]
    Refused(#[from] engine::WriteError),
    /// The value cannot be written in the version of its schema. Nothing was written.
    #[error("the write of {entity:?} does not fit its schema: {reason}")]
    Schema {
        /// The entity.
        entity: String,
        /// What does not fit.
        reason: String,
    },
    /// The entity is in a form that only newer programs know, and this write would leave a part of it in that form and
    /// put another part into an older one. Nothing was written: upgrade this program.
    #[error(
        "{entity:?} is in version {found} of its schema, and this program knows {known}: upgrade it to write here"
    )]
    NewerSchema {
        /// The entity.
        entity: String,
        /// The version in which it is.
        found: u32,
        /// The version that this program knows.
        known: u32,
    },
    /// The entity is not what the write [expects](crate::Expected) it to be. Nothing was written: read it again.
    #[error("{entity:?} is not in the state that the write expects: read it again, and decide anew")]
    Unexpected {
        /// The entity.
        entity: String,
    },
    /// Too many events wait for the pipeline. Worth retrying once it is back; nothing was written.
    #[error(
        "{outbox_events} events wait for the pipeline, the limit outbox_events_max; try again once it is back"
    )]
    OutboxFull {
        /// How many wait.
        outbox_events: u64,
    },
    /// The store failed. Whether this write survives is unknown; the manager takes no more writes. Close it and start
    /// again.
    #[error("the store failed, and the manager takes no more writes until it is started again: {reason}")]
    StoreFailed {
        /// What the store said.
        reason: String,
    },
    /// The manager is closed. Nothing was written.
    #[error("the manager is closed")]
    Closed,
}

impl WriteError {
    /// True if the same write may succeed later without anyone changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self, WriteError::OutboxFull { .. } | WriteError::Refused(engine::WriteError::ContextAhead))
    }
}

/// Why an update did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError<E> {
    /// The function of the caller gave this error. Nothing was written.
    #[error("the update was refused: {0}")]
    Refused(E),
    /// The entity could not be read. Nothing was written.
    #[error(transparent)]
    Read(ReadError),
    /// The write was refused or not acknowledged.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Why a read failed. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// A row of the store is damaged.
    #[error(transparent)]
    Damaged(#[from] StartError),
    /// The store failed or is closed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored for the entity is damaged, or of a newer build.
    #[error("the stored state of {entity:?} cannot be understood: {reason}")]
    Record {
        /// The entity.
        entity: String,
        /// What is wrong with it.
        reason: DecodeError,
    },
    /// The value of the entity is not of the type that was asked for.
    #[error("the value of {entity:?} is not of the type asked for: {reason}")]
    Type {
        /// The entity.
        entity: String,
        /// What does not fit.
        reason: DecodeError,
    },
    /// The value of the entity is in an older version of its schema and cannot be lifted. It can be overwritten.
    #[error("the value of {entity:?} cannot be lifted from version {version} of its schema: {reason}")]
    Schema {
        /// The entity.
        entity: String,
        /// The version at which lifting ended.
        version: u32,
        /// What the upcaster of that version said, or with what it panicked.
        reason: String,
    },
    /// The value of the entity is not of the type that was asked for, and was written by a newer program.
    #[error(
        "{entity:?} is in version {found} of its schema, this program knows {known} and cannot read it: {reason}"
    )]
    NewerSchema {
        /// The entity.
        entity: String,
        /// The version in which it is.
        found: u32,
        /// The version that this program knows.
        known: u32,
        /// What does not fit.
        reason: DecodeError,
    },
    /// The index of live writes is damaged, or cannot be read.
    #[error("the index of live writes cannot be read: {reason}")]
    Index {
        /// What is wrong with it.
        reason: String,
    },
    /// Removals were reclaimed since the export began, and it cannot be gone on with: begin another one. That takes more
    /// than 30 s between two parts.
    #[error("removals were reclaimed since the export began; begin another one")]
    Reclaimed,
    /// The manager is closed.
    #[error("the manager is closed")]
    Closed,
}

/// Why a member was not retired. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RetireError {
    /// No master of this name was ever heard of, or it is this one.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// The manager is closed.
    #[error("the manager is closed")]
    Closed,
}

impl ReadError {
    pub(crate) fn schema(entity: &EntityId, error: LiftError) -> Self {
        ReadError::Schema { entity: entity.to_string(), version: error.version, reason: error.reason }
    }
}

/// Why an event that was handed in was not applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// What the event depends on did not come within `apply_timeout`. The event waits on and is applied once it does,
    /// unless the manager is restarted before.
    #[error("what the event depends on did not come within {timeout:?}; it waits on")]
    Timeout {
        /// The `apply_timeout`.
        timeout: Duration,
    },
    /// The causal buffer is full. The event was not taken; hand it in again later.
    #[error("{events_max} events wait already, the limit event_buffer_size; hand the event in again later")]
    BufferFull {
        /// The limit.
        events_max: usize,
    },
    /// The event carries this master's own identity, but is not its own. It was not taken. The master takes another
    /// identity at once; then it can be handed in again.
    #[error("the event carries this master's identity but is not its own; hand it in again")]
    ForeignIdentity,
    /// The event was admitted by a master that lacked what everyone has applied by now. It was not taken; what it wrote
    /// comes by repair or import once that master has caught up.
    #[error("the event was admitted by a master that lacked what everyone else had; it must catch up first")]
    BelowFloor,
    /// The event has a CRDT to join of a kind that only a newer build knows. It was not taken.
    #[error("the event has a CRDT of a kind or version that only a newer build can join")]
    NeedsNewerBuild,
    /// The store failed. The manager takes no more writes until it is started again.
    #[error("the store failed: {reason}")]
    StoreFailed {
        /// What the store said.
        reason: String,
    },
    /// The manager is closed.
    #[error("the manager is closed")]
    Closed,
}

/// Why changes of another master were not merged. Nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotTaken {
    /// They hold writes under this master's name that it has not made: another one uses its identity, or its store was
    /// restored from an old copy. It takes another identity at once; then they can be taken in.
    #[error("they hold {dot}, a write under this master's name that it has not made; try again")]
    Fenced {
        /// The last such write.
        dot: archipelago_clock::Dot,
    },
    /// Whoever made them lacks removals that every member has and may have forgotten: it must first take in the changes of
    /// this master; then its changes can be taken in.
    #[error("{giver} lacks removals that all members have; give it the changes of this master first")]
    GiverBehind {
        /// Who made them.
        giver: archipelago_clock::ReplicaId,
    },
    /// Whoever made them may have forgotten removals that this master lacks. Worth retrying with all that it has.
    #[error(
        "the giver may have forgotten removals that this master lacks; take all of its changes, from the beginning"
    )]
    Incomplete,
    /// A version is stamped too far ahead of this master's clock. Worth retrying at its time.
    #[error("{entity:?} is stamped too far ahead of this master's clock; try again in {ahead:?}")]
    Ahead {
        /// The entity.
        entity: String,
        /// When it may be taken in, from now.
        ahead: Duration,
    },
    /// An entity has a CRDT of a kind or version that only a newer build can join.
    #[error("{entity:?} has a CRDT that only a newer build can join; upgrade this one")]
    NeedsNewerBuild {
        /// The entity.
        entity: String,
    },
    /// They build on writes that this master no longer has under these names: it took another identity since it asked for
    /// them. Worth asking for anew.
    #[error("they build on what this master had under another identity; ask for them anew")]
    Receded,
    /// The store failed. The manager takes no more writes until it is started again.
    #[error("the store failed: {reason}")]
    StoreFailed {
        /// What the store said.
        reason: String,
    },
}

impl NotTaken {
    /// Whether the same may be taken in at another time.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            NotTaken::Ahead { .. } | NotTaken::NeedsNewerBuild { .. } | NotTaken::StoreFailed { .. } => true,
            NotTaken::Fenced { .. }
            | NotTaken::GiverBehind { .. }
            | NotTaken::Incomplete
            | NotTaken::Receded => false,
        }
    }
}

/// Why a part of an export was not imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The bytes are no part of an export, are damaged, or of a newer build. Nothing was changed.
    #[error("this is no part of an export: {0}")]
    Decode(#[from] DecodeError),
    /// The export is of another data set. Nothing was changed.
    #[error("the export is of the namespace {found:?}, not of {expected:?}")]
    ForeignNamespace {
        /// The namespace of this master.
        expected: String,
        /// That of the export.
        found: String,
    },
    /// Parts that wait take too much room. Nothing was changed; import what they wait for first, or raise the limit.
    #[error(
        "{staged} bytes of imports wait for what is missing, and the limit import_bytes_max is {bytes_max}"
    )]
    TooMuch {
        /// How much waits.
        staged: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The export cannot be merged. If that may pass, its parts are kept, and importing any of them again tries again; after
    /// [`NotTaken::GiverBehind`] and [`NotTaken::Incomplete`] another export is needed.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The manager is closed.
    #[error("the manager is closed")]
    Closed,
}

/// Why a manager did not close cleanly. What was acknowledged is in the store all the same.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why the log that the replicas share can no longer be followed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LogLost {
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    #[error("the log {name:?} no longer holds messages {from} to {to}, which were not read here")]
    Gap { name: String, from: u64, to: u64 },
    #[error(
        "the log {name:?} no longer holds its beginning, up to {to}, and nothing of it was ever read here"
    )]
    BeginsLate { name: String, to: u64 },
}

impl LogLost {
    /// True if the log can be followed from another place, and repair brings what is missing.
    pub(crate) fn is_mendable(&self) -> bool {
        match self {
            LogLost::Gap { .. } | LogLost::BeginsLate { .. } => true,
            LogLost::Pipeline(error) => error.is_loss(),
        }
    }
}
