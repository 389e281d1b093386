//! Leader-follower namespaces on one thread and a paused clock, broken again and again: one seed decides everything.
//!
//! | file | noun |
//! |---|---|
//! | `scenario` | what a seed decides before anything runs: the nodes, their options, the rates of faults |
//! | `world` | the broker, the nodes, the clients and what they leave behind; `host`: a node with its disk and its link |
//! | `tap`, `disk` | the way to the broker, with latency and a record of every append; a store that ends with its node |
//! | `client` | who writes and reads, and notes what it was answered |
//! | `faults` | what breaks, and when; `premise`: what may be lost without breaking a promise |
//! | `verdict` | what must hold in the end |
//! | `seeds` | which seeds are run, and how one is run again |

mod client;
mod disk;
mod faults;
mod host;
mod premise;
mod scenario;
mod seeds;
mod tap;
mod verdict;
mod world;

use std::time::Duration;

use tokio::time::Instant;

use crate::{scenario::Scenario, seeds::Seeds, world::World};

/// How long the nodes have, once nothing breaks any more, to lead, to write and to become equal.
const LIVENESS_DEADLINE: Duration = Duration::from_secs(60);

#[test]
fn whatever_breaks_what_is_promised_holds() {
    let seeds = Seeds::from_environment();
    let mut sums = seeds::Sums::default();
    for seed in seeds.iter() {
        let outcome = run(seed);
        sums.add(&outcome);
        if !outcome.violations.is_empty() {
            sums.failed.push(seed);
            seeds.tell_failure(seed, &outcome);
        }
    }
    sums.tell();
    assert!(sums.failed.is_empty(), "these seeds break what is promised: {:?}", sums.failed);
}

#[test]
#[cfg(tokio_unstable)]
fn one_seed_decides_everything() {
    for seed in 0..5 {
        let (one, other) = (run(seed), run(seed));
        assert_eq!(one.trace, other.trace, "seed {seed}");
    }
}

/// What became of a seed.
struct Outcome {
    violations: Vec<String>,
    trace: Vec<String>,
    faults: std::collections::BTreeMap<&'static str, u64>,
    operations: usize,
    acknowledged: usize,
    unknown: usize,
    virtual_time: Duration,
}

fn run(seed: u64) -> Outcome {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    // Without it tokio wakes who waits for the same thing in another order each time.
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_be_bytes()));
    let runtime = builder.build().expect("a runtime");
    runtime.block_on(async {
        let began = Instant::now();
        let world = World::new(Scenario::draw(seed));
        world.start_all().await;
        let clients = client::start(&world);
        faults::strike(&world).await;
        let mut violations = Vec::new();
        world.mend();
        let deadline = Instant::now() + LIVENESS_DEADLINE;
        world.start_all().await;
        for client in clients {
            client.await.expect("a client does not panic");
        }
        if let Err(reason) = world.settle(deadline).await {
            violations.push(reason);
        }
        let (found, sums) = verdict::check(&world);
        violations.extend(found);
        Outcome {
            violations,
            trace: world.trace(),
            faults: world.fault_counts(),
            operations: world.recorder.history().operations().len(),
            acknowledged: sums.acknowledged,
            unknown: sums.unknown,
            virtual_time: began.elapsed(),
        }
    })
}
