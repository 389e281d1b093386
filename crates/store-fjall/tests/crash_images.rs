//! Whatever a crash leaves of the whole folder opens with a prefix of the batches: all that was acknowledged, no torn
//! batch, and no hole.
//!
//! A store works through numbered batches of mixed durability while it flushes memtables, rotates journals, compacts, and
//! is closed and opened now and then. After each commit the image of its folder is taken.
//!
//! - **Death of the process**: what the operating system was given is there, so the image as it is must hold what was
//!   acknowledged at [`Durability::Os`] or better. A journal that is cut where the last commits were being written is what
//!   is left of a process that died meanwhile.
//! - **Loss of power**: of the journals, what was appended since the last sync may be cut short, be zeros, be garbage, or
//!   have a page of zeros in the midst of it, as pages reach a disk in any order. What was acknowledged at
//!   [`Durability::Fsync`] must be there. Files that were removed may be back, since nobody syncs a removal, and files that
//!   were just made may be there without anything that refers to them.
//!
//! **Known limit:** where a page is missing in the midst of a batch and its end is there, fjall finds a wrong checksum and
//! refuses to open, although what was synced is whole; so it does with some garbage. That is a clear error, never a wrong
//! state, and the tests let it pass for these two; cuts must open, and so must zeros up to the end, but for a debug assertion
//! of fjall.
//!
//! That [`Durability::Fsync`] syncs at all cannot be seen in an image; what it leaves in a buffer of the process can.
//!
//! fjall syncs a table and the folder that it is in before anything refers to it, and the journal before a memtable is
//! flushed. So a journal counts as synced also where the image shows that tables have changed since the one before; that is
//! more than is known to be synced, and keeps the model honest: no image here is one that a sound disk could not leave.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod numbered;

