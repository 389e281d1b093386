//! How many instructions the hottest paths take, against what they took when somebody looked last.
//!
//! Counts, not seconds: they are the same on a busy machine. They differ a little between processors and C libraries, hence
//! the tolerance.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::ci::BENCHES;
use crate::{Outcome, packages, root, step, target_dir};

/// The counts that were accepted, for one operation each.
const ACCEPTED: &str = "benches/counts.txt";

/// What stands above them.
const HEAD: &str = "\
# Instructions of one operation on the hottest paths of a master, as callgrind counts them.
# `cargo xtask counts` compares with this file, and `cargo xtask counts --accept` writes it.
";

/// How much more than was accepted is too much, in hundredths. A change for the worse is seldom smaller, and another processor
/// seldom makes as much.
const TOLERANCE_PERCENT: u64 = 10;

/// Valgrind, found or installed.
pub(crate) fn find_or_install() -> Result<PathBuf, String> {
    if let Some(valgrind) = packages::on_path("valgrind") {
        return Ok(valgrind);
    }
    packages::install(&["valgrind"])?;
    packages::on_path("valgrind").ok_or_else(|| "valgrind was installed, and is not on PATH".to_owned())
}

/// Counts, and compares with what was accepted; or accepts what is counted.
pub(crate) fn run(valgrind: &Path, is_accepted: bool) -> Outcome {
    let mut build = step::cargo();
    build.args(["build", "--quiet", "--release", "-p", BENCHES, "--no-default-features", "--bin", "paths"]);
    step::run(&mut build)?;
    let program = target_dir().join("release").join("paths");
    let file = root().join(ACCEPTED);
    let accepted = std::fs::read_to_string(&file).map_err(|error| format!("{ACCEPTED}: {error}"))?;
    let (mut text, mut worse) = (HEAD.to_owned(), Vec::new());
    for line in accepted.lines().filter(|line| !line.starts_with('#')) {
        let (path, before) = parse(line)?;
        let now = count(valgrind, &program, path)?;
        let change = i128::from(now) * 100 / i128::from(before.max(1)) - 100;
        println!("{path}: {now} instructions, {change:+} % of {before}");
        let _ = writeln!(text, "{path} {now}");
        if now > before + before * TOLERANCE_PERCENT / 100 {
            worse.push(path.to_owned());
        }
    }
    if is_accepted {
        return std::fs::write(&file, text).map_err(|error| format!("{ACCEPTED}: {error}"));
    }
    match worse.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "{} takes over {TOLERANCE_PERCENT} % more instructions than {ACCEPTED} says; if that is worth it, \
             `cargo xtask counts --accept`",
            worse.join(", ")
        )),
    }
}

fn parse(line: &str) -> Result<(&str, u64), String> {
    let parsed = line.split_once(' ').and_then(|(path, count)| Some((path, count.parse().ok()?)));
    parsed.ok_or_else(|| format!("{ACCEPTED}: {line:?} is no path and no count"))
}

/// The instructions of one operation.
fn count(valgrind: &Path, program: &Path, path: &str) -> Result<u64, String> {
    let mut command = Command::new(valgrind);
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=paths::measured*"]);
    command.arg(program).arg(path).stdin(Stdio::null());
    let ran = command.output().map_err(|error| format!("valgrind does not run: {error}"))?;
    let (said, told) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    let operations: Option<u64> = said.trim().parse().ok();
    let collected =
        told.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse::<u64>().ok());
    match (operations, collected) {
        (Some(operations), Some(collected)) if operations > 0 && collected > 0 => Ok(collected / operations),
        _ => Err(format!("`paths {path}` could not be counted: {}", told.trim())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_accepted_can_be_read() {
        let file = std::fs::read_to_string(root().join(ACCEPTED)).expect("it is part of the checkout");
        let lines: Vec<&str> = file.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines.len(), 5);
        assert!(lines.iter().all(|line| parse(line).is_ok_and(|(_, count)| count > 0)));
        assert!(parse("admit").is_err() && parse("admit many").is_err());
    }
}
