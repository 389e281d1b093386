use std::{
    ops::Bound,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{Backend, commit, get, get_many, open, put, scan, scan_all};
use crate::{Batch, Store, Table};

const WRITERS: u64 = 3;
const COMMITS_PER_WRITER: u64 = 150;

/// Each commit writes the same number into several rows of each table; a scan always finds them equal.
pub fn a_scan_never_sees_a_part_of_a_batch(backend: &impl Backend) {
    const ROWS: u8 = 8;
    let store = open(backend);
    let equal_rows = |number: u64| {
        let mut batch = Batch::new();
        for row in 0..ROWS {
            for table in Table::ALL {
                batch.put(table, vec![row], number.to_be_bytes().to_vec());
            }
        }
        batch
    };
    commit(&store, equal_rows(0));
    while_writers_run(
        &store,
        |writer, count| equal_rows(writer * COMMITS_PER_WRITER + count),
        || {
            for table in Table::ALL {
                let rows = scan(&store, table, Bound::Unbounded, Bound::Unbounded, usize::from(ROWS));
                assert_eq!(rows.len(), usize::from(ROWS));
                let first = &rows[0].value;
                assert!(rows.iter().all(|row| row.value == first), "a torn batch in {table:?}: {rows:?}");
            }
        },
    );
}

/// Readers of one row see values that were written, whole, and never go back to an older one. A row that no
/// batch removes is never missing.
pub fn a_row_is_never_seen_torn_or_older_than_before(backend: &impl Backend) {
    let store = open(backend);
    let row = |writer: u64| writer.to_be_bytes().to_vec();
    // Of changing length, so that a value is not overwritten in place by chance.
    let value = |count: u64| count.to_be_bytes().repeat(usize::try_from(count % 50).unwrap_or(0) + 1);
    let mut seen = Vec::new();
    for writer in 0..WRITERS {
        for table in Table::ALL {
            commit(&store, put(table, row(writer), value(0)));
            seen.push((table, row(writer), 0));
        }
    }
    while_writers_run(
        &store,
        |writer, count| {
            let mut batch = Batch::new();
            for table in Table::ALL {
                batch.put(table, row(writer), value(count));
            }
            batch
        },
        || {
            for (table, row, last_count) in &mut seen {
                let found = match *last_count % 2 {
                    0 => get(&store, *table, row),
                    _ => get_many(&store, *table, &[row], usize::MAX).swap_remove(0),
                };
                let found = found.expect("no batch removes the row");
                let count = found.first_chunk().map(|count| u64::from_be_bytes(*count));
                let count = count.expect("a value has at least one number");
                assert_eq!(found, value(count), "a torn value");
                assert!(count >= *last_count, "{count} after {last_count}");
                *last_count = count;
            }
        },
    );
}

/// No commit of concurrent writers is lost, and each counter of a batch matches the rows that it counts.
pub fn commits_of_many_threads_are_all_there(backend: &impl Backend) {
    let store = open(backend);
    while_writers_run(
        &store,
        |writer, count| {
            let mut batch =
                put(Table::Meta, vec![u8::try_from(writer).unwrap_or(0)], count.to_be_bytes().to_vec());
            batch.put(Table::Entities, [writer.to_be_bytes(), count.to_be_bytes()].concat(), "written");
            batch
        },
        || (),
    );
    assert_eq!(scan_all(&store, Table::Entities).len() as u64, WRITERS * COMMITS_PER_WRITER);
    let last = COMMITS_PER_WRITER.to_be_bytes();
    assert!(scan_all(&store, Table::Meta).iter().all(|row| row.value == last[..]));
}

/// Whichever of concurrent writers comes last, a row read alone is the one that a scan finds.
pub fn a_row_that_many_threads_write_is_the_same_for_every_reader(backend: &impl Backend) {
    let store = open(backend);
    while_writers_run(
        &store,
        |writer, count| match (writer + count) % 5 {
            0 => {
                let mut batch = Batch::new();
                batch.remove(Table::Entities, "row");
                batch
            }
            _ => put(Table::Entities, "row", [writer.to_be_bytes(), count.to_be_bytes()].concat()),
        },
        || (),
    );
    let rows = scan_all(&store, Table::Entities);
    assert_eq!(get(&store, Table::Entities, b"row"), rows.first().map(|row| row.value.clone()));
}

/// Writers commit `batch(writer, count)` for each count from 1, while the caller's thread checks again and again.
fn while_writers_run(store: &impl Store, batch: impl Fn(u64, u64) -> Batch + Sync, mut check: impl FnMut()) {
    let running = AtomicUsize::new(0);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                running.fetch_add(1, Ordering::SeqCst);
                let (batch, running) = (&batch, &running);
                scope.spawn(move || {
                    // Counts down also when a commit panics, so that the test fails rather than hangs.
                    let _running = CountDown(running);
                    for count in 1..=COMMITS_PER_WRITER {
                        commit(store, batch(writer, count));
                    }
                })
            })
            .collect();
        while running.load(Ordering::SeqCst) > 0 {
            check();
        }
        for writer in writers {
            writer.join().expect("every commit succeeds");
        }
    });
    check();
}

struct CountDown<'a>(&'a AtomicUsize);

impl Drop for CountDown<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
