//! `archipelago demo`: three masters write, are cut off, killed and healed, and end in the same state.
//!
//! | module | noun |
//! |---|---|
//! | `options` | the flags |
//! | `records`, `builtin` | what is loaded |
//! | `plan` | which master edits what, and when |
//! | `protocol` | what is asked of a master, and its answers |
//! | `master` | a master in this process |
//! | `process` | a master in a child process |
//! | `island` | either of them |
//! | `broker` | the NATS server, as seen beside the masters |
//! | `watch` | how the masters are doing: progress, trouble |
//! | `ledger` | what was acknowledged |
//! | `run` | the phases |
//! | `proof` | nothing lost, all equal |
//! | `report` | what a person sees |
//! | `session` | from the flags to the exit status |
//!
//! Invariant: the proof rests on what the masters answered to the demo (`ledger`) and on what they hold, never on
//! their own counts.

mod broker;
mod builtin;
mod error;
mod island;
mod ledger;
mod master;
mod options;
mod plan;
mod process;
mod proof;
mod protocol;
mod records;
mod report;
mod run;
mod session;
mod watch;

use self::error::DemoError;
pub(crate) use self::{options::Options, process::serve, session::run};
use crate::{interrupt, progress};

/// The masters of the demo.
const MASTERS: [&str; 3] = ["us-east", "eu-west", "ap-south"];
