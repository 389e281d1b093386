//! Programs of others, found on PATH or got from the package manager.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::{Outcome, step};

/// How long the package manager may take.
const INSTALL_MAX: Duration = Duration::from_secs(600);

/// Where a program of that name is.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The program that a variable names, else the one on PATH.
pub(crate) fn named_or_on_path(variable: &str, program: &str) -> Option<PathBuf> {
    match std::env::var_os(variable).filter(|path| !path.is_empty()) {
        // Whoever names a program means it.
        Some(named) => Some(PathBuf::from(named)),
        None => on_path(program),
    }
}

/// As whoever runs this may install packages, on Debian and what is like it.
pub(crate) fn install(packages: &[&str]) -> Outcome {
    if on_path("apt-get").is_none() {
        return Err("there is no apt-get to install it".to_owned());
    }
    if !is_root() {
        return Err("only root can install it".to_owned());
    }
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
        step::run_within(&mut command, INSTALL_MAX)
    };
    apt(&["update"])?;
    apt(&[&["install", "--yes", "--no-install-recommends"], packages].concat())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == "0")
}
