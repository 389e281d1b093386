//! When the disk refuses a write, the store says so, takes no further commit, and is whole when opened again.
//!
//! The parent test runs this test binary again under a limit on the size of files, as a shell's `ulimit -f` sets it.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod numbered;

use std::{env, process::Command};

use archipelago_store::{Batch, Durability, Store, StoreError};
use archipelago_store_fjall::FjallStore;

const CHILD_PATH: &str = "ARCHIPELAGO_FAILED_COMMIT_CHILD_PATH";
const BATCHES: u64 = 5;

#[test]
fn a_refused_write_poisons_the_store_and_leaves_the_batches_before_it() {
    let folder = tempfile::tempdir().unwrap();
    // 512 or 1024 bytes each, as the shell likes; enough for the preallocated journal, not for the batch that is
    // too much. The signal that comes with the limit is ignored, so that the write fails instead.
    let shell = "trap '' XFSZ; ulimit -f 131072; exec \"$0\" --exact child --nocapture";
    let status = Command::new("sh")
        .args(["-c", shell])
        .arg(env::current_exe().unwrap())
        .env(CHILD_PATH, folder.path())
        .status()
        .unwrap();
    assert!(status.success(), "see the output of the child");

    let store = FjallStore::open(folder.path()).unwrap();
    assert_eq!(numbered::last_of_whole_prefix(&store), BATCHES);
    store.commit(numbered::batch(BATCHES + 1, 100), Durability::Fsync).unwrap();
}

/// Not a test of its own: the process whose disk is full.
#[test]
fn child() {
    let Ok(path) = env::var(CHILD_PATH) else { return };
    let store = FjallStore::open(path).unwrap();
    for n in 1..=BATCHES {
        store.commit(numbered::batch(n, 100), Durability::Os).unwrap();
    }
    let mut too_much = numbered::batch(BATCHES + 1, 0);
    for n in 0..3 {
        let half = numbered::batch(100 + n, 60 << 20)
            .into_changes()
            .into_iter()
            .max_by_key(|change| change.value.as_ref().map_or(0, |value| value.len()));
        let half = half.unwrap();
        too_much.put(half.table, half.key, half.value.unwrap());
    }
    let error = store.commit(too_much, Durability::Os).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    for batch in [numbered::batch(BATCHES + 1, 100), Batch::new()] {
        let error = store.commit(batch, Durability::Fsync).unwrap_err();
        assert!(matches!(error, StoreError::Poisoned { .. }), "{error}");
    }
    assert_eq!(numbered::last_of_whole_prefix(&store), BATCHES, "reads still answer");
    store.close().unwrap();
}
