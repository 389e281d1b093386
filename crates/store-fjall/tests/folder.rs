//! What a store does with the folder it is given: it refuses what it cannot or must not use, and says why.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use archipelago_store::{Batch, Durability, Store, StoreError, Table};
use archipelago_store_fjall::FjallStore;

#[test]
fn a_folder_is_created_with_its_parents() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/c");
    let store = FjallStore::open(&path).unwrap();
    assert_eq!(store.path(), path);
    assert_eq!(fs::read_to_string(path.join("FORMAT")).unwrap(), "archipelago-store-fjall 1\n");
}

#[test]
fn other_files_in_the_folder_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    put_row_and_close(folder.path());
    assert_eq!(fs::read_to_string(folder.path().join("notes.txt")).unwrap(), "mine");
    assert!(has_row(folder.path()));
}

#[test]
fn a_path_below_a_file_is_refused_with_path_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "in the way").unwrap();
    for path in [file.clone(), file.join("store")] {
        let message = refusal(&path);
        assert!(message.contains(&format!("{path:?}")) && message.contains("create the folder"), "{message}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_refused_with_path_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    // Permissions would not stop a test that runs as root; a folder where the lock file belongs stops everyone.
    fs::create_dir(folder.path().join("LOCK")).unwrap();
    let message = refusal(folder.path());
    assert!(message.contains("cannot write in the folder"), "{message}");
}

#[test]
fn an_unknown_format_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    put_row_and_close(folder.path());
    let format = folder.path().join("FORMAT");
    let known = fs::read(&format).unwrap();

    fs::write(&format, "archipelago-store-fjall 2\n").unwrap();
    let message = refusal(folder.path());
    assert!(message.contains("archipelago-store-fjall 2") && message.contains("fjall 1"), "{message}");

    fs::remove_file(&format).unwrap();
    let message = refusal(folder.path());
    assert!(message.contains("no file FORMAT"), "{message}");

    fs::write(&format, known).unwrap();
    assert!(has_row(folder.path()));
}

#[test]
fn a_creation_that_was_cut_short_is_begun_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("db.new")).unwrap();
    // What fjall alone would never open again: a journal, but no version file yet.
    fs::write(folder.path().join("db.new/0.jnl"), "").unwrap();
    fs::write(folder.path().join("FORMAT"), "archipel").unwrap();
    put_row_and_close(folder.path());
    assert!(has_row(folder.path()));
    assert!(!folder.path().join("db.new").exists());
}

#[test]
fn a_foreign_folder_among_the_tables_is_named_and_refused() {
    let folder = tempfile::tempdir().unwrap();
    put_row_and_close(folder.path());
    let foreign = folder.path().join("db/keyspaces/.snapshot");
    fs::create_dir(&foreign).unwrap();
    let message = refusal(folder.path());
    assert!(message.contains(&format!("{foreign:?} is not a part")), "{message}");
    fs::remove_dir(&foreign).unwrap();
    assert!(has_row(folder.path()), "the refused opening still holds a lock");
}

#[test]
fn a_database_without_its_tables_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    put_row_and_close(folder.path());
    fs::remove_dir_all(folder.path().join("db/keyspaces")).unwrap();
    let message = refusal(folder.path());
    assert!(message.contains("damaged"), "{message}");
}

fn refusal(path: &Path) -> String {
    match FjallStore::open(path) {
        Err(error @ StoreError::Open { .. }) => error.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("{path:?} was opened"),
    }
}

fn put_row_and_close(path: &Path) {
    let store = FjallStore::open(path).unwrap();
    let mut batch = Batch::new();
    batch.put(Table::Meta, "row", "value");
    store.commit(batch, Durability::Os).unwrap();
    store.close().unwrap();
}

fn has_row(path: &Path) -> bool {
    FjallStore::open(path).unwrap().get(Table::Meta, b"row").unwrap().is_some()
}
