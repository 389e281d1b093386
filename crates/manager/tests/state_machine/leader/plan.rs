use std::time::Duration;

use proptest::prelude::{BoxedStrategy, Just, Strategy as _, prop_oneof};
use proptest_state_machine::ReferenceStateMachine;

pub(crate) const NODES: usize = 3;
pub(crate) const KEYS: [&str; 2] = ["k0", "k1"];

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Linked,
    /// It runs, and reaches nobody.
    Cut,
    Dead,
}

/// What decides what may happen next: how the nodes are. Two at least are linked.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    nodes: [Condition; NODES],
}

/// What happens, at a node by its number.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Write {
        node: usize,
        key: usize,
        kind: Kind,
        demand: Demand,
    },
    Read {
        node: usize,
        key: usize,
        how: How,
    },
    Cut {
        node: usize,
    },
    Heal {
        node: usize,
    },
    /// Its process ends at this moment.
    Kill {
        node: usize,
    },
    /// On its store.
    Start {
        node: usize,
    },
    HandOver {
        to: usize,
    },
    Pass {
        ms: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Create,
    Update,
    Upsert,
    Delete,
}

/// Which version a write expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    None,
    /// The one that the client knows of.
    Known,
    /// One that there never is.
    Wrong,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Eventual,
    Bounded(Duration),
    Session,
    Linearizable,
}

impl ReferenceStateMachine for Plan {
    type State = Plan;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Plan> {
        Just(Plan { nodes: [Condition::Linked; NODES] }).boxed()
    }

    fn transitions(_: &Plan) -> BoxedStrategy<Step> {
        let (node, key) = (|| 0..NODES, || 0..KEYS.len());
        let kind = prop_oneof![
            2 => Just(Kind::Create), 2 => Just(Kind::Update), 4 => Just(Kind::Upsert), 2 => Just(Kind::Delete)
        ];
        let demand = prop_oneof![3 => Just(Demand::None), 2 => Just(Demand::Known), 1 => Just(Demand::Wrong)];
        let how = prop_oneof![
            Just(How::Eventual),
            (0..6_000u64).prop_map(|ms| How::Bounded(Duration::from_millis(ms))),
            Just(How::Session),
            Just(How::Linearizable),
        ];
        prop_oneof![
            8 => (node(), key(), kind, demand)
                .prop_map(|(node, key, kind, demand)| Step::Write { node, key, kind, demand }),
            8 => (node(), key(), how).prop_map(|(node, key, how)| Step::Read { node, key, how }),
            2 => node().prop_map(|node| Step::Cut { node }),
            2 => node().prop_map(|node| Step::Heal { node }),
            2 => node().prop_map(|node| Step::Kill { node }),
            2 => node().prop_map(|node| Step::Start { node }),
            1 => node().prop_map(|to| Step::HandOver { to }),
            2 => (0..4_000u64).prop_map(|ms| Step::Pass { ms }),
        ]
        .boxed()
    }

    fn preconditions(plan: &Plan, step: &Step) -> bool {
        match step {
            Step::Write { node, .. } | Step::Read { node, .. } => plan.nodes[*node] != Condition::Dead,
            Step::HandOver { to } => plan.nodes[*to] == Condition::Linked,
            Step::Cut { .. } | Step::Kill { .. } => plan.nodes == [Condition::Linked; NODES],
            Step::Heal { node } => plan.nodes[*node] == Condition::Cut,
            Step::Start { node } => plan.nodes[*node] == Condition::Dead,
            Step::Pass { .. } => true,
        }
    }

    fn apply(mut plan: Plan, step: &Step) -> Plan {
        match step {
            Step::Cut { node } => plan.nodes[*node] = Condition::Cut,
            Step::Kill { node } => plan.nodes[*node] = Condition::Dead,
            Step::Heal { node } | Step::Start { node } => plan.nodes[*node] = Condition::Linked,
            Step::Write { .. } | Step::Read { .. } | Step::HandOver { .. } | Step::Pass { .. } => {}
        }
        plan
    }
}
