//! The deterministic core of the leader–follower mode: which entries of the log count, what they do to the state, which
//! writes a leader takes, and when a node stands for election. No clock, no randomness and no I/O of its own.
//!
//! | module | noun |
//! |---|---|
//! | `history` | [`History`]: the entries that a node has applied, and what is to be done with a message of the log |
//! | `row` | [`KeyRow`]: what is stored of a key |
//! | `apply` | [`Application`]: what entries change in the rows |
//! | `proposer` | [`Proposer`]: the writes that a leader takes before they are in the log |
//! | `election` | [`Election`]: when to try for the lease |
//!
//! Invariants:
//! - Nodes whose histories have the same digest have the same state.
//! - An entry is applied once, at its index, and only on top of the history that it was written on.
//! - An entry of a term older than the newest that was applied never counts.
//! - A demand on a key (that it exists, that it has a version) is met by all that stands before the entry in the log.

mod apply;
mod election;
mod history;
mod proposer;
mod row;

pub use apply::{Application, Applied};
pub use election::{Attempt, Election};
pub use history::{History, Verdict};
pub use proposer::{Demand, Proposal, Proposer, Refusal};
pub use row::KeyRow;
