//! The memory store, whose rows are found by their hashes: reads, overwrites, new rows and pages of a scan, among so many that
//! their rows are in no cache.

use std::{hint::black_box, ops::Bound};

use archipelago_store::{Batch, Durability, MemoryStore, Store, Table};
use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// How many rows are read or written together, as for one commit of a manager.
const GROUP: usize = 256;
/// A record of a value of 200 bytes.
const VALUE_BYTES: usize = 230;
/// How many rows a store has.
const ROWS: [usize; 2] = [100_000, 1_000_000];

fn key(row: usize) -> Bytes {
    format!("entity-{row:08}").into()
}

/// The rows of a turn, `stride` apart: if it is coprime to the number of rows, each comes once before any comes again.
fn group(rows: usize, stride: usize, turn: usize) -> Vec<Bytes> {
    (turn * GROUP..(turn + 1) * GROUP).map(|number| key(number.wrapping_mul(stride) % rows)).collect()
}

fn put(store: &MemoryStore, keys: &[Bytes], value: &Bytes) {
    let mut batch = Batch::new();
    for key in keys {
        batch.put(Table::Entities, key.clone(), value.clone());
    }
    store.commit(batch, Durability::Memory).expect("memory takes every batch");
}

fn filled(rows: usize) -> MemoryStore {
    let (store, value) = (MemoryStore::new(), Bytes::from(vec![1; VALUE_BYTES]));
    // Neither in the order of their keys nor in that in which they are read: so do rows lie in memory after a while.
    for turn in 0..rows.div_ceil(GROUP) {
        put(&store, &group(rows, 7_919, turn), &value);
    }
    store
}

fn rows(criterion: &mut Criterion) {
    let mut measured = criterion.benchmark_group("memory-store");
    measured.throughput(Throughput::Elements(GROUP as u64));
    let value = Bytes::from(vec![2; VALUE_BYTES]);
    for rows in ROWS {
        let store = filled(rows);
        let mut turn = 0;
        let mut next = || {
            turn += 1;
            group(rows, 104_729, turn)
        };
        measured.bench_function(BenchmarkId::new("get", rows), |bencher| {
            let get = |keys: Vec<Bytes>| {
                for key in &keys {
                    black_box(store.get(Table::Entities, key).expect("memory is readable"));
                }
            };
            bencher.iter_batched(&mut next, get, BatchSize::LargeInput);
        });
        measured.bench_function(BenchmarkId::new("get-many", rows), |bencher| {
            let get = |keys: Vec<Bytes>| {
                let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
                store.get_many(Table::Entities, &keys, usize::MAX).expect("memory is readable")
            };
            bencher.iter_batched(&mut next, get, BatchSize::LargeInput);
        });
        measured.bench_function(BenchmarkId::new("overwrite", rows), |bencher| {
            bencher.iter_batched(&mut next, |keys| put(&store, &keys, &value), BatchSize::LargeInput);
        });
        measured.bench_function(BenchmarkId::new("scan", rows), |bencher| {
            let page = |keys: Vec<Bytes>| {
                let from = Bound::Excluded(&keys[0][..]);
                store.scan(Table::Entities, from, Bound::Unbounded, GROUP).expect("memory is readable")
            };
            bencher.iter_batched(&mut next, page, BatchSize::LargeInput);
        });
        let mut turn = 0;
        measured.bench_function(BenchmarkId::new("new", rows), |bencher| {
            let new = || {
                turn += 1;
                group(usize::MAX, 7_919, turn).iter().map(|key| [&key[..], b"+"].concat().into()).collect()
            };
            bencher.iter_batched(new, |keys: Vec<Bytes>| put(&store, &keys, &value), BatchSize::LargeInput);
        });
    }
}

criterion_group!(benches, rows);
criterion_main!(benches);
