//! Whatever a crash leaves of a master's folder, a master started on it is what it was after one of its steps: the last
//! one that was acknowledged, or a later one.
//!
//! A master on the durable store goes through writes under every strategy, updates of CRDTs, deletes, received events,
//! conflicts, an import in parts, reclaiming, a restart, and another identity, while its tables are flushed. After each step
//! the image of its folder is taken; between two steps the journal is cut everywhere, which is what is left of a process
//! that died, or a machine that lost power, while it was written. On each image
//!
//! - the rows fit together, as [`StoredMaster`](archipelago_testkit::StoredMaster) checks: records, indexes, vector,
//!   clock, outbox and the rest,
//! - the state is exactly what the writes in its vector make of it, which an engine of its own plays from the events alone,
//! - identity, vector and digest are those after a step that may be left; so every acknowledged write is there, or a later
//!   one in its place,
//! - the outbox has every own write, as it was,
//! - the next write gets the next sequence, and a stamp above all that is stored, though the clock of the wall went back,
//! - what is staged of an import is of use.

mod support;
mod voyage;

use std::{
    collections::BTreeSet,
    fs,
    ops::{Bound, Range, RangeInclusive},
    path::{Path, PathBuf},
    sync::Arc,
};

use archipelago_store::{Batch, Durability, MemoryStore, Store, Table};
use archipelago_store_fjall::FjallStore;
use archipelago_testkit::{FolderImage, StoredMaster};
use bytes::Bytes;
use fjall::{Database, KeyspaceCreateOptions};
use voyage::{STEPS, Voyage, strategies};

/// The folder after a step.
struct Moment {
    image: FolderImage,
    /// The last step that a loss of power leaves.
    synced_step: usize,
    journal: PathBuf,
    /// What of the journal is not known to be synced.
    unsynced: Range<u64>,
}

impl Moment {
    fn new(image: FolderImage, before: Option<&Moment>, step: usize, is_synced: bool) -> Self {
        let is_journal = |path: &&Path| path.extension().is_some_and(|extension| extension == "jnl");
        let journal = image.files().find(is_journal).expect("a journal").to_owned();
        let end = image.data_bytes(&journal);
        // A journal is synced before a table is flushed.
        let before = before.filter(|before| !is_synced && tables(&before.image) == tables(&image));
        let synced = before.map_or(end, |before| before.unsynced.start.min(end));
        let synced_step = before.map_or(step, |before| before.synced_step);
        Moment { image, synced_step, journal, unsynced: synced..end }
    }
}

fn tables(image: &FolderImage) -> BTreeSet<&Path> {
    image.files().filter(|path| path.starts_with("db/keyspaces")).collect()
}

/// A store whose tables are flushed after a few KiB, which fjall keeps with each table.
fn create_with_small_memtables(folder: &Path) {
    FjallStore::open(folder).expect("an empty folder").close().expect("open");
    let database = folder.join("db");
    fs::remove_dir_all(&database).expect("its own folder");
    let database = Database::builder(database).open().expect("a new folder");
    for table in Table::ALL {
        let options = || KeyspaceCreateOptions::default().max_memtable_size(3_000);
        database.keyspace(table.name(), options).expect("a new database");
    }
}

/// The voyage, and the folder after the start and after each step.
async fn voyage(folder: &Path, durability: Durability) -> (Voyage, Vec<Moment>) {
    create_with_small_memtables(folder);
    let path = folder.to_owned();
    let open = move || -> Arc<dyn Store> { Arc::new(FjallStore::open(&path).expect("a sound folder")) };
    let mut voyage = Voyage::start(Box::new(open), durability).await.expect("a sound store");
    let image = |folder: &Path| FolderImage::take(folder).expect("readable");
    let mut moments = vec![Moment::new(image(folder), None, 0, true)];
    for (step, number) in STEPS.iter().zip(1..) {
        voyage.take(step).await.expect("a sound store");
        let is_synced = durability == Durability::Fsync && Voyage::is_synced(step);
        moments.push(Moment::new(image(folder), moments.last(), number, is_synced));
    }
    let flushes = moments.windows(2).filter(|two| tables(&two[0].image) != tables(&two[1].image)).count();
    assert!(flushes > 3, "tables were flushed {flushes} times");
    let reclaimed = voyage.known.windows(2).any(|two| two[1].tombstones < two[0].tombstones);
    assert!(reclaimed, "tombstones were reclaimed");
    let identities: BTreeSet<_> = voyage.known.iter().map(|known| &known.replica).collect();
    assert_eq!(identities.len(), 2, "it took another identity");
    (voyage, moments)
}

async fn check(voyage: &Voyage, image: &FolderImage, steps: RangeInclusive<usize>, what: &str) {
    let left = tempfile::tempdir().expect("a temporary folder");
    image.restore(left.path()).expect("room on the disk");
    let what = format!(
        "{what}, after step {} {:?}",
        steps.end(),
        steps.end().checked_sub(1).map(|step| STEPS[step])
    );
    let store = FjallStore::open(left.path()).unwrap_or_else(|error| panic!("{what}: {error}"));
    voyage.check(Arc::new(store), steps, &what).await;
}

/// The ends of the range, and some places within.
fn places(range: &Range<u64>) -> BTreeSet<u64> {
    let bytes = range.end - range.start;
    [0, bytes / 3, bytes * 2 / 3, bytes.saturating_sub(1)].map(|n| range.start + n).into()
}

