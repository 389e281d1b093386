//! Every check in a row. Each one runs even if an earlier one failed: one run tells all there is to mend.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cargo_test::{FEATURES, Gated};
use crate::{Outcome, api, browser, cargo_test, counts, deploy, nats, step};

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

    let (mut remarks, mut failures, mut times) = (Vec::new(), Vec::new(), Times::default());
    let checks = [
        times.of("format", format),
        times.of("clippy", clippy),
        times.of("clippy of the benches", clippy_benches),
        times.of("clippy of the mistakes", clippy_mutations),
        times.of("docs", docs),
        times.of("wasm", || wasm(&mut remarks)),
        times.of("mistakes", mutations),
    ];
    failures.extend(checks.into_iter().filter_map(Result::err));
    let mut gated = Gated::default();
    match browser::find_or_install() {
        Ok(driver) => gated = gated.and(browser::gated(driver)),
        Err(why) => remarks.push(format!("the dashboard was not tested in a browser: {why}")),
    }
    match deploy::find_or_install() {
        Ok(tools) => {
            failures.extend(times.of("deploy", || deploy::check(&tools, &server, &mut remarks)).err());
            gated = gated.and(deploy::gated(tools));
        }
        Err(why) => remarks.push(format!("what is in deploy/ was not checked: {why}")),
    }
    // All in one go: tests that are built with other features build their dependencies anew.
    let run = times.of("tests", || cargo_test::run(&server, &[], &gated))?;
    failures.extend(run.verdict.err());
    match api::find_or_fetch() {
        Some(schemathesis) => failures.extend(times.of("api", || api::run(&schemathesis)).err()),
        None => remarks
            .push("the API was not fuzzed: schemathesis is not there, and cannot be fetched".to_owned()),
    }

    match counts::find_or_install() {
        Ok(valgrind) => failures.extend(times.of("counts", || counts::run(&valgrind, false)).err()),
        Err(why) => remarks.push(format!("instructions were not counted: {why}")),
    }

    println!("note: {}", times.told());
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

/// How long each check took.
#[derive(Default)]
struct Times(Vec<(&'static str, Duration)>);

impl Times {
    fn of<T>(&mut self, check: &'static str, run: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let done = run();
        self.0.push((check, began.elapsed()));
        done
    }

    fn told(&self) -> String {
        let each = self.0.iter().map(|(check, took)| format!("{check} {} s", took.as_secs()));
        each.collect::<Vec<_>>().join(", ")
    }
}

fn format() -> Outcome {
    step::run(step::cargo().args(["fmt", "--all", "--check"]))
}

fn clippy() -> Outcome {
    let mut clippy = step::cargo();
    let features = format!("{FEATURES},archipelago-server/browser,archipelago-server/deploy");
    clippy.args(["clippy", "--workspace", "--exclude", BENCHES, "--all-targets", "--features", &features]);
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
        "--workspace",
        "--exclude",
        BENCHES,
        "--all-targets",
        "--features",
        &with_mutations(),
    ]);
    step::run(clippy.args(["--", "-D", "warnings"]))
}

/// The features of all other checks, and the mistakes beside them: of dependencies nothing needs to be built anew.
fn with_mutations() -> String {
    format!("{FEATURES},archipelago-testkit/mutations")
}

/// The mistakes that a few seeds show; `simulate --mutations` makes all of them, which takes long in a debug build.
const MISTAKES: &str = "skip-causal-buffer,apply-past-gap,apply-twice,drop-turned-away,unbounded-buffer,\
    checkpoint-passes-waiting,fork-not-fenced,forget-own-sequence,clock-ignores-remote,ignore-quarantine,\
    supersede-nothing,ignore-stale-token,token-without-write,last-arrival-wins,whole-record-stamps,hide-conflicts,\
    digest-misses-repair,repair-partly,take-back-superseded,reclaim-at-once,stable-by-own-vector,\
    acknowledge-before-log,ignore-session,serve-before-end";

/// Deliberate mistakes are noticed.
fn mutations() -> Outcome {
    let mut build = step::cargo();
    build.args(["build", "--quiet", "--workspace", "--exclude", BENCHES, "--features", &with_mutations()]);
    step::run(build.args(["--bin", "simulate"]))?;
    let program = crate::target_dir().join("debug/simulate").with_extension(std::env::consts::EXE_EXTENSION);
    let mut simulate = Command::new(program);
    simulate.current_dir(crate::root());
    step::run(simulate.args(["--mutations", "--seeds-max", "100", "--only", MISTAKES]))
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
