//! `cargo test`: its output passed through, its totals counted.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::totals::Totals;
use crate::{Outcome, ci, step};

/// What is checked of the workspace beyond the default features.
pub(crate) const FEATURES: &str =
    "archipelago-examples/text,archipelago-examples/sqlite,archipelago-testkit/text";

/// Tests that need a program of others: a feature builds them, and variables say where the program is.
#[derive(Default)]
pub(crate) struct Gated {
    pub(crate) features: Vec<&'static str>,
    pub(crate) variables: Vec<(&'static str, PathBuf)>,
}

impl Gated {
    /// Both.
    pub(crate) fn and(mut self, other: Gated) -> Self {
        self.features.extend(other.features);
        self.variables.extend(other.variables);
        self
    }
}

/// A run of the tests that came to its end.
pub(crate) struct TestRun {
    pub(crate) totals: Totals,
    /// Whether everything was built and passed.
    pub(crate) verdict: Outcome,
}

/// Runs the tests that `cargo_args` name, against `server`: of the whole workspace but the benches, which have none that
/// do without the libraries they measure against, unless they name a package. Beside them those that are `gated`.
///
/// Plain `cargo test` is what is wanted: unit, integration and doc tests, and the examples built. `--all-targets`
/// would leave the doc tests out and run every benchmark once, unoptimised.
pub(crate) fn run(server: &Path, cargo_args: &[String], gated: &Gated) -> Outcome<TestRun> {
    let mut command = step::cargo();
    command.args(["test", "--no-fail-fast"]);
    if !names_packages(cargo_args) {
        command.args(["--workspace", "--exclude", ci::BENCHES, "--features", FEATURES]);
    }
    for feature in &gated.features {
        command.args(["--features", feature]);
    }
    command
        .args(cargo_args)
        .env("NATS_SERVER", server)
        .envs(gated.variables.iter().map(|(name, path)| (name, path)))
        .stdout(Stdio::piped());
    stream(&mut command)
}

/// Runs only one test program of the server, which is `gated`.
pub(crate) fn run_only(program: &str, server: &Path, gated: &Gated) -> Outcome<TestRun> {
    let args = ["-p", "archipelago-server", "--test", program].map(String::from);
    run(server, &args, gated)
}

fn names_packages(cargo_args: &[String]) -> bool {
    cargo_args
        .iter()
        .take_while(|arg| *arg != "--")
        .any(|arg| arg.starts_with("-p") || arg.starts_with("--package") || arg == "--manifest-path")
}

fn stream(command: &mut Command) -> Outcome<TestRun> {
    let line = step::describe(command);
    step::announce(&line);
    let failed = |error: std::io::Error| format!("cannot run `{line}`: {error}");

    let mut child = command.spawn().map_err(failed)?;
    let mut output = BufReader::new(child.stdout.take().expect("standard output was asked to be piped"));
    let mut totals = Totals::default();
    let mut shown = std::io::stdout().lock();
    let mut bytes = Vec::new();
    // By bytes: what a test prints need not be UTF-8.
    while output.read_until(b'\n', &mut bytes).map_err(failed)? > 0 {
        totals.count(&String::from_utf8_lossy(&bytes));
        shown.write_all(&bytes).and_then(|()| shown.flush()).map_err(failed)?;
        bytes.clear();
    }

    let status = child.wait().map_err(failed)?;
    let verdict = if status.success() { Ok(()) } else { Err(format!("`{line}` failed ({status})")) };
    Ok(TestRun { totals, verdict })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_seen_only_among_cargos_own_arguments() {
        let names = |line: &str| names_packages(&line.split(' ').map(String::from).collect::<Vec<_>>());
        assert!(names("-p archipelago"));
        assert!(names("--package=archipelago some_test"));
        assert!(!names("some_test -- -p"));
    }
}
