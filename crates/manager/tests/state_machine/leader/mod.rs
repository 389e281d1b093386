//! Three nodes of which one leads: clients write through any of them, leaders are killed, restarted and told to hand over.
//!
//! One client after the other is served, so the answer to each is known: the [`Book`](book::Book) is a map. A write whose
//! outcome is unknown makes two possible maps of one, until an answer tells which it is.

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
