//! Masters of one namespace on one thread and a paused clock, broken again and again: one seed decides everything.
//!
//! What happens is a case of the [simulation](crate::simulation) of engines, which is drawn from the seed in the same way.
//! Here it happens to whole managers, with their tasks, queues and commits.
//!
//! | file | noun |
//! |---|---|
//! | `scenario` | what a seed decides before anything runs |
//! | `world` | the broker, the machines, and what is known of them; `host`: a machine with its disk, its clock and its process |
//! | `platter` | a disk: what is stored on it, what of that is synced, and how it fails |
//! | `disk`, `tap` | the disk as one process has it; its way to the broker |
//! | `book` | every write as disks and log have it, against which clients and stores are held |
//! | `anew` | what a master gave another name, as its disk shows |
//! | `client` | who writes, reads and resolves conflicts |
//! | `faults` | what breaks |
//! | `verdict` | what must hold, always and in the end |

mod anew;
mod book;
mod client;
mod disk;
mod faults;
mod host;
mod platter;
mod scenario;
mod tap;
mod verdict;
mod world;

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use self::{scenario::Scenario, world::World};
use super::{Outcome, schedule::Schedule};
use crate::simulation::{Act, Fate};

/// How long the masters have, once nothing breaks any more, to become equal.
const LIVENESS_DEADLINE: Duration = Duration::from_secs(300);

/// Runs the seed, with whatever it breaks.
pub fn run(seed: u64) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without threads and sockets needs nothing");
    runtime.block_on(async {
        let (began, schedule) = (Instant::now(), Schedule::new(seed));
        let world = World::new(Scenario::draw(seed), schedule.clone());
        let ended = schedule.run(rehearse(world.clone())).await;
        let operations = ended.unwrap_or_else(|reason| {
            world.book().violates("liveness", reason);
            0
        });
        let (steps, digest) = schedule.turns();
        world.note(format!("{steps} turns, {digest:016x}"));
        let book = world.book();
        let fates = |fate| book.ledger.writes().iter().filter(|write| write.fate == fate).count();
        Outcome {
            seed,
            steps,
            violations: book.violations.clone(),
            trace: world.trace(),
            faults: world.fault_counts(),
            operations,
            acknowledged: fates(Fate::Acknowledged) + fates(Fate::Excused),
            unknown: fates(Fate::Unknown),
            virtual_time: began.elapsed(),
        }
    })
}

/// Gives how many reads and writes clients asked for.
async fn rehearse(world: Arc<World>) -> usize {
    let began = Instant::now();
    world.begin().await;
    verdict::watch(&world);
    let mut clients = client::Clients::new(&world);
    for step in world.scenario.case.steps.clone() {
        tokio::time::sleep_until(began + Duration::from_millis(step.at_ms)).await;
        match step.act {
            Act::Fault(fault) => faults::breaks(&world, &fault),
            act => clients.act(act),
        }
    }
    world.mend().await;
    clients.end().await;
    match world.settle(Instant::now() + LIVENESS_DEADLINE).await {
        Ok(()) => verdict::check(&world).await,
        Err(reason) => {
            world.book().violates("liveness", reason);
            verdict::tell_difference(&world);
        }
    }
    clients.operations()
}
