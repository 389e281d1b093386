//! The data types side by side with `crdts` and `crdt-kit`: the contests of `compare` with criterion's statistics.

use std::time::Duration;

use archipelago_benches::{
    contest::{Contender, Contest},
    rivals::{self, Size},
};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};

fn data_types(criterion: &mut Criterion) {
    for Contest { cases, contenders } in rivals::data_types(Size::Full) {
        let [case] = &cases[..] else { unreachable!("a lap of these measures one case") };
        let mut group = criterion.benchmark_group(&case.name);
        for mut contender in contenders {
            group.bench_function(BenchmarkId::from_parameter(contender.library), |bencher| {
                bencher.iter_custom(|operations| time(&mut contender, operations, case.operations));
            });
        }
    }
}

/// The time of so many operations, from as many laps as have them.
fn time(contender: &mut Contender, operations: u64, operations_a_lap: u64) -> Duration {
    let laps = operations.div_ceil(operations_a_lap);
    let total: Duration = (0..laps).flat_map(|_| contender.lap()).sum();
    total.mul_f64(operations as f64 / (laps * operations_a_lap) as f64)
}

criterion_group!(benches, data_types);
criterion_main!(benches);
