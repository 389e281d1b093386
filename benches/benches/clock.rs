//! Comparing and merging vectors.

use std::hint::black_box;

use archipelago_benches::replica_id;
use archipelago_clock::VersionVector;
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};

const ACTORS: [usize; 3] = [3, 10, 100];

fn vector(actors: usize, prefix: &str, sequence: u64) -> VersionVector {
    (0..actors).map(|n| (replica_id(&format!("{prefix}{n:03}")), sequence)).collect()
}

fn compare(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compare");
    for actors in ACTORS {
        // Equal clocks that share nothing in memory: every entry is looked at.
        let (left, right) = (vector(actors, "r", 7), vector(actors, "r", 7));
        group.bench_function(BenchmarkId::from_parameter(actors), |bencher| {
            bencher.iter(|| black_box(&left).compare(black_box(&right)));
        });
    }
}

fn merge(criterion: &mut Criterion) {
    for (name, prefix) in [("merge/same-actors", "r"), ("merge/new-actors", "s")] {
        let mut group = criterion.benchmark_group(name);
        for actors in ACTORS {
            let (left, right) = (vector(actors, "r", 7), vector(actors, prefix, 8));
            group.bench_function(BenchmarkId::from_parameter(actors), |bencher| {
                let merge = |left: &mut VersionVector| left.merge(black_box(&right));
                bencher.iter_batched_ref(|| left.clone(), merge, BatchSize::SmallInput);
            });
        }
    }
}

criterion_group!(benches, compare, merge);
criterion_main!(benches);
