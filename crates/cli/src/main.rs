//! The program `archipelago`.
//!
//! | module | noun |
//! |---|---|
//! | `cli` | the arguments |
//! | `demo` | `archipelago demo`: three masters write, are cut off, killed and healed, and end equal |
//! | `gc` | `archipelago gc --dry-run`: what of removed data could be forgotten |

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to its user")]

mod cli;
mod demo;
mod gc;

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
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
            cli::Command::Demo(options) => demo::run(options).await,
            cli::Command::Gc(options) => gc::run(&options),
            cli::Command::DemoMaster => demo::serve().await,
        }
    });
    // What still blocks, as a name that is being looked up may, must not keep the program from ending.
    runtime.shutdown_background();
    code
}
