use std::ops::Bound::{Excluded, Included, Unbounded};

use super::{Backend, commit, keys, open, scan, scan_all};
use crate::{Batch, Table, limits::KEY_BYTES_MAX};

/// Rows come in the order of their key bytes, taken as unsigned numbers, a prefix before what it begins.
pub fn a_scan_is_in_byte_order(backend: &impl Backend) {
    let store = open(backend);
    let sorted: [&[u8]; 8] = [&[0], &[0, 0], &[0, 255], &[1], b"a", b"a\0", &[127, 255], &[128, 0]];
    for table in Table::ALL {
        let mut batch = Batch::new();
        for index in [3, 7, 0, 5, 2, 6, 1, 4] {
            batch.put(table, sorted[index].to_vec(), "value");
        }
        commit(&store, batch);
        assert_eq!(keys(&scan_all(&store, table)), sorted);
    }
}

/// An included bound is part of the scan, an excluded one is not, and a bound need not be a key.
pub fn scan_bounds_are_included_excluded_or_open(backend: &impl Backend) {
    let store = open(backend);
    for table in Table::ALL {
        let mut batch = Batch::new();
        for key in ["b", "d", "f"] {
            batch.put(table, key, key);
        }
        commit(&store, batch);
        let found = |from, to| {
            let rows = scan(&store, table, from, to, 10);
            rows.iter().map(|row| row.value[0]).collect::<Vec<_>>()
        };
        assert_eq!(found(Unbounded, Unbounded), b"bdf");
        assert_eq!(found(Included(b"b"), Included(b"f")), b"bdf");
        assert_eq!(found(Excluded(b"b"), Excluded(b"f")), b"d");
        assert_eq!(found(Included(b"b"), Excluded(b"d")), b"b");
        assert_eq!(found(Excluded(b"b"), Included(b"d")), b"d");
        assert_eq!(found(Included(b"c"), Included(b"e")), b"d");
        assert_eq!(found(Excluded(b"c"), Unbounded), b"df");
        assert_eq!(found(Unbounded, Excluded(b"c")), b"b");
        assert_eq!(found(Included(b""), Unbounded), b"bdf");
        assert_eq!(found(Included(b"d"), Included(b"d")), b"d");
    }
}

/// Inverted and empty bounds are no error, nor are bounds longer than any key.
pub fn bounds_that_no_key_lies_between_give_no_rows(backend: &impl Backend) {
    let store = open(backend);
    let too_long = vec![b'c'; KEY_BYTES_MAX + 1];
    for table in Table::ALL {
        let mut batch = Batch::new();
        batch.put(table, "b", "value");
        batch.put(table, "d", "value");
        commit(&store, batch);
        for (from, to) in [
            (Included(&b"d"[..]), Included(&b"b"[..])),
            (Excluded(b"b"), Excluded(b"b")),
            (Included(b"b"), Excluded(b"b")),
            (Excluded(b"b"), Included(b"b")),
            (Excluded(b"b"), Excluded(b"d")),
            (Excluded(b"d"), Unbounded),
            (Unbounded, Excluded(b"b")),
            (Unbounded, Included(b"")),
        ] {
            assert_eq!(scan(&store, table, from, to, 10), [], "{from:?}..{to:?}");
        }
        assert_eq!(keys(&scan(&store, table, Included(&too_long), Unbounded, 10)), [b"d"]);
        assert_eq!(keys(&scan(&store, table, Unbounded, Included(&too_long), 10)), [b"b"]);
    }
}

/// A limit cuts the scan after its first rows; a limit of zero gives none.
pub fn a_scan_gives_the_first_rows_up_to_its_limit(backend: &impl Backend) {
    let store = open(backend);
    for table in Table::ALL {
        let mut batch = Batch::new();
        for number in (0..100_u8).rev() {
            batch.put(table, vec![number], "value");
        }
        commit(&store, batch);
        for (limit, expected) in [(0, 0), (1, 1), (99, 90), (90, 90), (usize::MAX, 90)] {
            let rows = scan(&store, table, Excluded(&[9]), Unbounded, limit);
            assert!(rows.iter().map(|row| row.key[0]).eq(10..10 + expected), "limit {limit}");
        }
    }
}

/// Going on from `Excluded(last key)` loses no row and gives none twice, whatever the size of the pages.
pub fn paging_visits_every_row_exactly_once(backend: &impl Backend) {
    let store = open(backend);
    for table in Table::ALL {
        let mut batch = Batch::new();
        for number in 0..1_000_u32 {
            // Keys of several lengths, spread over the key space.
            let key = number.wrapping_mul(2_654_435_761).to_be_bytes();
            batch.put(table, key[number as usize % 2..].to_vec(), number.to_be_bytes().to_vec());
        }
        commit(&store, batch);
        let all = scan_all(&store, table);
        for limit in [1, 7, 250, 999, 1_000, 1_001] {
            let mut paged = scan(&store, table, Unbounded, Unbounded, limit);
            loop {
                let last = paged.last().expect("the first page has rows").key.clone();
                let page = scan(&store, table, Excluded(&last), Unbounded, limit);
                if page.is_empty() {
                    break;
                }
                paged.extend(page);
            }
            assert_eq!(paged, all, "pages of {limit}");
        }
        assert_eq!(all.len(), 1_000);
    }
}