async fn killed(durability: Durability) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (voyage, moments) = voyage(folder.path(), durability).await;
    for (step, moment) in moments.iter().enumerate() {
        check(&voyage, &moment.image, step..=step, "killed").await;
    }
    for (step, two) in (1..).zip(moments.windows(2)) {
        let [before, after] = two else { unreachable!("windows of two") };
        if tables(&before.image) == tables(&after.image) {
            let written = before.image.data_bytes(&before.journal)..after.image.data_bytes(&after.journal);
            for at in places(&written) {
                let mut image = after.image.clone();
                image.cut(&after.journal, at);
                check(&voyage, &image, step - 1..=step, &format!("killed while it wrote, at {at}")).await;
            }
        }
    }
}

#[tokio::test]
async fn a_master_killed_at_any_moment_is_what_it_was_at_os() {
    killed(Durability::Os).await;
}

#[tokio::test]
async fn a_master_killed_at_any_moment_is_what_it_was_at_fsync() {
    killed(Durability::Fsync).await;
}

/// What came from others and was not synced may be lost; it comes again.
#[tokio::test]
async fn a_loss_of_power_leaves_a_master_every_write_that_it_acknowledged_at_fsync() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (voyage, moments) = voyage(folder.path(), Durability::Fsync).await;
    let mut unsynced = 0;
    for (step, moment) in moments.iter().enumerate().filter(|(_, moment)| !moment.unsynced.is_empty()) {
        for at in places(&moment.unsynced) {
            unsynced += 1;
            let mut image = moment.image.clone();
            image.cut(&moment.journal, at);
            check(&voyage, &image, moment.synced_step..=step, &format!("power lost, at {at}")).await;
        }
    }
    assert!(unsynced > 10, "{unsynced} places");
}

/// The check of the rows finds what it is there for: take away or make up any row that others speak of.
#[tokio::test]
async fn a_row_that_is_missing_or_from_nowhere_is_found() {
    let store = MemoryStore::new();
    let open = store.clone();
    let open = move || -> Arc<dyn Store> { Arc::new(open.reopen()) };
    let mut voyage = Voyage::start(Box::new(open), Durability::Fsync).await.expect("a store in memory");
    for step in STEPS {
        voyage.take(step).await.expect("a store in memory");
    }
    let mut found = BTreeSet::new();
    for table in [Table::Meta, Table::Entities, Table::Live, Table::Tombstones, Table::Pending] {
        let rows = voyage.store.scan(table, Bound::Unbounded, Bound::Unbounded, usize::MAX).expect("open");
        for row in rows {
            // What a master can do without, or has not had yet.
            let optional: [&[u8]; 5] = [b"checkpoint", b"floor", b"heard", b"members", b"reclaimed"];
            let is_idle = table == Table::Live && is_idle(&row.key, &row.value, &*voyage.store);
            if optional.contains(&&row.key[..]) {
                continue;
            }
            let from_nowhere = Bytes::from([&row.key[..], b"0"].concat());
            for change in [(row.key.clone(), None), (from_nowhere, Some(row.value))] {
                let damaged = store.copy();
                let mut batch = Batch::new();
                match change.1 {
                    None if is_idle => continue,
                    None => batch.remove(table, change.0.clone()),
                    // Rows by another name are none of the master's, apart from what it numbers.
                    Some(_) if table == Table::Meta && !row.key.contains(&b'/') => continue,
                    Some(value) => batch.put(table, change.0.clone(), value),
                }
                damaged.commit(batch, Durability::Memory).expect("open");
                let read = StoredMaster::read(&damaged, &strategies());
                assert!(read.is_err(), "{table:?} {}: {read:?}", change.0.escape_ascii());
                found.insert(table);
            }
        }
    }
    assert_eq!(found.len(), 5, "every table has rows to lose: {found:?}");
}

/// Whether a row of the index of live writes says nothing, and only waits to be cleared away: a run of which all is removed,
/// or removals of what is in no run any more.
fn is_idle(key: &[u8], value: &[u8], store: &dyn Store) -> bool {
    type Dots = BTreeSet<(u32, u64)>;
    let (mut written, mut removed) = (Dots::new(), Dots::new());
    let mut own = None;
    for row in store.scan(Table::Live, Bound::Unbounded, Bound::Unbounded, usize::MAX).expect("open") {
        if row.key.len() != 12 {
            continue;
        }
        let replica = u32::from_be_bytes(row.key[..4].try_into().expect("4 bytes"));
        let first = u64::from_be_bytes(row.key[4..].try_into().expect("8 bytes"));
        let dots: Dots = if replica == u32::MAX {
            rmp_serde::from_slice(&row.value).expect("removals")
        } else {
            let run: Vec<(u64, String)> = rmp_serde::from_slice(&row.value).expect("a run");
            run.into_iter().map(|(at, _)| (replica, first / 64 * 64 + at)).collect()
        };
        if row.key == key && row.value == value {
            own = Some((replica == u32::MAX, dots.clone()));
        }
        if replica == u32::MAX { &mut removed } else { &mut written }.extend(dots);
    }
    match own {
        Some((true, dots)) => dots.is_disjoint(&written),
        Some((false, dots)) => dots.is_subset(&removed),
        None => false,
    }
}
