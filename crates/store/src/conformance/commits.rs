use super::{Backend, commit, get, get_many, open, put, scan_all};
use crate::{Batch, Durability, Store, Table};

/// A read that starts after a commit returned sees it, at every durability and in every table.
pub fn a_row_is_found_after_its_commit_and_not_before(backend: &impl Backend) {
    let store = open(backend);
    for table in Table::ALL {
        for durability in [Durability::Memory, Durability::Os, Durability::Fsync] {
            let key = format!("{durability:?}");
            assert_eq!(get(&store, table, key.as_bytes()), None);
            store.commit(put(table, key.clone(), "value"), durability).expect("the store commits");
            assert_eq!(get(&store, table, key.as_bytes()).as_deref(), Some(&b"value"[..]));
        }
        assert_eq!(get(&store, table, b"another"), None);
    }
}

/// Of several changes of one row the last one holds, whether they come in one batch or in several.
pub fn a_later_change_of_the_same_row_wins(backend: &impl Backend) {
    let store = open(backend);
    for table in Table::ALL {
        commit(&store, put(table, "row", "first"));
        commit(&store, put(table, "row", "second"));
        assert_eq!(get(&store, table, b"row").as_deref(), Some(&b"second"[..]));

        let mut batch = Batch::new();
        batch.put(table, "row", "third");
        batch.remove(table, "row");
        batch.put(table, "row", "fourth");
        batch.put(table, "gone", "fifth");
        batch.remove(table, "gone");
        commit(&store, batch);
        assert_eq!(get(&store, table, b"row").as_deref(), Some(&b"fourth"[..]));
        assert_eq!(get(&store, table, b"gone"), None);
        assert_eq!(scan_all(&store, table).len(), 1, "a row is there once");
    }
}

/// Removing takes the row out of reads and scans; a row removed may be put again.
pub fn a_removed_row_is_gone_and_removing_none_is_no_error(backend: &impl Backend) {
    let store = open(backend);
    for table in Table::ALL {
        let mut remove = Batch::new();
        remove.remove(table, "row");
        commit(&store, remove.clone());
        commit(&store, put(table, "row", "value"));
        commit(&store, remove);
        assert_eq!(get(&store, table, b"row"), None);
        assert_eq!(scan_all(&store, table), []);
        commit(&store, put(table, "row", "again"));
        assert_eq!(get(&store, table, b"row").as_deref(), Some(&b"again"[..]));
    }
}

/// The same key in two tables is two rows.
pub fn tables_are_separate(backend: &impl Backend) {
    let store = open(backend);
    for table in Table::ALL {
        commit(&store, put(table, "row", table.name()));
    }
    for table in Table::ALL {
        assert_eq!(get(&store, table, b"row").as_deref(), Some(table.name().as_bytes()));
        assert_eq!(scan_all(&store, table).len(), 1);
    }
    let mut remove = Batch::new();
    remove.remove(Table::Meta, "row");
    commit(&store, remove);
    assert!(get(&store, Table::Entities, b"row").is_some());
}

/// Once a commit returned, all of its changes are there, in every table.
pub fn a_batch_is_applied_across_tables(backend: &impl Backend) {
    let store = open(backend);
    commit(&store, put(Table::Outbox, "old", "to be removed"));
    let mut batch = Batch::new();
    batch.put(Table::Meta, "clock", "1");
    batch.put(Table::Entities, "entity", "1");
    batch.put(Table::Outbox, "new", "1");
    batch.remove(Table::Outbox, "old");
    store.commit(batch, Durability::Fsync).expect("the store commits");
    for (table, key) in [(Table::Meta, &b"clock"[..]), (Table::Entities, b"entity"), (Table::Outbox, b"new")]
    {
        assert_eq!(get(&store, table, key).as_deref(), Some(&b"1"[..]));
    }
    assert_eq!(get(&store, Table::Outbox, b"old"), None);
}

/// An empty batch is a sync and nothing else.
pub fn an_empty_batch_changes_nothing_at_any_durability(backend: &impl Backend) {
    let store = open(backend);
    commit(&store, put(Table::Meta, "row", "value"));
    for durability in [Durability::Memory, Durability::Os, Durability::Fsync] {
        store.commit(Batch::new(), durability).expect("the store commits an empty batch");
    }
    assert_eq!(scan_all(&store, Table::Meta).len(), 1);
}

/// A batch has no limit on its rows that a replica would meet.
pub fn a_batch_of_ten_thousand_rows_is_applied_whole(backend: &impl Backend) {
    let store = open(backend);
    let mut batch = Batch::new();
    for number in 0..10_000_u32 {
        batch.put(Table::Entities, number.to_be_bytes().to_vec(), number.to_le_bytes().to_vec());
    }
    commit(&store, batch);
    let rows = scan_all(&store, Table::Entities);
    assert_eq!(rows.len(), 10_000);
    for (number, row) in (0..10_000_u32).zip(rows) {
        assert_eq!((&row.key[..], &row.value[..]), (&number.to_be_bytes()[..], &number.to_le_bytes()[..]));
    }
}

/// Reading many rows gives what reading each gives, in the order of the keys: rows that are there, that never were or are no
/// more, and the same one twice.
pub fn many_rows_are_read_as_each_of_them_is(backend: &impl Backend) {
    let store = open(backend);
    for table in Table::ALL {
        let mut batch = Batch::new();
        for row in 0..1_000_u32 {
            batch.put(table, row.to_be_bytes().to_vec(), vec![1; row as usize % 300]);
        }
        commit(&store, batch);
        let mut removed = Batch::new();
        (0..1_000_u32).step_by(7).for_each(|row| removed.remove(table, row.to_be_bytes().to_vec()));
        commit(&store, removed);
        let keys: Vec<[u8; 4]> = (0..1_100_u32).rev().chain([5, 5, 7]).map(u32::to_be_bytes).collect();
        let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).chain([&b""[..], b"row"]).collect();
        let each: Vec<_> = keys.iter().map(|key| get(&store, table, key)).collect();
        assert_eq!(get_many(&store, table, &keys, usize::MAX), each);
        assert_eq!(get_many(&store, table, &[], usize::MAX), []);
    }
}

/// Reading many rows ends with the row with which they have more bytes than was asked for.
pub fn many_rows_are_read_up_to_so_many_bytes(backend: &impl Backend) {
    let store = open(backend);
    for table in Table::ALL {
        for row in ["a", "b", "d"] {
            commit(&store, put(table, row, "1234567890"));
        }
        let keys: [&[u8]; 4] = [b"a", b"b", b"c", b"d"];
        for (bytes_max, rows) in [(0, 1), (9, 1), (10, 2), (19, 2), (20, 4), (29, 4), (30, 4)] {
            let found = get_many(&store, table, &keys, bytes_max);
            assert_eq!(found.len(), rows, "up to {bytes_max} bytes");
            assert!(found.iter().zip(keys).all(|(row, key)| row.is_some() == (key != b"c")));
        }
    }
}
