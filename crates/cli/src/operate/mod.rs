//! What operators do with a node that runs: one verb a file.
//!
//! | module | noun |
//! |---|---|
//! | `target` | which node, namespace, store |
//! | `client`, `error` | a node over HTTP; why a command came to nothing, and what to do |
//! | `output`, `given`, `confirm` | what is told; values as they are given; a question |
//! | `pages`, `store` | entities, page by page: of a node, and of the folder of a store |
//! | `events` | server-sent events |
//! | `siblings` | an entity with all that is live of it |
//! | `lines`, `place` | a file of entities; how far its import or export has come |
//! | all others | a verb each |

mod client;
mod confirm;
mod conflicts;
mod dead_letters;
mod diff;
mod error;
mod events;
mod explain;
mod export;
mod get;
mod given;
mod import;
mod keys;
mod lag;
mod leadership;
mod lines;
mod ls;
mod members;
mod nodes;
mod output;
mod pages;
mod place;
mod quarantine;
mod resync;
mod shell;
mod siblings;
mod status;
mod store;
mod tail;
mod target;
mod write;

use std::process::ExitCode;

use clap::{Command, Subcommand};
use serde_json::json;

use self::{error::OperateError, target::FormArgs};
use crate::interrupt::Interrupt;

/// The exit status of a program that was interrupted.
const INTERRUPTED: u8 = 130;

/// What operators do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Status(status::Options),
    Nodes(nodes::Options),
    Lag(lag::Options),
    Get(get::Options),
    Put(write::Put),
    Patch(write::Patch),
    Delete(write::Delete),
    Ls(ls::Options),
    Tail(tail::Options),
    Conflicts(conflicts::Options),
    Explain(explain::Options),
    Members(members::Options),
    Keys(keys::Options),
    Export(export::Options),
    Import(import::Options),
    Diff(diff::Options),
    Repair(resync::Repair),
    Resync(resync::Resync),
    Quarantine(quarantine::Options),
    DeadLetters(dead_letters::Options),
    Promote(leadership::Promote),
    Demote(leadership::Demote),
    Completions(shell::Completions),
    Man(shell::ManPages),
}

/// Does what the verb says, and gives the exit status.
pub(crate) async fn run(verb: Verb, program: Command) -> ExitCode {
    let interrupt = Interrupt::listen();
    let form = verb.form();
    let ends_by_interrupt = matches!(&verb, Verb::Tail(_) | Verb::Lag(_));
    let reason = match perform(verb, program, &interrupt).await {
        Ok(()) | Err(OperateError::NobodyReads) => return ExitCode::SUCCESS,
        Err(OperateError::Interrupted) if ends_by_interrupt => return ExitCode::SUCCESS,
        Err(OperateError::Told) => return ExitCode::FAILURE,
        Err(reason) => reason,
    };
    eprintln!("error: {reason}");
    if form.is_some_and(|form| form.json) {
        // Nobody may listen any more.
        let _ = output::json(&json!({ "error": reason.to_string(), "problem": reason.problem() }));
    }
    match reason {
        OperateError::Interrupted | OperateError::InterruptedAt { .. } => ExitCode::from(INTERRUPTED),
        _ => ExitCode::FAILURE,
    }
}

async fn perform(verb: Verb, program: Command, interrupt: &Interrupt) -> Result<(), OperateError> {
    match verb {
        Verb::Status(options) => interrupt.unless(status::run(options)).await,
        Verb::Nodes(options) => interrupt.unless(nodes::run(options)).await,
        Verb::Lag(options) => interrupt.unless(lag::run(options)).await,
        Verb::Get(options) => interrupt.unless(get::run(options)).await,
        Verb::Put(options) => interrupt.unless(write::put(options)).await,
        Verb::Patch(options) => interrupt.unless(write::patch(options)).await,
        Verb::Delete(options) => interrupt.unless(write::delete(options)).await,
        Verb::Ls(options) => interrupt.unless(ls::run(options)).await,
        Verb::Tail(options) => interrupt.unless(tail::run(options)).await,
        Verb::Conflicts(options) => interrupt.unless(conflicts::run(options)).await,
        Verb::Explain(options) => interrupt.unless(explain::run(options)).await,
        Verb::Members(options) => interrupt.unless(members::run(options)).await,
        Verb::Keys(options) => interrupt.unless(keys::run(options)).await,
        Verb::Export(options) => export::run(options, interrupt).await,
        Verb::Import(options) => import::run(options, interrupt).await,
        Verb::Diff(options) => interrupt.unless(diff::run(options)).await,
        Verb::Repair(options) => interrupt.unless(resync::repair(options)).await,
        Verb::Resync(options) => interrupt.unless(resync::resync(options)).await,
        Verb::Quarantine(options) => interrupt.unless(quarantine::run(options)).await,
        Verb::DeadLetters(options) => interrupt.unless(dead_letters::run(options)).await,
        Verb::Promote(options) => interrupt.unless(leadership::promote(options)).await,
        Verb::Demote(options) => interrupt.unless(leadership::demote(options)).await,
        Verb::Completions(options) => shell::completions(&options, &program),
        Verb::Man(options) => shell::man(&options, program),
    }
}

impl Verb {
    /// How it tells of the outcome, if it has a choice.
    fn form(&self) -> Option<FormArgs> {
        match self {
            Verb::Status(options) => Some(options.form),
            Verb::Nodes(options) => Some(options.form),
            Verb::Lag(options) => Some(options.form),
            Verb::Get(options) => Some(options.form),
            Verb::Put(options) => Some(options.how.form),
            Verb::Patch(options) => Some(options.how.form),
            Verb::Delete(options) => Some(options.how.form),
            Verb::Ls(options) => Some(options.form),
            Verb::Tail(options) => Some(options.form),
            Verb::Conflicts(options) => Some(options.form()),
            Verb::Explain(options) => Some(options.form),
            Verb::Members(options) => Some(options.form()),
            Verb::Keys(options) => Some(options.form()),
            Verb::Export(options) => Some(options.form),
            Verb::Import(options) => Some(options.form),
            Verb::Diff(options) => Some(options.form),
            Verb::Repair(options) => Some(options.form),
            Verb::Resync(options) => Some(options.form),
            Verb::Quarantine(options) => Some(options.form),
            Verb::DeadLetters(options) => Some(options.form),
            Verb::Promote(options) => Some(options.at.form),
            Verb::Demote(options) => Some(options.at.form),
            Verb::Completions(_) | Verb::Man(_) => None,
        }
    }
}
