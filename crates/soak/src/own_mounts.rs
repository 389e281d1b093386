//! A view of the file system that only this program and its children have, in which it may mount.

use std::{
    env,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

/// Says that this process has such a view already, or cannot have one.
const VARIABLE: &str = "ARCHIPELAGO_SOAK_MOUNTS";

/// Whether a disk of its own can be made for a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mounting {
    Possible,
    /// The system does not let this user, or has no such thing.
    Refused,
}

impl Mounting {
    /// As [`enter`] left it.
    pub(crate) fn here() -> Mounting {
        match env::var(VARIABLE) {
            Ok(told) if told == "possible" => Mounting::Possible,
            _ => Mounting::Refused,
        }
    }
}

/// Starts this program anew with a view of its own, in the same process, if the system lets it; returns if it has one, or
/// does not. What is mounted there is gone with the last process of it, whatever that dies of.
pub(crate) fn enter() {
    let Ok(program) = env::current_exe() else { return };
    if env::var_os(VARIABLE).is_some() || !is_allowed() {
        return;
    }
    let mut command = unshare();
    command.arg(program).args(env::args_os().skip(1)).env(VARIABLE, "possible");
    let error = command.exec();
    tracing::warn!(%error, "unshare was there and is not any more");
}

/// Tries it out: some systems let a user have a view, and not mount in it.
fn is_allowed() -> bool {
    let mut command = unshare();
    command.args(["mount", "-t", "tmpfs", "-o", "size=64k", "none"]).arg(env::temp_dir());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--propagation", "private", "--"]);
    command
}
