//! What the log does not bring, from the state of another master.
//!
//! When the engine asks for it, [`Repairer`] fetches what another master has and this one lacks, piece by piece. Each
//! piece goes into the store as it comes, together with the place to go on from ([`Staged`](staging::Staged)), so that memory does not
//! follow the size of a repair, and that a repair which is cut short, or whose process is killed, goes on where it was.
//! Once nothing is missing any more, all of it is read back, and handed to the owner of the engine as a whole
//! ([`Fetched`]). Until then nothing of it is visible.
//!
//! | module | noun |
//! |---|---|
//! | `repairer` | the task: one repair at a time |
//! | `fetch` | one repair: asks, stages, begins anew when what is staged has become useless |
//! | `peer` | the other master, as it is asked |
//! | `staging` | the rows of what is staged; not only for repairs |
//! | `progress` | what is told of it |

mod fetch;
mod peer;
mod progress;
mod repairer;
pub(crate) mod staging;

use archipelago_clock::{ReplicaId, VersionVector};
use archipelago_engine::Giver;
use archipelago_pipeline::PipelineError;
use archipelago_proto::{DecodeError, DeltaRequest, EntityId, Limits, Record};
use bytes::Bytes;

use crate::NotTaken;

pub(crate) use repairer::Repairer;
use staging::StagingError;

/// About how many bytes of entities one piece has.
pub(crate) const PIECE_BYTES_TARGET: usize = 256 * 1024;
/// How large a piece may be with the one entity that is over the target.
pub(crate) const PIECE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// All that another replica has and this one lacks.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// Whose state it is, and what all of it is. While it was fetched, each answer was checked against the floor: what was
    /// asked for covered it, or it was asked for everything.
    pub(crate) giver: Giver,
    /// What it is for: it can be taken in by whoever has applied all of this.
    pub(crate) since: VersionVector,
    /// Entities with all that is live in them; of one that comes several times the last one counts.
    pub(crate) entities: Vec<(EntityId, Record)>,
}

/// What is to be brought here.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Which other master has it, and its session; `None` if it is not known that any has.
    pub(crate) from: Option<(ReplicaId, u64)>,
    /// About how many writes are lacking; the greatest number if all of the state is needed.
    pub(crate) lacks: u64,
}

/// Why a repair came to nothing. It is tried again once a heartbeat shows that it is needed, and goes on from what is
/// staged.
#[derive(Debug, thiserror::Error)]
enum RepairError {
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    #[error("the answer cannot be understood: {0}")]
    Decode(#[from] DecodeError),
    #[error("the answer is not that of the master that was asked")]
    Stranger,
    #[error("more is written there than can be fetched: no end after {rounds} rounds")]
    Endless { rounds: usize },
    #[error("it was begun anew {times} times, as what was fetched became useless each time: {reason}")]
    Restless { times: usize, reason: &'static str },
    #[error(transparent)]
    Staging(#[from] StagingError),
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    #[error("this master is closing")]
    Closed,
}

/// The name under which the master of a session is asked: names of masters may be shared by mistake.
pub(crate) fn address(session: u64) -> String {
    format!("{session:016x}")
}

/// What is asked of this master, if it is a question about its namespace.
pub(crate) fn question(payload: Bytes, namespace: &str, limits: &Limits) -> Result<DeltaRequest, String> {
    match DeltaRequest::decode(payload, limits) {
        Ok(request) if request.namespace != namespace => Err("it is about another namespace".into()),
        Ok(request) => Ok(request),
        Err(error) => Err(error.to_string()),
    }
}
