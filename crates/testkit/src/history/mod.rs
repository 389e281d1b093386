//! What clients of a store saw, and whether a store that keeps its promises could have shown it.
//!
//! A [`Recorder`] notes what each client asks for, when, and what it is answered; what nobody knows the end of, for a
//! timeout or a lost connection, is unknown. The checkers read nothing but that, so they work for a simulator as for
//! processes that are killed:
//!
//! ```
//! use archipelago_testkit::history::{KvOp, KvResult, Recorder, check_linearizable};
//!
//! let recorder = Recorder::new();
//! let write = recorder.begin(1, KvOp::upsert("x", "a"));
//! write.ok(KvResult::Written(1)); // or `write.failed()`; dropped, it is unknown
//! let read = recorder.begin(2, KvOp::read("x"));
//! read.ok(KvResult::Value(None));
//!
//! let error = check_linearizable(&recorder.history()).unwrap_err().to_string();
//! assert!(error.contains("the state is then \"a\" at version 1, and none of these can come next"), "{error}");
//! ```
//!
//! | check | what it shows |
//! |---|---|
//! | [`check_linearizable`] | writes and linearizable reads happened one at a time, each while its client waited |
//! | [`check_acknowledged`] | no acknowledged write is lost, none is applied twice, none that failed is applied |
//! | [`check_session`] | sessions read their own writes, and never go back |
//! | [`check_staleness`] | reads are no older than they were promised to be |
//! | [`check_terms`] | each term has one leader, and no deposed leader appends |
//!
//! What a check finds is wrong, if the clock was right. What it does not find may still be wrong where outcomes are
//! unknown. [`check_model`] compares histories with a [`Model`] of your own.

mod acknowledged;
mod bits;
mod deletions;
mod json_lines;
mod kv;
mod linearizable;
mod linearization;
mod model;
mod operation;
mod recorded;
mod recorder;
mod register;
mod session;
mod staleness;
mod terms;
mod violations;

pub use acknowledged::{Acknowledged, AcknowledgedViolation, LogEntry, check_acknowledged};
pub use json_lines::HistoryError;
pub use kv::{Consistency, KvOp, KvResult, Version};
pub use linearizable::{
    LinearizabilityError, Linearized, STATES_MAX, Stuck, check_linearizable, check_model,
};
pub use model::Model;
pub use operation::{Operation, Outcome};
pub use recorded::History;
pub use recorder::{Pending, Recorder};
pub use register::{KeyState, KvRegister};
pub use session::{SessionScope, SessionViolation, check_session};
pub use staleness::{StalenessViolation, check_staleness};
pub use terms::{Append, Claim, TermHistory, TermViolation, check_terms};
pub use violations::Violations;
