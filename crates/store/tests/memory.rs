//! The store in memory holds every property of a store.

use archipelago_store::{MemoryStore, StoreError, conformance::Backend, conformance_tests};

struct Memory(MemoryStore);

impl Backend for Memory {
    type Store = MemoryStore;

    fn open(&self) -> Result<MemoryStore, StoreError> {
        Ok(self.0.reopen())
    }

    fn fail_next_commit(&self, store: &MemoryStore) -> bool {
        store.fail_next_commit("injected by the test");
        true
    }
}

conformance_tests!(Memory(MemoryStore::new()));
