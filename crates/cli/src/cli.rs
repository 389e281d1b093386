use clap::{Parser, Subcommand};

use crate::{bench, demo, doctor, gc, nats_permissions, node, operate, snapshot};

/// Keep one data set alive on many islands: masters write locally and at once, keep working when the network is
/// cut, and end in the same state.
///
/// RUST_LOG sets what is logged to standard error, for example RUST_LOG=info or RUST_LOG=archipelago=debug; the
/// default is warnings for `serve`, and else nothing.
#[derive(Debug, Parser)]
#[command(name = "archipelago", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Operate(operate::Verb),
    Demo(demo::Options),
    Snapshot(snapshot::Options),
    Gc(gc::Options),
    Bench(bench::Options),
    Doctor(doctor::Options),
    Serve(node::ServeOptions),
    Config(node::ConfigOptions),
    Token(node::TokenOptions),
    NatsPermissions(nats_permissions::Options),
    /// One master of `demo --processes`: one JSON object a line on standard input and output.
    #[command(hide = true)]
    DemoMaster,
    /// One node of `bench failover`: one JSON object a line on standard input and output.
    #[command(hide = true)]
    BenchNode,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn check(command: &clap::Command, path: &str) {
        let path = format!("{path} {}", command.get_name());
        if !command.is_hide_set() {
            assert!(command.get_about().is_some(), "`{path}` does not say what it does");
        }
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            assert!(arg.get_help().is_some(), "`{path}` does not say what {} is", arg.get_id());
        }
        command.get_subcommands().for_each(|below| check(below, &path));
    }

    #[test]
    fn every_verb_and_every_argument_says_what_it_is() {
        let program = Cli::command();
        program.clone().debug_assert();
        check(&program, "");
    }
}
