//! The project's own commands: `cargo xtask <command>`.
//!
//! No dependencies, so that it builds in a second and `cargo xtask test` starts at once.
//!
//! | module | what it does |
//! |---|---|
//! | [`counts`] | instructions of the hottest paths |
//! | [`command`] | what was asked for, and the help texts |
//! | [`api`] | made-up requests against a node, by its OpenAPI document |
//! | [`ci`] | every check in a row |
//! | [`cargo_test`] | `cargo test`, its output passed through and its totals counted |
//! | [`totals`] | the sum of the `test result:` lines |
//! | [`browser`] | the tests of the dashboard in Chromium |
//! | [`deploy`] | what is in `deploy/`, checked by the programs that it is for |
//! | [`packages`] | programs of others, found or installed |
//! | [`soak`] | runs the program of `crates/soak` |
//! | [`nats`] | finds a nats-server, or fetches one |
//! | [`step`] | announces a command and runs it |
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a task runner's output is its terminal")]

mod api;
mod browser;
mod cargo_test;
mod ci;
mod command;
mod counts;
mod deploy;
mod nats;
mod packages;
mod soak;
mod step;
mod totals;

use std::path::PathBuf;
use std::process::ExitCode;

use cargo_test::Gated;
use command::Command;

/// What a task comes to; `Err` holds the message for the person who ran it.
type Outcome<T = ()> = Result<T, String>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match command::parse(&args) {
        Ok(Command::Help(text)) => {
            print!("{text}");
            Ok(())
        }
        Ok(Command::Test { cargo_args }) => test(&cargo_args),
        Ok(Command::Api) => fuzz_api(),
        Ok(Command::Ci) => ci::run(),
        Ok(Command::Counts { is_accepted }) => {
            counts::find_or_install().and_then(|valgrind| counts::run(&valgrind, is_accepted))
        }
        Ok(Command::Browser) => test_in_browser(),
        Ok(Command::Deploy) => check_deploy(),
        Ok(Command::Soak { args }) => soak::run(&[], &args),
        Ok(Command::Chaos { args }) => soak::run(&["chaos"], &args),
        Ok(Command::Nats) => nats::find_or_fetch().map(|server| println!("{}", server.display())),
        Err(message) => Err(message),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn test(cargo_args: &[String]) -> Outcome {
    let server = nats::find_or_fetch()?;
    let run = cargo_test::run(&server, cargo_args, &Gated::default())?;
    println!("{}", run.totals);
    run.verdict
}

fn test_in_browser() -> Outcome {
    let server = nats::find_or_fetch()?;
    let run = browser::run(&server)?;
    println!("{}", run.totals);
    run.verdict
}

fn check_deploy() -> Outcome {
    let server = nats::find_or_fetch()?;
    let mut remarks = Vec::new();
    let run = deploy::run(&server, &mut remarks)?;
    for remark in remarks {
        println!("note: {remark}");
    }
    println!("{}", run.totals);
    run.verdict
}

fn fuzz_api() -> Outcome {
    let schemathesis =
        api::find_or_fetch().ok_or("schemathesis needs Python 3 with venv, and a network to fetch it")?;
    api::run(&schemathesis)
}

/// The root of the checkout: this package's parent folder.
fn root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// Where cargo puts what it builds, and where a fetched nats-server is kept.
fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        // Relative means relative to where the command was given, as it does to cargo.
        Some(dir) if !dir.is_empty() => std::path::absolute(&dir).unwrap_or_else(|_| PathBuf::from(dir)),
        _ => root().join("target"),
    }
}
