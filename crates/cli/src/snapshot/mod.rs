//! `archipelago snapshot`: make, list, verify and restore snapshots.
//!
//! | module | noun |
//! |---|---|
//! | `options` | the flags |
//! | `place` | where snapshots are: a folder, a file, a NATS server |
//! | `run` | what each command does |
//! | `report` | what a person, or a machine, reads of it |
//! | `error` | why it failed, and what to do |

mod error;
mod options;
mod place;
mod report;
mod run;

pub(crate) use self::{options::Options, run::run};
