//! What keeps snapshots in memory and in folders keeps the contract.

use std::{fs, sync::Arc};

use archipelago_pipeline::snapshots::{
    MemorySnapshots, SnapshotFolder, SnapshotStore, conformance::SnapshotHarness,
};
use tempfile::TempDir;

struct Memory(MemorySnapshots);

#[async_trait::async_trait]
impl SnapshotHarness for Memory {
    async fn store(&self) -> Arc<dyn SnapshotStore> {
        Arc::new(self.0.clone())
    }
    async fn pieces(&self) -> usize {
        self.0.list().await.expect("a list").len()
    }
}

struct Folder(TempDir);

#[async_trait::async_trait]
impl SnapshotHarness for Folder {
    async fn store(&self) -> Arc<dyn SnapshotStore> {
        // A folder that nobody has made yet.
        Arc::new(SnapshotFolder::new(self.0.path().join("a/b")))
    }
    async fn pieces(&self) -> usize {
        let Ok(entries) = fs::read_dir(self.0.path().join("a/b")) else { return 0 };
        entries.filter(|entry| entry.as_ref().expect("an entry").file_name() != ".lock").count()
    }
}

mod in_memory {
    use super::*;
    archipelago_pipeline::snapshot_conformance_tests!(Memory(MemorySnapshots::default()));
}

mod in_a_folder {
    use super::*;
    archipelago_pipeline::snapshot_conformance_tests!(Folder(tempfile::tempdir().expect("a folder")));
}
