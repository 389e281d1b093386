use std::{sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::world::World;

/// The longest time between two looks.
const LOOK_MAX: Duration = Duration::from_millis(800);

/// Starts who says which node leads, if there is no election. It goes on until the end: whoever is to lead may have to be
/// told again.
pub(super) fn start(world: &Arc<World>) {
    if !world.scenario.is_appointed {
        return;
    }
    let operator = operate(Arc::clone(world));
    world.spawn(operator);
}

async fn operate(world: Arc<World>) {
    let mut random = StdRng::seed_from_u64(world.scenario.seed ^ 0x0b5e);
    loop {
        tokio::time::sleep(LOOK_MAX.mul_f64(random.random_range(0.0..=1.0))).await;
        let appointed = world.appointed();
        let is_there = world.hosts()[appointed].reachable().is_some_and(|life| life.disk.works());
        // It is not known for certain who is gone, and so it goes wrong now and then.
        let is_wrong = world.is_troubled() && random.random_bool(0.05);
        let node = match is_there && !is_wrong {
            true => appointed,
            false => random.random_range(0..world.scenario.nodes.len()),
        };
        if node == appointed && !is_there || !world.scenario.nodes[node].is_eligible {
            continue;
        }
        let Some(life) = world.life(node) else { continue };
        world.appoint(node);
        if life.manager.is_leader() {
            continue;
        }
        world.note(format!("{} is appointed", life.manager.node_id()));
        let promoted = life.process.spawn(async move { life.manager.promote().await });
        let promoted = promoted.await.expect("a node that is promoted does not panic");
        world.note(format!("the appointment: {promoted:?}"));
    }
}
