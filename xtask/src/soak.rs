//! The program of `crates/soak`, built with optimisations and run.

use crate::{Outcome, nats, step};

/// Runs it, or its subcommand, with its own options. On Unix this process becomes it, so that Ctrl-C reaches it alone and its exit status is
/// that of the command.
pub(crate) fn run(subcommand: &[&str], args: &[String]) -> Outcome {
    let server = nats::find_or_fetch()?;
    let mut command = step::cargo();
    command.args(["run", "--quiet", "--release", "-p", "archipelago-soak", "--bin", "soak", "--"]);
    command.args(subcommand).args(args);
    command.env("NATS_SERVER", server);
    become_it(&mut command)
}

#[cfg(unix)]
fn become_it(command: &mut std::process::Command) -> Outcome {
    use std::os::unix::process::CommandExt;
    step::announce(&step::describe(command));
    Err(format!("cannot run cargo: {}", command.exec()))
}

#[cfg(not(unix))]
fn become_it(command: &mut std::process::Command) -> Outcome {
    step::run(command)
}
