//! The store on disk holds every property of a store.

use archipelago_store::{StoreError, conformance::Backend, conformance_tests};
use archipelago_store_fjall::FjallStore;
use tempfile::TempDir;

struct Disk(TempDir);

impl Backend for Disk {
    type Store = FjallStore;

    fn open(&self) -> Result<FjallStore, StoreError> {
        FjallStore::open(self.0.path().join("store"))
    }

    fn locks(&self) -> bool {
        true
    }
}

conformance_tests!(Disk(tempfile::tempdir().unwrap()));
