//! Writing locally and applying what others wrote, on a replica that holds its entities in memory.

use archipelago_benches::{ENTITIES, EngineReplica};
use archipelago_conflict::Strategy;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// A group of writes that share a commit, and a batch of events that does.
const GROUP: usize = 64;

fn local_writes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("local-writes");
    for strategy in Strategy::ALL {
        for writes in [1, GROUP] {
            let mut replica = EngineReplica::new("east", strategy);
            replica.write(ENTITIES);
            group.throughput(Throughput::Elements(writes as u64));
            group.bench_function(BenchmarkId::new(strategy.name(), writes), |bencher| {
                bencher.iter(|| replica.write(writes));
            });
        }
    }
}

fn remote_events(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("remote-events");
    for strategy in Strategy::ALL {
        let (mut east, mut west) =
            (EngineReplica::new("east", strategy), EngineReplica::new("west", strategy));
        for message in east.write(ENTITIES) {
            west.receive(message);
        }
        group.throughput(Throughput::Elements(GROUP as u64));
        group.bench_function(BenchmarkId::new(strategy.name(), GROUP), |bencher| {
            let message = || east.write(GROUP).swap_remove(0);
            bencher.iter_batched(message, |message| west.receive(message), BatchSize::SmallInput);
        });
    }
}

criterion_group!(benches, local_writes, remote_events);
criterion_main!(benches);
