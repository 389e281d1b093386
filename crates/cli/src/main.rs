//! The program `archipelago`.
//!
//! | module | noun |
//! |---|---|
//! | `cli` | the arguments |
//! | `interrupt`, `progress` | Ctrl-C; what a person sees meanwhile |
//! | `server`, `folder` | a NATS server to use; a place for stores |
//! | `child` | a process of this program that does what its parent asks |
//! | `snapshot` | `archipelago snapshot`: make, list, verify and restore snapshots |
//! | `demo` | `archipelago demo`: three masters write, are cut off, killed and healed, and end equal |
//! | `bench` | `archipelago bench`: failover and lag of a leader and its followers, measured |
//! | `node` | `archipelago serve`, `config` and `token`: a node, and what it is told |
//! | `operate` | `archipelago status`, `get`, `tail`, ...: what operators do with a node that runs |
//! | `doctor` | `archipelago doctor`: what is wrong with a node, its machine and its broker |
//! | `nats_permissions` | `archipelago nats-permissions`: what a node must be allowed at the broker |
//! | `gc` | `archipelago gc --dry-run`: what of removed data could be forgotten |

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user")]

mod bench;
mod child;
mod cli;
mod demo;
mod doctor;
mod folder;
mod gc;
mod interrupt;
mod nats_permissions;
mod node;
mod operate;
mod progress;
mod server;
mod snapshot;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use tracing_subscriber::EnvFilter;

/// A node makes and drops small things all the time, on all threads, and gives back what many clients took.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    // A verb tells what went wrong by itself; a node has nobody else to tell.
    let level = if matches!(cli.command, cli::Command::Serve(_)) { "warn" } else { "off" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    use_small_pages();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        match cli.command {
            cli::Command::Operate(verb) => operate::run(verb, cli::Cli::command()).await,
            cli::Command::Demo(options) => demo::run(options).await,
            cli::Command::Snapshot(options) => snapshot::run(options).await,
            cli::Command::Gc(options) => gc::run(&options),
            cli::Command::Bench(options) => bench::run(options).await,
            cli::Command::Doctor(options) => doctor::run(options).await,
            cli::Command::Serve(options) => node::serve(options).await,
            cli::Command::Config(options) => node::config(options),
            cli::Command::Token(options) => node::token(options),
            cli::Command::NatsPermissions(options) => nats_permissions::run(&options),
            cli::Command::DemoMaster => demo::serve().await,
            cli::Command::BenchNode => bench::serve().await,
        }
    });
    // What still blocks, as a name that is being looked up may, must not keep the program from ending.
    runtime.shutdown_background();
    code
}

/// A huge page is cleared at its first touch, all two mebibytes of it: for milliseconds on a virtual machine, while
/// somebody waits.
fn use_small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages stay as the system has them");
    }
}
