//! Snapshots: the whole state of a master in chunks, somewhere else.
//!
//! | file | noun |
//! |---|---|
//! | `create` | a snapshot of a running master |
//! | `at_rest` | a snapshot of a store that no master runs on |
//! | `writing` | a snapshot that is being written |
//! | `reader` | [`SnapshotReader`]: a snapshot, chunk by chunk, checked |
//! | `join` | what a master lacks much of, from a snapshot |
//! | `keeper` | snapshots at intervals; old ones removed, the log trimmed |
//! | `restore` | [`SnapshotRestore`]: a snapshot into an empty store |
//! | `name`, `info`, `error` | what a snapshot is called, [`SnapshotInfo`], [`SnapshotError`] |

mod at_rest;
mod create;
mod error;
mod info;
mod join;
mod keeper;
mod name;
mod reader;
mod restore;
mod writing;

pub use at_rest::snapshot_at_rest;
pub use error::SnapshotError;
pub use info::{SnapshotInfo, SnapshotProgress};
pub use reader::{SnapshotReader, verify_snapshot};
pub use restore::{SnapshotRestore, restore_snapshot};

pub(crate) use create::Maker;
pub(crate) use join::Joiner;
pub(crate) use keeper::{Keeper, Neighbourhood};
pub(crate) use restore::Restoring;
