//! Every format that was ever written to a disk can be read.
//!
//! A fixture is the folder of a closed store. It is never changed; a new format gets a new one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod folders;
mod numbered;

use std::{fs, path::Path};

use archipelago_store::{Batch, Durability, Store, Table};
use archipelago_store_fjall::FjallStore;
use fjall::{Database, KeyspaceCreateOptions};

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
    assert_every_table_can_be_written(&store);
    store.commit(numbered::batch(6, 40), Durability::Fsync).unwrap();
    store.close().unwrap();
    assert_eq!(numbered::last_of_whole_prefix(&FjallStore::open(folder.path()).unwrap()), 6);
}

/// Each build that brought a table wrote folders without those that came after it.
#[test]
fn tables_that_came_after_the_folder_was_written_are_made_when_it_is_opened() {
    for known in 3..Table::ALL.len() {
        let folder = tempfile::tempdir().unwrap();
        FjallStore::open(folder.path()).unwrap().close().unwrap();
        let path = folder.path().join("db");
        fs::remove_dir_all(&path).unwrap();
        let database = Database::builder(&path).open().unwrap();
        for table in &Table::ALL[..known] {
            let keyspace = database.keyspace(table.name(), KeyspaceCreateOptions::default).unwrap();
            keyspace.insert("earlier", table.name()).unwrap();
        }
        drop(database);

        for _ in ["made", "there"] {
            let store = FjallStore::open(folder.path()).unwrap();
            for (place, table) in Table::ALL.into_iter().enumerate() {
                let earlier = (place < known).then(|| table.name().into());
                assert_eq!(store.get(table, b"earlier").unwrap(), earlier, "{} of {known}", table.name());
            }
            assert_every_table_can_be_written(&store);
            store.close().unwrap();
        }
    }
}

fn assert_every_table_can_be_written(store: &FjallStore) {
    for table in Table::ALL {
        let mut batch = Batch::new();
        batch.put(table, "later", "row");
        store.commit(batch, Durability::Os).unwrap();
        assert!(store.get(table, b"later").unwrap().is_some(), "{}", table.name());
        let mut batch = Batch::new();
        batch.remove(table, "later");
        store.commit(batch, Durability::Os).unwrap();
    }
}
