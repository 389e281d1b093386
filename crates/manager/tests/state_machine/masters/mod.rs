//! Masters on one broker: they write, are cut off, restarted and read, with session tokens and without.
//!
//! The [`Ledger`](ledger::Ledger) knows each write by its dot, and says from the set of writes that a master has applied, as
//! its vector tells, what it must show of every entity. The [`Plan`](plan::Plan) decides what happens next.

mod ledger;
mod plan;
mod world;

use proptest_state_machine::{StateMachineTest, prop_state_machine};

use plan::{Plan, Step};
use world::World;

struct OfMasters;

impl StateMachineTest for OfMasters {
    type SystemUnderTest = World;
    type Reference = Plan;

    fn init_test(plan: &Plan) -> World {
        World::start(plan.strategy(), plan.masters())
    }

    fn apply(world: World, plan: &Plan, step: Step) -> World {
        world.after(&step, plan)
    }

    fn teardown(world: World, _: Plan) {
        world.end();
    }
}

prop_state_machine! {
    #![proptest_config(crate::cases(60))]

    #[test]
    fn masters_show_what_the_writes_that_they_have_applied_amount_to(sequential 1..40 => OfMasters);
}
