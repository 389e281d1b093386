//! Leader-follower namespaces on one thread and a paused clock, broken again and again: one seed decides everything.
//!
//! | file | noun |
//! |---|---|
//! | `scenario` | what a seed decides before anything runs: the nodes, their options, the rates of faults |
//! | `world` | the broker, the nodes, the clients and what they leave behind; `host`: a node with its disk and its link |
//! | `tap`, `way` | the pipeline of a node, with a record of every append; how long things take on it, and what is lost |
//! | `disk`, `clock` | a store that fails, and ends with its node; time, and the wrong time of day of nodes |
//! | `client` | who writes and reads, and notes what it was answered |
//! | `operator` | who says which node leads, where there is no election |
//! | `kind`, `faults` | what breaks, and when; `premise`: what may be lost without breaking a promise |
//! | `verdict` | what must hold in the end |

mod client;
mod clock;
mod disk;
mod faults;
mod host;
mod kind;
mod operator;
mod premise;
mod scenario;
mod tap;
mod verdict;
mod way;
mod world;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use self::{scenario::Scenario, world::World};
use super::{Outcome, schedule::Schedule};
use crate::history::Acknowledged;

/// How long the nodes have, once nothing breaks any more, to lead, to write and to become equal.
const LIVENESS_DEADLINE: Duration = Duration::from_secs(60);

/// Runs the seed, with whatever it breaks.
pub fn run(seed: u64) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without threads and sockets needs nothing");
    runtime.block_on(async {
        let (began, schedule) = (Instant::now(), Schedule::new(seed));
        let world = World::new(Scenario::draw(seed), schedule.clone());
        let (violations, sums) = match schedule.run(rehearse(world.clone())).await {
            Ok(found) => found,
            Err(reason) => (vec![reason], Acknowledged::default()),
        };
        let (steps, digest) = schedule.turns();
        world.note(format!("{steps} turns, {digest:016x}"));
        Outcome {
            seed,
            steps,
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

async fn rehearse(world: Arc<World>) -> (Vec<String>, Acknowledged) {
    world.start_all().await;
    let clients = client::start(&world);
    operator::start(&world);
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
    let (found, sums) = verdict::check(&world).await;
    violations.extend(found);
    (violations, sums)
}
