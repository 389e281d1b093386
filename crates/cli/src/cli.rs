use clap::{Parser, Subcommand};

use crate::{bench, demo, gc, node, snapshot};

/// Keep one data set alive on many islands: masters write locally and at once, keep working when the network is
/// cut, and end in the same state.
///
/// RUST_LOG sets what is logged to standard error, for example RUST_LOG=info or RUST_LOG=archipelago=debug; the
/// default is nothing.
#[derive(Debug, Parser)]
#[command(name = "archipelago", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(demo::Options),
    Snapshot(snapshot::Options),
    Gc(gc::Options),
    Bench(bench::Options),
    Serve(node::ServeOptions),
    Config(node::ConfigOptions),
    Token(node::TokenOptions),
    /// One master of `demo --processes`: one JSON object a line on standard input and output.
    #[command(hide = true)]
    DemoMaster,
    /// One node of `bench failover`: one JSON object a line on standard input and output.
    #[command(hide = true)]
    BenchNode,
}
