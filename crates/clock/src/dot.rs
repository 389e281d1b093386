use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ReplicaId;

/// The unique name of one write: its actor and that actor's sequence number, counted from 1 without gaps.
///
/// Dots order by actor, then by sequence. That order means nothing causally; it is there so that maps and
/// tie-breaks are the same everywhere.
///
/// Source: Almeida, Baquero, Gonçalves, Preguiça, Fonte: "Scalable and Accurate Causality Tracking for Eventually
/// Consistent Stores" (DAIS 2014).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot<A = ReplicaId> {
    /// Who wrote.
    pub actor: A,
    /// The how-manieth write of the actor this is; the first is 1.
    pub sequence: u64,
}

impl<A> Dot<A> {
    /// The dot of the `sequence`th write of `actor`.
    pub const fn new(actor: A, sequence: u64) -> Self {
        Dot { actor, sequence }
    }
}

impl<A: fmt::Display> fmt::Display for Dot<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.actor, self.sequence)
    }
}
