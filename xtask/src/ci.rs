//! Every check in a row. Each one runs even if an earlier one failed: one run tells all there is to mend.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::cargo_test::FEATURES;
use crate::{Outcome, cargo_test, nats, step};

const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// The package whose default features bring in the libraries that this project is measured against. Nothing here compiles
/// those: they are many, and not this project's to check.
pub(crate) const BENCHES: &str = "archipelago-benches";

/// The crates that promise to build for browsers.
const WASM_CRATES: [&str; 5] = [
    "archipelago-clock",
    "archipelago-crdt",
    "archipelago-conflict",
    "archipelago-proto",
    "archipelago-engine",
];

/// Runs every check. The last line on standard output is the totals of the tests.
pub(crate) fn run() -> Outcome {
    // First, as it may need the network and nothing is gained by learning that after the long steps.
    let server = nats::find_or_fetch()?;

    let mut remarks = Vec::new();
    let mut failures = Vec::new();
    let checks =
        [format(), clippy(), clippy_benches(), clippy_mutations(), docs(), wasm(&mut remarks), mutations()];
    failures.extend(checks.into_iter().filter_map(Result::err));
    let run = cargo_test::run(&server, &[])?;
    failures.extend(run.verdict.err());

    for remark in remarks {
        println!("note: {remark}");
    }
    for failure in &failures {
        println!("FAILED: {failure}");
    }
    println!("{}", run.totals);
    match failures.len() {
        0 => Ok(()),
        count => Err(format!("{count} of the checks failed")),
    }
}

fn format() -> Outcome {
    step::run(step::cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Outcome {
    let mut clippy = step::cargo();
    clippy.args(["clippy", "--workspace", "--exclude", BENCHES, "--all-targets", "--features", FEATURES]);
    step::run(clippy.args(["--", "-D", "warnings"]))
}

fn clippy_benches() -> Outcome {
    let args = ["clippy", "-p", BENCHES, "--no-default-features", "--all-targets", "--", "-D", "warnings"];
    step::run(step::cargo().args(args))
}

/// What only a build with deliberate mistakes compiles.
fn clippy_mutations() -> Outcome {
    let mut clippy = step::cargo();
    clippy.args([
        "clippy",
        "-p",
        "archipelago-testkit",
        "-p",
        "archipelago-manager",
        "-p",
        "archipelago-engine",
    ]);
    clippy.args(["--all-targets", "--features", "archipelago-testkit/mutations", "--", "-D", "warnings"]);
    step::run(&mut clippy)
}

/// The mistakes that a few seeds show; `simulate --mutations` makes all of them, which takes long in a debug build.
const MISTAKES: &str = "skip-causal-buffer,apply-past-gap,apply-twice,drop-turned-away,unbounded-buffer,\
    checkpoint-passes-waiting,fork-not-fenced,forget-own-sequence,clock-ignores-remote,ignore-quarantine,\
    supersede-nothing,ignore-stale-token,token-without-write,last-arrival-wins,whole-record-stamps,hide-conflicts,\
    digest-misses-repair,repair-partly,take-back-superseded,reclaim-at-once,stable-by-own-vector,\
    acknowledge-before-log,ignore-session,serve-before-end";

/// Deliberate mistakes are noticed.
fn mutations() -> Outcome {
    let mut simulate = step::cargo();
    simulate.args(["run", "--quiet", "-p", "archipelago-testkit", "--features", "mutations"]);
    step::run(simulate.args([
        "--bin",
        "simulate",
        "--",
        "--mutations",
        "--seeds-max",
        "100",
        "--only",
        MISTAKES,
    ]))
}

fn docs() -> Outcome {
    let mut docs = step::cargo();
    docs.args(["doc", "--workspace", "--exclude", BENCHES, "--no-deps", "--features", FEATURES]);
    step::run(docs.env("RUSTDOCFLAGS", "-D warnings"))
}

fn wasm(remarks: &mut Vec<String>) -> Outcome {
    if !wasm_is_installed() && !add_wasm() {
        remarks.push(format!("{WASM_TARGET} was not checked: the target is not installed"));
        return Ok(());
    }
    let mut check = step::cargo();
    check.args(["check", "--target", WASM_TARGET]);
    for name in WASM_CRATES {
        check.args(["-p", name]);
    }
    step::run(&mut check)?;
    // The first check was without the features.
    check.args(["--features", "archipelago-crdt/text"]);
    step::run(&mut check)
}

fn wasm_is_installed() -> bool {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", WASM_TARGET]).current_dir(crate::root());
    // The folder is named whether or not it exists.
    rustc.output().is_ok_and(|output| {
        output.status.success() && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir()
    })
}

fn add_wasm() -> bool {
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", WASM_TARGET]).current_dir(crate::root());
    // Without a network it may try for longer than the target is worth.
    step::run_within(&mut rustup, Duration::from_secs(180))
        .map_err(|message| eprintln!("{message}"))
        .is_ok_and(|()| wasm_is_installed())
}
