//! Every format that was ever written to a disk can be read.
//!
//! A fixture is the folder of a closed store. It is never changed; a new format gets a new one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod folders;
mod numbered;

use std::{fs, path::Path};

use archipelago_store::{Batch, Durability, Store, Table};
use archipelago_store_fjall::FjallStore;

/// Written by the first version, with fjall 3.1.13: batches 1 to 5 of `numbered`.
#[test]
fn format_1_can_be_read_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    folders::copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1"), folder.path());
    for keyspace in 0..=3 {
        // Git keeps no empty folders.
        fs::create_dir_all(folder.path().join(format!("db/keyspaces/{keyspace}/tables"))).unwrap();
    }
    let store = FjallStore::open(folder.path()).unwrap();
    assert_eq!(numbered::last_of_whole_prefix(&store), 5);
    // The tables that came later are there, and can be written.
    for table in Table::ALL {
        let mut batch = Batch::new();
        batch.put(table, "later", "row");
        store.commit(batch, Durability::Os).unwrap();
        assert!(store.get(table, b"later").unwrap().is_some(), "{}", table.name());
        let mut batch = Batch::new();
        batch.remove(table, "later");
        store.commit(batch, Durability::Os).unwrap();
    }
    store.commit(numbered::batch(6, 40), Durability::Fsync).unwrap();
    store.close().unwrap();
    assert_eq!(numbered::last_of_whole_prefix(&FjallStore::open(folder.path()).unwrap()), 6);
}