use std::{
    collections::BTreeSet,
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use archipelago_store::{Durability, Store, StoreError, Table};
use archipelago_store_fjall::FjallStore;
use archipelago_testkit::FolderImage;
use fjall::{Database, KeyspaceCreateOptions};

/// What was known after a commit.
#[derive(Clone)]
struct Moment {
    image: FolderImage,
    /// The last batch that was committed.
    last: u64,
    /// The last batch that survives the death of the process.
    survives_death: u64,
    /// The last batch that survives a loss of power.
    survives_power_loss: u64,
    /// The journal that is written, and what of it is not known to be synced.
    journal: PathBuf,
    unsynced: Range<u64>,
}

struct Voyage {
    folder: PathBuf,
    store: Option<FjallStore>,
    moments: Vec<Moment>,
    last: u64,
    survives_death: u64,
    survives_power_loss: u64,
}

impl Voyage {
    fn new(folder: &Path) -> Self {
        Voyage {
            folder: folder.to_owned(),
            store: Some(FjallStore::open(folder).unwrap()),
            moments: Vec::new(),
            last: 0,
            survives_death: 0,
            survives_power_loss: 0,
        }
    }

    fn commit(&mut self, bytes: usize, durability: Durability) {
        self.last += 1;
        let batch = numbered::batch(self.last, bytes);
        self.store.as_ref().unwrap().commit(batch, durability).unwrap();
        // A commit takes all earlier ones with it.
        if durability >= Durability::Os {
            self.survives_death = self.last;
        }
        if durability == Durability::Fsync {
            self.survives_power_loss = self.last;
        }
    }

    fn reopen(&mut self) {
        self.store.take().unwrap().close().unwrap();
        (self.survives_death, self.survives_power_loss) = (self.last, self.last);
        self.store = Some(FjallStore::open(&self.folder).unwrap());
    }

    /// Takes the image of what there is now.
    fn look(&mut self) {
        let image = FolderImage::take(&self.folder).unwrap();
        let journal = journals(&image).pop().expect("there is always a journal that is written");
        let end = image.data_bytes(&journal);
        let is_synced = self.survives_power_loss == self.last;
        let synced = match self.moments.last() {
            Some(before)
                if !is_synced && before.journal == journal && tables(&before.image) == tables(&image) =>
            {
                // A store that was opened again may have cut off what no batch was in.
                before.unsynced.start.min(end)
            }
            _ => end,
        };
        self.moments.push(Moment {
            image,
            last: self.last,
            survives_death: self.survives_death,
            survives_power_loss: self.survives_power_loss,
            journal,
            unsynced: synced..end,
        });
    }
}

/// Opens what is left, and lets it go on from there.
fn open(image: &FolderImage, what: &str) -> Result<u64, StoreError> {
    let left = tempfile::tempdir().unwrap();
    image.restore(left.path()).unwrap();
    let store = FjallStore::open(left.path())?;
    let found = numbered::last_of_whole_prefix(&store);
    store.commit(numbered::batch(found + 1, 300), Durability::Os).unwrap();
    assert_eq!(numbered::last_of_whole_prefix(&store), found + 1, "{what}");
    if found.is_multiple_of(4) {
        drop(store);
        assert_eq!(numbered::last_of_whole_prefix(&FjallStore::open(left.path())?), found + 1, "{what}");
    }
    Ok(found)
}

impl Moment {
    fn check(&self, image: &FolderImage, at_least: u64, what: &str) {
        let what = format!("{what}, after batch {}", self.last);
        let found = open(image, &what).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(found >= at_least, "{what}: {at_least} was acknowledged, {found} is the last there");
        assert!(found <= self.last, "{what}: {found} is from nowhere");
    }

    /// As [`check`](Self::check), but the store may say that it is damaged.
    fn check_or_refused(&self, image: &FolderImage, what: &str) -> bool {
        let what = format!("{what}, after batch {}", self.last);
        match open(image, &what) {
            Ok(found) => {
                assert!((self.survives_power_loss..=self.last).contains(&found), "{what}: {found}");
                false
            }
            Err(StoreError::Open { reason, .. }) => {
                assert!(!reason.is_empty());
                true
            }
            Err(other) => panic!("{what}: {other}"),
        }
    }
}

fn journals(image: &FolderImage) -> Vec<PathBuf> {
    let is_journal = |path: &&Path| path.extension().is_some_and(|extension| extension == "jnl");
    let mut journals: Vec<PathBuf> = image.files().filter(is_journal).map(Path::to_owned).collect();
    journals.sort_by_key(|path| path.file_stem().unwrap().to_str().unwrap().parse::<u64>().unwrap());
    journals
}

fn tables(image: &FolderImage) -> BTreeSet<&Path> {
    image.files().filter(|path| path.starts_with("db/keyspaces")).collect()
}

fn is_table(path: &Path) -> bool {
    path.parent().is_some_and(|folder| folder.ends_with("tables"))
}

/// A store whose tables are flushed after a few KiB. What is on the disk is the same otherwise: fjall keeps the size with
/// each table.
fn create_with_small_memtables(folder: &Path, memtable_bytes: impl Fn(Table) -> u64) {
    FjallStore::open(folder).unwrap().close().unwrap();
    let database = folder.join("db");
    fs::remove_dir_all(&database).unwrap();
    let database = Database::builder(database).open().unwrap();
    for table in Table::ALL {
        let options = || KeyspaceCreateOptions::default().max_memtable_size(memtable_bytes(table));
        database.keyspace(table.name(), options).unwrap();
    }
}

/// Flushes and compactions all the time.
fn busy_voyage(folder: &Path) -> Vec<Moment> {
    create_with_small_memtables(folder, |table| if table == Table::Entities { 24_000 } else { 3_000 });
    let mut voyage = Voyage::new(folder);
    let durabilities =
        [Durability::Os, Durability::Memory, Durability::Os, Durability::Os, Durability::Fsync];
    let (mut flushes, mut compactions) = (0, 0);
    for n in 0.. {
        // fjall works in the background, as fast as it may.
        if n >= 120 && flushes >= 10 && compactions >= 1 {
            break;
        }
        assert!(n < 1_000, "{flushes} flushes and {compactions} compactions were seen");
        let bytes = [40, 900, 2_500, 10, 1_300, 6_000, 300][n % 7];
        voyage.commit(bytes, durabilities[n % 5]);
        voyage.look();
        if n % 37 == 36 {
            voyage.reopen();
            voyage.look();
        }
        if let [.., before, after] = &voyage.moments[..] {
            let [before, after] = [before, after].map(|moment| tables(&moment.image));
            flushes += u32::from(after.difference(&before).any(|path| is_table(path)));
            compactions += u32::from(before.difference(&after).any(|path| is_table(path)));
        }
    }
    voyage.moments
}

/// Up to `count` places in a range, its ends among them, and the others spread by `seed`.
fn places(range: &Range<u64>, count: u64, seed: u64) -> BTreeSet<u64> {
    let bytes = range.end - range.start;
    let spread = (0..count).map(|n| range.start + (n * bytes / count + seed * 31 % 61).min(bytes));
    spread.chain([range.start, range.end]).collect()
}

#[test]
fn a_killed_process_leaves_every_acknowledged_batch_whatever_it_was_at() {
    let folder = tempfile::tempdir().unwrap();
    let moments = busy_voyage(folder.path());
    for moment in moments.iter().step_by(2) {
        moment.check(&moment.image, moment.survives_death, "killed");
    }
    for (before, after) in moments.iter().zip(&moments[1..]).step_by(3) {
        // While the commit was being written.
        if tables(&before.image) == tables(&after.image) && before.journal == after.journal {
            let written = before.image.data_bytes(&before.journal)..after.image.data_bytes(&after.journal);
            for at in places(&written, 2, after.last) {
                let mut image = after.image.clone();
                image.cut(&after.journal, at);
                after.check(&image, before.survives_death, "killed while it wrote");
            }
        }
    }
}

#[test]
fn a_loss_of_power_leaves_every_synced_batch_however_what_was_not_synced_is_torn() {
    let folder = tempfile::tempdir().unwrap();
    let moments = busy_voyage(folder.path());
    let (mut unsynced, mut torn, mut refused) = (0, 0, 0);
    for moment in moments.iter().filter(|moment| !moment.unsynced.is_empty()) {
        unsynced += 1;
        for at in places(&moment.unsynced, 2, moment.last) {
            let mut cut = moment.image.clone();
            cut.cut(&moment.journal, at);
            moment.check(&cut, moment.survives_power_loss, "cut");

            let (end, mut image) = (moment.unsynced.end, moment.image.clone());
            let what = ["zeros at the end", "a page of zeros", "garbage"][(at % 3) as usize];
            match what {
                "zeros at the end" => image.zero(&moment.journal, at, end),
                "a page of zeros" => image.zero(&moment.journal, at, (at / 4_096 + 1) * 4_096),
                _ => image.garble(&moment.journal, at, end, at),
            }
            let is_refused = moment.check_or_refused(&image, &format!("{what} at {at}"));
            // A debug assertion of fjall fails on some zeros; without it they open.
            assert!(!is_refused || what != "zeros at the end" || cfg!(debug_assertions), "{what} at {at}");
            torn += 1;
            refused += u64::from(is_refused);
        }
    }
    assert!(unsynced > 15, "{unsynced} images have something that is not synced");
    assert!(refused * 2 < torn, "{refused} of {torn} were refused");
}

/// Nobody syncs the removal of a file, and what was made for a change that did not come about may be there.
#[test]
fn files_that_come_back_or_are_of_no_use_yet_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let moments = busy_voyage(folder.path());
    let (mut came_back, mut unused) = (0, 0);
    for (before, after) in moments.iter().zip(&moments[1..]).filter(|(before, after)| {
        before.journal == after.journal && tables(&before.image) != tables(&after.image)
    }) {
        let mut image = after.image.clone();
        if image.keep(&before.image, |_| true) > 0 {
            came_back += 1;
            after.check(&image, after.survives_death, "with files that were removed");
        }
        let mut image = before.image.clone();
        if image.keep(&after.image, |_| true) > 0 {
            unused += 1;
            before.check(&image, before.survives_death, "with files that nothing refers to");
        }
    }
    assert!(came_back > 5 && unused > 5, "{came_back} came back, {unused} were of no use yet");
}

