//! The machine: room on the disk, and how many files may be open.

use std::path::{Path, PathBuf};

use archipelago_server::Config;

use super::{bytes, finding::Finding};

/// Beyond connections: stores, the log, and what the system needs.
const FILES_BESIDES: u64 = 512;

/// The folder of the data can be written, and has room.
pub(super) fn data(config: &Config, free_min: u64) -> Vec<Finding> {
    let data = std::path::absolute(&config.node.data).unwrap_or_else(|_| config.node.data.clone());
    let place = existing(&data);
    let shown = data.display();
    if !place.is_dir() {
        let found = format!("{} is no folder", place.display());
        return vec![Finding::fail("data-folder", found, "remove it, or change node.data")];
    }
    let mut findings =
        vec![match tempfile::Builder::new().prefix(".archipelago-doctor-").tempfile_in(&place) {
            Ok(_) if place == data => Finding::ok("data-folder", format!("{shown} can be written")),
            Ok(_) => Finding::ok("data-folder", format!("{shown} is not there yet, and can be made")),
            Err(error) => Finding::fail(
                "data-folder",
                format!("{} cannot be written: {error}", place.display()),
                "let the user of the node own it, or change node.data",
            ),
        }];
    findings.push(match free_bytes(&place) {
        Some(free) if free < free_min => Finding::fail(
            "disk",
            format!("{} are free for {shown}, less than {}", bytes::shown(free), bytes::shown(free_min)),
            "make room, or move node.data to a larger disk: a store that cannot write stops its namespace",
        ),
        Some(free) => Finding::ok("disk", format!("{} are free for {shown}", bytes::shown(free))),
        None => Finding::warn(
            "disk",
            format!("how much room there is for {shown} is not known"),
            "look yourself: a store that cannot write stops its namespace",
        ),
    });
    findings
}

/// The folder, or the nearest thing above it that is there.
fn existing(folder: &Path) -> PathBuf {
    folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/")).to_owned()
}

/// As many files may be open as connections and stores need.
pub(super) fn limits(config: &Config) -> Finding {
    let connections = config.http.connections_max as u64;
    let wanted = connections.saturating_add(FILES_BESIDES);
    match files_max() {
        Some(files) if files < wanted => Finding::warn(
            "open-files",
            format!("this process may open {files} files, and {connections} connections alone need as many"),
            format!(
                "raise the limit to {wanted} (LimitNOFILE= of the service, or ulimit -n), or lower http.connections_max"
            ),
        ),
        Some(files) => Finding::ok("open-files", format!("{files} files may be open")),
        None => Finding::ok("open-files", "there is no limit"),
    }
}

#[cfg(unix)]
fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(not(unix))]
fn free_bytes(_: &Path) -> Option<u64> {
    None
}

#[cfg(unix)]
fn files_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

#[cfg(not(unix))]
fn files_max() -> Option<u64> {
    None
}
