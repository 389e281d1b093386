//! `cargo xtask soak`: masters that are killed, robbed and copied under load, and the proof that nothing was lost.
//!
//! docs/TESTING.md says what is checked, exactly.
//!
//! | module | noun |
//! |---|---|
//! | `options` | the arguments, and the faults there are |
//! | `run` | a run: fault after fault until the time is over |
//! | `actions` | each fault, and what must hold after it |
//! | `fleet` | the masters and their broker; waiting until they agree, comparing what they hold |
//! | `load` | the writers |
//! | `ledger` | what was acknowledged, kept outside of the masters, and what they must therefore hold |
//! | `island` | the parent's end of a master's process |
//! | `master` | the child: one master |
//! | `protocol` | what is asked and answered between the two |
//! | `leader` | `soak leader`, the same for the nodes of a leader-follower namespace |
//! | `link`, `child` | the two ends of the pipes between this program and a child of it |
//! | `interrupt`, `failure` | what ends a run before its time |
//! | `report`, `progress` | what a person, or a program, is told |

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user")]

mod actions;
mod child;
mod failure;
mod fleet;
mod interrupt;
mod island;
mod leader;
mod ledger;
mod link;
mod load;
mod master;
mod options;
mod progress;
mod protocol;
mod report;
mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use options::Options;

/// `soak <options>`, `soak leader <options>`, or as a child `soak master`, `soak leader-node`.
#[derive(Debug, Parser)]
#[command(name = "soak", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One master: one JSON object a line on standard input and output.
    #[command(hide = true)]
    Master,
    /// One node of a leader-follower namespace, likewise.
    #[command(hide = true)]
    LeaderNode,
    Leader(leader::options::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        match cli.command {
            Some(Command::Master) => master::serve().await,
            Some(Command::LeaderNode) => leader::node::serve().await,
            Some(Command::Leader(options)) => leader::run::run(options).await,
            None => run::run(cli.options).await,
        }
    });
    runtime.shutdown_background();
    code
}
