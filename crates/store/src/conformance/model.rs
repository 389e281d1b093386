use std::{
    collections::BTreeMap,
    ops::Bound::{self, Excluded, Included, Unbounded},
};

use bytes::Bytes;

use super::{Backend, get, get_many, open, scan, scan_all};
use crate::{Batch, Durability, KeyRange, Row, Store, Table};

type Model = BTreeMap<(Table, Bytes), Bytes>;

/// Random batches, reads, scans and restarts, compared with an ordered map, from fixed seeds.
pub fn any_sequence_of_calls_does_what_an_ordered_map_does(backend: &impl Backend) {
    let mut store = open(backend);
    let mut model = Model::new();
    for seed in 0..4 {
        let mut random = SplitMix64(seed);
        for _ in 0..300 {
            match random.below(100) {
                0 => {
                    store.close().expect("the store closes");
                    drop(store);
                    store = open(backend);
                }
                1..40 => commit_to_both(&store, &mut model, &mut random),
                40..70 => {
                    let (table, key) = (random.table(), random.key());
                    let expected = model.get(&(table, key.clone()));
                    assert_eq!(get(&store, table, &key).as_ref(), expected, "seed {seed}");
                }
                70..80 => {
                    let (table, keys) = (random.table(), [random.key(), random.key(), random.key()]);
                    let expected = keys.clone().map(|key| model.get(&(table, key)).cloned());
                    let keys = keys.each_ref().map(|key| &key[..]);
                    assert_eq!(get_many(&store, table, &keys, usize::MAX), expected, "seed {seed}");
                }
                _ => compare_a_scan(&store, &model, &mut random),
            }
        }
        for table in Table::ALL {
            let expected = expected_rows(&model, table, Unbounded, Unbounded, usize::MAX);
            assert_eq!(scan_all(&store, table), expected, "seed {seed}");
        }
    }
}

fn commit_to_both(store: &impl Store, model: &mut Model, random: &mut SplitMix64) {
    let mut batch = Batch::new();
    for _ in 0..random.below(12) {
        let (table, key) = (random.table(), random.key());
        if random.below(3) == 0 {
            batch.remove(table, key.clone());
            model.remove(&(table, key));
        } else {
            let value = Bytes::from(random.next().to_be_bytes().repeat(random.below(5)));
            batch.put(table, key.clone(), value.clone());
            model.insert((table, key), value);
        }
    }
    let durability = [Durability::Memory, Durability::Os, Durability::Fsync][random.below(3)];
    store.commit(batch, durability).expect("the store commits");
}

fn compare_a_scan(store: &impl Store, model: &Model, random: &mut SplitMix64) {
    let (table, limit) = (random.table(), random.below(20));
    let (from, to) = (random.key(), random.key());
    let mut bound = |key| [Included(key), Excluded(key), Unbounded][random.below(3)];
    let (from, to) = (bound(&from[..]), bound(&to[..]));
    let expected = expected_rows(model, table, from, to, limit);
    assert_eq!(scan(store, table, from, to, limit), expected, "{table:?} {from:?}..{to:?} up to {limit}");
}

fn expected_rows(
    model: &Model,
    table: Table,
    from: Bound<&[u8]>,
    to: Bound<&[u8]>,
    limit: usize,
) -> Vec<Row> {
    let Some(range) = KeyRange::new(from, to) else { return Vec::new() };
    let rows = model.iter().filter(|((of_table, key), _)| *of_table == table && range.holds(key));
    rows.take(limit).map(|((_, key), value)| Row { key: key.clone(), value: value.clone() }).collect()
}

/// A small generator of Steele, Lea and Flood, so that the suite brings no dependency along.
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        let end = end as u64;
        usize::try_from(self.next() % end).expect("below a usize")
    }

    fn table(&mut self) -> Table {
        Table::ALL[self.below(Table::ALL.len())]
    }

    /// One of some eighty keys, so that calls meet.
    fn key(&mut self) -> Bytes {
        let letters = (0..1 + self.below(3)).map(|_| b"\0am\xff"[self.below(4)]);
        letters.collect()
    }
}