/// A journal is given up for the next one after 64 MB, and goes when all tables have what is in it.
#[test]
fn a_crash_around_the_change_of_journals_leaves_every_acknowledged_batch() {
    let folder = tempfile::tempdir().unwrap();
    let small = |table| if table == Table::Entities { 2 << 20 } else { 1_500 };
    create_with_small_memtables(folder.path(), small);
    let mut voyage = Voyage::new(folder.path());
    for _ in 0..21 {
        voyage.commit(3_000_000, Durability::Os);
    }
    let mut turns = Vec::new();
    for n in 0..300 {
        let (bytes, durability) =
            [(150_000, Durability::Fsync), (60_000, Durability::Os)][usize::from(n % 3 > 0)];
        voyage.commit(bytes, durability);
        voyage.look();
        // Images of this size are kept only around a turn.
        voyage.moments.drain(..voyage.moments.len().saturating_sub(2));
        let [before, after] = &voyage.moments[..] else { continue };
        if journals(&before.image) != journals(&after.image) {
            turns.push((before.clone(), after.clone()));
        }
        if !after.image.files().any(|path| path.ends_with("0.jnl")) {
            break;
        }
    }
    let (_, last) = turns.last().expect("a turn");
    assert!(!last.image.files().any(|path| path.ends_with("0.jnl")), "the first journal is gone");
    for (before, after) in turns {
        after.check(&after.image, after.survives_death, "killed");
        let mut image = after.image.clone();
        image.cut(&after.journal, after.unsynced.start);
        image.keep(&before.image, |_| true);
        after.check(&image, after.survives_power_loss, "with the journal that was removed");
    }
}
