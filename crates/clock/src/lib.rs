//! Logical time for replicated data: who wrote what, what a writer had seen, and in which order.
//!
//! ```
//! use archipelago_clock::{ClockOrdering, VectorClock};
//!
//! let mut usa: VectorClock<&str> = VectorClock::new();
//! let mut eu = VectorClock::new();
//! usa.increment("usa")?;
//! eu.increment("eu")?;
//! assert_eq!(usa.compare(&eu), ClockOrdering::Concurrent);
//!
//! usa.merge(&eu);
//! assert_eq!(eu.compare(&usa), ClockOrdering::Before);
//! # Ok::<(), archipelago_clock::ClockError>(())
//! ```
//!
//! | module | noun |
//! |---|---|
//! | `replica_id` | [`ReplicaId`]: a stable name plus an [`Incarnation`] minted with each new store |
//! | `dot` | [`Dot`]: the unique name of one write |
//! | `vector_clock` | [`VectorClock`]: for each actor, the highest sequence seen with no gap below it |
//! | `causal_context` | [`CausalContext`]: a set of dots, a version vector with gaps |
//! | `hlc` | [`Hlc`]: a 64-bit hybrid logical timestamp |
//! | `hlc_clock` | [`HlcClock`]: what issues them, with time injected |
//!
//! Invariants:
//! - Nothing here reads a clock, a random source or the environment: the same calls give the same answers.
//! - A [`VectorClock`] holds no zero entries, so that equal clocks are equal values; a [`CausalContext`]
//!   moves into its clock whatever has no gap below it, to the same end.
//! - A [`HlcClock`] never issues a stamp at or below one it issued or observed, across restarts too.

mod causal_context;
mod dot;
mod error;
mod hlc;
mod hlc_clock;
mod replica_id;
mod vector_clock;

pub use causal_context::{CLOUD_RUNS_MAX, CausalContext, MintError};
pub use dot::Dot;
pub use error::ClockError;
pub use hlc::{Hlc, ParseHlcError};
pub use hlc_clock::{DriftError, HlcClock};
pub use replica_id::{Incarnation, NAME_BYTES_MAX, ParseReplicaIdError, ReplicaId};
pub use vector_clock::{ClockOrdering, VECTOR_ENTRIES_MAX, VectorClock};

/// For each replica, the highest sequence seen with no gap below it: the causal context of a replica.
pub type VersionVector = VectorClock<ReplicaId>;
