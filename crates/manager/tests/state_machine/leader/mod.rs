//! Three nodes of which one leads: clients write and read through any of them, while nodes are cut off, killed, restarted
//! and told to hand over.
//!
//! One client after the other is served, so the answer to each is known: the [`Book`](book::Book) is a map, and those that
//! it was. Of a write whose outcome is unknown a linearizable read tells what became of it.

mod book;
mod plan;
mod world;

use proptest_state_machine::{StateMachineTest, prop_state_machine};

use plan::{Plan, Step};
use world::World;

struct OfLeaders;

impl StateMachineTest for OfLeaders {
    type SystemUnderTest = World;
    type Reference = Plan;

    fn init_test(_: &Plan) -> World {
        World::start()
    }

    fn apply(world: World, _: &Plan, step: Step) -> World {
        world.after(step)
    }

    fn teardown(world: World, _: Plan) {
        world.end();
    }
}

prop_state_machine! {
    #![proptest_config(crate::cases(30))]

    #[test]
    fn a_namespace_with_a_leader_answers_as_a_map_does(sequential 1..40 => OfLeaders);
}
