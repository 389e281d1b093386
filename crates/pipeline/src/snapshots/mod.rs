//! Where snapshots are kept.

mod memory;
mod store;

pub use memory::MemorySnapshots;
pub use store::{SnapshotStore, SnapshotStoreError, SnapshotWriter};
