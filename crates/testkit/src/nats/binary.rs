//! Where the nats-server program is. `cargo xtask` looks in the same places in the same order.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::NatsServerError;

/// Core NATS and JetStream as the pipeline uses them exist since this version.
const OLDEST: (u32, u32) = (2, 10);

const PROGRAM: &str = "nats-server";

/// Finds a nats-server of version 2.10 or newer: the one `NATS_SERVER` names, else one on `PATH`, else the one
/// that `cargo xtask` fetched into the target folder.
///
/// # Errors
///
/// [`NatsServerError::NoBinary`]. If `NATS_SERVER` is set, nothing else will do.
pub fn find_binary() -> Result<PathBuf, NatsServerError> {
    let named = std::env::var_os("NATS_SERVER").filter(|path| !path.is_empty());
    let folders = std::env::var_os("PATH").unwrap_or_default();
    find(named.as_deref(), std::env::split_paths(&folders).chain(fetched_folders()), check)
}

/// `check` says why a program will not do.
fn find(
    named: Option<&OsStr>,
    folders: impl Iterator<Item = PathBuf>,
    check: impl Fn(&Path) -> Result<(), String>,
) -> Result<PathBuf, NatsServerError> {
    if let Some(path) = named.map(PathBuf::from) {
        return match check(&path) {
            Ok(()) => Ok(path),
            Err(why) => Err(NatsServerError::NoBinary { tried: format!("NATS_SERVER names {why}") }),
        };
    }
    let mut passed_over = Vec::new();
    for candidate in folders.map(|folder| folder.join(PROGRAM)).filter(|path| path.is_file()) {
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(why) => passed_over.push(why),
        }
    }
    if passed_over.is_empty() {
        passed_over.push("none on PATH, none in the target folder".to_owned());
    }
    Err(NatsServerError::NoBinary { tried: passed_over.join("; ") })
}

/// `nats-server/bin` in every folder that may be the target folder: a test runs from inside of it, wherever
/// `CARGO_TARGET_DIR` puts it.
fn fetched_folders() -> impl Iterator<Item = PathBuf> {
    let program = std::env::current_exe().unwrap_or_default();
    let targets: Vec<PathBuf> = program.ancestors().skip(1).map(Path::to_owned).collect();
    targets.into_iter().map(|target| target.join("nats-server").join("bin"))
}

fn check(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let output = Command::new(path)
        .arg("--version")
        .output()
        .map_err(|error| format!("{shown}, which fails: {error}"))?;
    let banner = String::from_utf8_lossy(&output.stdout);
    match parse_version(&banner) {
        Some(version) if version >= OLDEST => Ok(()),
        Some((major, minor)) => Err(format!("{shown}, which is of version {major}.{minor}")),
        None => Err(format!("{shown}, which does not answer `--version` as nats-server does")),
    }
}

/// Reads `nats-server: v2.15.1`.
fn parse_version(banner: &str) -> Option<(u32, u32)> {
    let mut numbers = banner.trim().strip_prefix("nats-server: v")?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Folders that each hold a program of this name, if not one that runs.
    fn folders<const N: usize>(home: &Path, names: [&str; N]) -> [PathBuf; N] {
        names.map(|name| {
            let folder = home.join(name);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join(PROGRAM), "").unwrap();
            folder
        })
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(parse_version("nats-server: v2.9.25") < Some(OLDEST));
        assert!(parse_version("nats-server: v2.10.0-beta.1\n") >= Some(OLDEST));
        assert!(parse_version("nats-server: v3.0.0") >= Some(OLDEST));
        assert_eq!(parse_version("gnatsd version 1.4"), None);
    }

    #[test]
    fn an_unfit_server_is_passed_over_for_a_later_folder() {
        let home = tempfile::tempdir().unwrap();
        let [old, new] = folders(home.path(), ["old", "new"]);
        let expected = new.join(PROGRAM);
        let check = |path: &Path| if path.starts_with(&old) { Err("old".into()) } else { Ok(()) };
        assert_eq!(find(None, [old.clone(), new].into_iter(), check).unwrap(), expected);
    }

    #[test]
    fn a_named_server_is_never_replaced_by_another() {
        let home = tempfile::tempdir().unwrap();
        let folders = folders(home.path(), ["fit"]);
        let check = |path: &Path| if path.starts_with(home.path()) { Ok(()) } else { Err("unfit".into()) };
        let found = find(Some(OsStr::new("/nowhere/nats-server")), folders.into_iter(), check);
        assert!(matches!(found, Err(NatsServerError::NoBinary { .. })));
    }

    #[test]
    fn without_a_server_the_error_says_how_to_get_one() {
        // `Debug` is what a failed test shows.
        let message = format!("{:?}", find(None, std::iter::empty(), |_| Ok(())).unwrap_err());
        assert!(message.contains("cargo xtask test") && message.contains("NATS_SERVER"), "{message}");
    }
}
