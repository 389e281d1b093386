//! `cargo xtask soak` and `cargo xtask chaos`: masters and leaders that are killed, robbed and cut off under load, and the proof
//! that nothing was lost.
//!
//! docs/TESTING.md says what is checked, exactly.
//!
//! | module | noun |
//! |---|---|
//! | `options` | the arguments, and the faults there are |
//! | `run` | a run: which faults come, and in what order |
//! | `actions` | each fault of masters alone, and what must hold after it |
//! | `fleet` | the masters and their broker; waiting until they agree, comparing what they hold |
//! | `load` | the writers |
//! | `ledger` | what was acknowledged, kept outside of the masters, and what they must therefore hold |
//! | `island` | the parent's end of a master's process |
//! | `master` | the child: one master |
//! | `protocol` | what is asked and answered between the two |
//! | `leader` | `soak leader`, the same for the nodes of a leader-follower namespace |
//! | `chaos` | `soak chaos`, runs of both, on one server and on a cluster |
//! | `stage`, `scene` | what all runs have in common, and what both modes are to a fault |
//! | `fault`, `faults` | what kinds there are, and those that both modes have |
//! | `broker` | the server or the cluster of servers, and each node's way to it |
//! | `process`, `link`, `child` | a child through all its lives, and the two ends of the pipes to it |
//! | `disk`, `own_mounts`, `clock` | disks that are full, and clocks that are wrong |
//! | `interrupt`, `failure` | what ends a run before its time |
//! | `report`, `progress` | what a person, or a program, is told |

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user")]

mod actions;
mod broker;
mod chaos;
mod child;
mod clock;
mod disk;
mod failure;
mod fault;
mod faults;
mod fleet;
mod interrupt;
mod island;
mod leader;
mod ledger;
mod link;
mod load;
mod master;
mod now;
mod options;
mod own_mounts;
mod process;
mod progress;
mod protocol;
mod report;
mod run;
mod scene;
mod stage;

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
    Chaos(chaos::options::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    if !matches!(cli.command, Some(Command::Master | Command::LeaderNode)) {
        // While there is one thread.
        own_mounts::enter();
    }
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
            Some(Command::Chaos(options)) => chaos::run::run(options).await,
            None => run::run(cli.options).await,
        }
    });
    runtime.shutdown_background();
    code
}
