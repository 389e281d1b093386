//! The store on disk holds every property of a store, whatever of it is in memory.

use archipelago_store::{StoreError, conformance::Backend};
use archipelago_store_fjall::{FjallOptions, FjallStore};
use tempfile::TempDir;

struct Disk(TempDir, FjallOptions);

impl Disk {
    fn new(options: FjallOptions) -> Disk {
        Disk(tempfile::tempdir().expect("a folder"), options)
    }
}

impl Backend for Disk {
    type Store = FjallStore;

    fn open(&self) -> Result<FjallStore, StoreError> {
        self.1.open(self.0.path().join("store"))
    }

    fn locks(&self) -> bool {
        true
    }
}

mod as_it_comes {
    use super::*;

    archipelago_store::conformance_tests!(Disk::new(FjallOptions::new()));
}

mod with_few_rows_in_memory {
    use super::*;

    archipelago_store::conformance_tests!(Disk::new(FjallOptions::new().row_cache_bytes(1_000)));
}

mod without_rows_in_memory {
    use super::*;

    archipelago_store::conformance_tests!(Disk::new(FjallOptions::new().row_cache_bytes(0)));
}
