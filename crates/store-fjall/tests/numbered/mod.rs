//! Numbered batches of which a store can tell afterwards exactly which ones it holds.
//!
//! Batch `n` leaves: one row in the outbox, one entity of its own, and its number in [`SHARED_ROWS`] entities and in
//! the meta table, which every batch overwrites.

use std::ops::Bound;

use archipelago_store::{Batch, Row, Store, Table};
use archipelago_store_fjall::FjallStore;
use bytes::Bytes;

const SHARED_ROWS: u8 = 6;

/// Batch `n`, of about `bytes` bytes that do not compress.
pub(crate) fn batch(n: u64, bytes: usize) -> Batch {
    let mut batch = Batch::new();
    batch.put(Table::Meta, "last", number(n));
    for row in 0..SHARED_ROWS {
        batch.put(Table::Entities, vec![b's', row], number(n));
    }
    batch.put(Table::Entities, own_key(n), noise(n, bytes));
    batch.put(Table::Outbox, number(n), noise(!n, 20));
    batch
}

/// The number of the last batch in the store, unchecked.
#[allow(dead_code, reason = "not every test asks for it")]
pub(crate) fn last(store: &FjallStore) -> u64 {
    store.get(Table::Meta, b"last").unwrap().map_or(0, |value| from_number(&value))
}

/// The number of the last batch in the store, after checking that it and all before it are there, whole.
pub(crate) fn last_of_whole_prefix(store: &FjallStore) -> u64 {
    let last = last(store);
    for row in 0..SHARED_ROWS {
        let shared = store.get(Table::Entities, &[b's', row]).unwrap().map_or(0, |value| from_number(&value));
        assert_eq!(shared, last, "a torn batch");
    }
    let outbox = scan_all(store, Table::Outbox);
    assert!(outbox.iter().map(|row| from_number(&row.key)).eq(1..=last), "a hole, or a batch from nowhere");
    for row in outbox {
        let n = from_number(&row.key);
        assert_eq!(row.value, noise(!n, 20));
        let own = store.get(Table::Entities, &own_key(n)).unwrap().expect("a torn batch");
        assert_eq!(own, noise(n, own.len()), "a damaged row");
    }
    let entities = scan_all(store, Table::Entities).len() as u64;
    assert_eq!(entities, if last == 0 { 0 } else { last + u64::from(SHARED_ROWS) });
    last
}

fn scan_all(store: &FjallStore, table: Table) -> Vec<Row> {
    store.scan(table, Bound::Unbounded, Bound::Unbounded, usize::MAX).unwrap()
}

fn own_key(n: u64) -> Bytes {
    [&b"own/"[..], &n.to_be_bytes()].concat().into()
}

fn number(n: u64) -> Bytes {
    n.to_be_bytes().to_vec().into()
}

fn from_number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().unwrap())
}

/// Bytes that only `n` decides, and that do not compress.
fn noise(n: u64, bytes: usize) -> Bytes {
    let mut noise = vec![0; bytes];
    let mut state = n;
    for word in noise.chunks_mut(8) {
        // Knuth's linear congruential generator.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        word.copy_from_slice(&state.to_be_bytes()[..word.len()]);
    }
    noise.into()
}
