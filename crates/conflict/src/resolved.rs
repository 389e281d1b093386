use archipelago_clock::VectorClock;
use archipelago_crdt::Value;
use serde::{Deserialize, Serialize};

use crate::{Candidate, CandidateStamp, StampedRecord};

/// Where the value of a [`Resolved`] comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Resolution {
    /// It is that of the local candidate; also if both are the same.
    Local,
    /// It is that of the remote candidate.
    Remote,
    /// It has parts of both.
    Merged,
    /// A function of the application made it.
    Custom,
}

/// The outcome of [`ConflictResolver::resolve`](crate::ConflictResolver::resolve).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolved {
    /// The record from now on.
    pub value: Value,
    /// Where it comes from.
    pub resolution: Resolution,
    /// The two candidates, local first, if they were in conflict; empty if they were the same, or if the vector
    /// clock of one covers the other's.
    pub conflicting: Vec<Candidate>,
    pub(crate) stamp: CandidateStamp,
    pub(crate) vector_clock: Option<VectorClock<String>>,
    pub(crate) record: Option<StampedRecord<CandidateStamp>>,
}

impl Resolved {
    /// The outcome as a candidate for the next resolution, with all that is known of its stamps.
    ///
    /// Resolve further only with this. A candidate made anew from the value forgets the stamps of the fields, and
    /// then the order of resolutions shows in the outcome. Its vector clock is the join of both, or `None` if one
    /// was missing.
    pub fn into_candidate(self) -> Candidate {
        let CandidateStamp { timestamp, node_id } = self.stamp;
        Candidate {
            value: self.value,
            timestamp,
            node_id,
            vector_clock: self.vector_clock,
            record: self.record,
        }
    }
}
