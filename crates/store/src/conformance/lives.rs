use std::ops::Bound;

use super::{Backend, commit, get, open, put, scan_all};
use crate::{Batch, Durability, Row, Store, StoreError, Table};

/// Closing syncs, so that the next life has every row, also those committed at [`Durability::Memory`].
pub fn a_store_that_was_closed_has_its_rows_when_opened_again(backend: &impl Backend) {
    has_its_rows_when_opened_again(backend, |store| store.close().expect("the store closes"));
}

/// Leaving scope in good order is as good as closing.
pub fn a_store_that_was_dropped_has_its_rows_when_opened_again(backend: &impl Backend) {
    has_its_rows_when_opened_again(backend, drop);
}

fn has_its_rows_when_opened_again<B: Backend>(backend: &B, end: impl Fn(B::Store)) {
    let mut expected = Vec::<Row>::new();
    for life in 0..3_u8 {
        let store = open(backend);
        for table in Table::ALL {
            assert_eq!(scan_all(&store, table), expected, "life {life}");
        }
        for (number, durability) in (0..).zip([Durability::Fsync, Durability::Os, Durability::Memory]) {
            let row = Row { key: vec![life, number].into(), value: vec![number].into() };
            let mut batch = Batch::new();
            for table in Table::ALL {
                batch.put(table, row.key.clone(), row.value.clone());
                // What one life stores and the next one removes stays removed.
                batch.remove(table, vec![life.wrapping_sub(1), number]);
            }
            store.commit(batch, durability).expect("the store commits");
            expected.push(row);
        }
        expected.retain(|row| row.key[0] == life);
        end(store);
    }
}

/// After `close` no call does anything but say so; what was committed is there when the store is opened again.
pub fn a_closed_store_refuses_every_call(backend: &impl Backend) {
    let store = open(backend);
    commit(&store, put(Table::Meta, "row", "value"));
    store.close().expect("the store closes");

    let is_closed = |error: StoreError| matches!(error, StoreError::Closed);
    assert!(store.get(Table::Meta, b"row").is_err_and(is_closed));
    for table in [Table::Meta, Table::Entities] {
        assert!(store.get_many(table, &[b"row"], usize::MAX).is_err_and(is_closed));
    }
    assert!(store.scan(Table::Meta, Bound::Unbounded, Bound::Unbounded, 1).is_err_and(is_closed));
    for batch in [Batch::new(), put(Table::Meta, "row", "other")] {
        assert!(store.commit(batch, Durability::Fsync).is_err_and(is_closed));
    }
    assert!(store.close().is_err_and(is_closed));

    // The closed handle is still there and must not be in the way.
    let again = open(backend);
    assert_eq!(get(&again, Table::Meta, b"row").as_deref(), Some(&b"value"[..]));
    drop(store);
    commit(&again, put(Table::Meta, "row", "still mine"));
}

/// Two processes that write one store would destroy it; the second one is told to wait, and the first goes on.
pub fn a_second_opener_is_refused_until_the_first_closes(backend: &impl Backend) {
    if !backend.locks() {
        return;
    }
    let first = open(backend);
    commit(&first, put(Table::Meta, "row", "first"));
    let error = backend.open().expect_err("the store is open already");
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    assert!(error.is_retryable());
    commit(&first, put(Table::Meta, "row", "second"));
    first.close().expect("the store closes");
    assert_eq!(get(&open(backend), Table::Meta, b"row").as_deref(), Some(&b"second"[..]));
}

/// After a failed commit reads still answer, every further commit is refused, and opening again mends it.
pub fn a_failed_commit_poisons_the_store_until_it_is_opened_again(backend: &impl Backend) {
    let store = open(backend);
    commit(&store, put(Table::Entities, "row", "before"));
    if !backend.fail_next_commit(&store) {
        return;
    }
    let mut failing = put(Table::Entities, "half", "1");
    failing.put(Table::Outbox, "half", "1");
    let error = store.commit(failing, Durability::Fsync).expect_err("the commit was made to fail");
    assert!(matches!(error, StoreError::Io { .. }), "{error}");

    for batch in [put(Table::Entities, "row", "after"), Batch::new()] {
        let error = store.commit(batch, Durability::Memory).expect_err("the store is poisoned");
        assert!(matches!(error, StoreError::Poisoned { .. }), "{error}");
        assert!(!error.is_retryable());
    }
    assert_eq!(get(&store, Table::Entities, b"row").as_deref(), Some(&b"before"[..]));
    drop(store);

    let again = open(backend);
    let halves = [Table::Entities, Table::Outbox].map(|table| get(&again, table, b"half"));
    assert_eq!(halves[0], halves[1], "a part of the failed batch is there");
    assert_eq!(get(&again, Table::Entities, b"row").as_deref(), Some(&b"before"[..]));
    commit(&again, put(Table::Entities, "row", "after"));
}
