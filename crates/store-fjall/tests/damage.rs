//! A journal whose end is damaged opens with a prefix of the batches or is refused: never a panic, a torn batch, or
//! a hole.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod folders;
mod numbered;

use std::{
    fs::{self, File, OpenOptions},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use archipelago_store::{Durability, Store, StoreError};
use archipelago_store_fjall::FjallStore;
use tempfile::TempDir;

const BATCHES: u64 = 25;

/// A closed store of [`BATCHES`] batches, with a journal that ends where its data ends.
struct Specimen {
    folder: TempDir,
    journal_bytes: u64,
}

impl Specimen {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = FjallStore::open(folder.path()).unwrap();
        for n in 1..=BATCHES {
            store.commit(numbered::batch(n, usize::try_from(n * 20).unwrap()), Durability::Os).unwrap();
        }
        store.close().unwrap();
        // Opening cuts off what was preallocated.
        FjallStore::open(folder.path()).unwrap().close().unwrap();
        let journal_bytes = fs::metadata(journal(folder.path())).unwrap().len();
        assert!(journal_bytes < 1 << 20, "the journal is {journal_bytes} bytes long");
        Specimen { folder, journal_bytes }
    }

    /// Opens a copy that has been damaged, and returns the number of batches found in it. What opens must also go on
    /// from there.
    fn open_damaged(&self, damage: impl FnOnce(&mut File)) -> Result<u64, StoreError> {
        let copy = tempfile::tempdir().unwrap();
        folders::copy(self.folder.path(), copy.path());
        damage(&mut OpenOptions::new().read(true).write(true).open(journal(copy.path())).unwrap());

        let store = FjallStore::open(copy.path())?;
        let last = numbered::last_of_whole_prefix(&store);
        assert!(last <= BATCHES);
        store.commit(numbered::batch(last + 1, 100), Durability::Os).unwrap();
        drop(store);
        assert_eq!(numbered::last_of_whole_prefix(&FjallStore::open(copy.path())?), last + 1);
        Ok(last)
    }

    /// Positions all over the journal, and every one in its last batch.
    fn positions(&self) -> Vec<u64> {
        let last_batch = self.journal_bytes - 40;
        (0..last_batch).step_by(281).chain((last_batch..=self.journal_bytes).step_by(3)).collect()
    }
}

#[test]
fn a_journal_cut_short_anywhere_opens_with_a_prefix_of_its_batches() {
    let specimen = Specimen::new();
    let mut last = 0;
    for position in specimen.positions() {
        let found = specimen.open_damaged(|journal| journal.set_len(position).unwrap());
        let found = found.unwrap_or_else(|error| panic!("cut at {position}: {error}"));
        assert!(found >= last, "{found} batches in {position} bytes, {last} in fewer");
        last = found;
    }
    let whole = specimen.open_damaged(|_| ()).unwrap();
    assert_eq!(whole, BATCHES);
}

/// Zeros at the end are what preallocation and power loss can leave.
#[test]
fn a_journal_that_ends_in_zeros_opens_with_a_prefix_of_its_batches() {
    let specimen = Specimen::new();
    let mut refused = 0;
    for position in specimen.positions() {
        let found = specimen.open_damaged(|journal| {
            journal.set_len(position).unwrap();
            journal.set_len(specimen.journal_bytes + 4_096).unwrap();
        });
        refused += u64::from(is_refused(found));
    }
    // A debug assertion of fjall fails on some of them; without it they open.
    assert!(refused == 0 || cfg!(debug_assertions), "{refused} refused");
}

/// Garbage at the end is what a crash of the whole machine can leave. fjall cuts off most of it, and refuses what
/// looks like a batch with a wrong checksum.
#[test]
fn a_journal_that_ends_in_garbage_opens_with_a_prefix_or_is_refused() {
    let specimen = Specimen::new();
    for position in specimen.positions() {
        let found = specimen.open_damaged(|journal| {
            journal.set_len(position).unwrap();
            journal.seek(SeekFrom::End(0)).unwrap();
            let garbage: Vec<_> = (0..600).map(|i| (i * i * 7 + position).to_be_bytes()[7]).collect();
            journal.write_all(&garbage).unwrap();
        });
        is_refused(found);
    }
}

fn is_refused(found: Result<u64, StoreError>) -> bool {
    match found {
        Ok(_) => false,
        Err(StoreError::Open { reason, .. }) => {
            assert!(!reason.is_empty());
            true
        }
        Err(other) => panic!("{other}"),
    }
}

fn journal(store: &Path) -> PathBuf {
    let files = fs::read_dir(store.join("db")).unwrap().map(|entry| entry.unwrap().path());
    let mut journals: Vec<_> = files.filter(|path| path.extension().is_some_and(|e| e == "jnl")).collect();
    assert_eq!(journals.len(), 1);
    journals.remove(0)
}
