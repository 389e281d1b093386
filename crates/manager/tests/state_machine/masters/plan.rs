use archipelago_conflict::Strategy;
use proptest::prelude::{BoxedStrategy, Just, Strategy as _, any, prop_oneof};
use proptest_state_machine::ReferenceStateMachine;

pub(crate) const REGISTERS: [&str; 2] = ["register/0", "register/1"];
pub(crate) const FIELDS: [&str; 2] = ["one", "two"];

/// What decides what may happen next: which masters are linked, and how many writes there were.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Of the registers.
    strategy: Strategy,
    /// Of each master.
    is_cut: Vec<bool>,
    writes: usize,
}

/// What happens, at a master by its number.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A value for a register, or its removal. By an author who had seen what the author of an earlier write had.
    Register {
        master: usize,
        register: usize,
        value: Option<u16>,
        seen: Option<usize>,
    },
    /// A field of the profile.
    Field {
        master: usize,
        field: usize,
        value: u16,
    },
    /// A counter goes up.
    Count {
        master: usize,
        by: u8,
    },
    Cut {
        master: usize,
    },
    Heal {
        master: usize,
    },
    /// Until all who are linked have what any of them has.
    Settle,
    /// It is closed or ends at this moment, and is started on its store; the new one is linked.
    Restart {
        master: usize,
        ends: Ends,
    },
    /// Of whoever made an earlier write, or was told of it.
    ReadInSession {
        master: usize,
        write: usize,
    },
    Pass {
        ms: u16,
    },
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    Closed,
    Killed,
}

impl Plan {
    pub(crate) fn strategy(&self) -> Strategy {
        self.strategy
    }

    pub(crate) fn masters(&self) -> usize {
        self.is_cut.len()
    }

    pub(crate) fn is_cut(&self, master: usize) -> bool {
        self.is_cut[master]
    }
}

impl ReferenceStateMachine for Plan {
    type State = Plan;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Plan> {
        let strategy = prop_oneof![Just(Strategy::Lww), Just(Strategy::VersionVector)];
        let plan = (strategy, 2..=3usize);
        plan.prop_map(|(strategy, masters)| Plan { strategy, is_cut: vec![false; masters], writes: 0 })
            .boxed()
    }

    fn transitions(plan: &Plan) -> BoxedStrategy<Step> {
        let master = || 0..plan.masters();
        let writes = plan.writes;
        let seen = match writes {
            0 => Just(None).boxed(),
            writes => proptest::option::weighted(0.3, 0..writes).boxed(),
        };
        let value = proptest::option::weighted(0.65, any::<u16>());
        let register = (master(), 0..REGISTERS.len(), value, seen)
            .prop_map(|(master, register, value, seen)| Step::Register { master, register, value, seen });
        let in_session =
            (master(), 0..writes.max(1)).prop_map(|(master, write)| Step::ReadInSession { master, write });
        let ends = prop_oneof![Just(Ends::Closed), Just(Ends::Killed)];
        prop_oneof![
            8 => register,
            3 => (master(), 0..FIELDS.len(), any::<u16>())
                .prop_map(|(master, field, value)| Step::Field { master, field, value }),
            3 => (master(), 1..9u8).prop_map(|(master, by)| Step::Count { master, by }),
            2 => master().prop_map(|master| Step::Cut { master }),
            3 => master().prop_map(|master| Step::Heal { master }),
            2 => Just(Step::Settle),
            2 => (master(), ends).prop_map(|(master, ends)| Step::Restart { master, ends }),
            3 => in_session,
            2 => (0..4_000u16).prop_map(|ms| Step::Pass { ms }),
        ]
        .boxed()
    }

    fn preconditions(plan: &Plan, step: &Step) -> bool {
        match step {
            Step::Register { seen, .. } => seen.is_none_or(|seen| seen < plan.writes),
            Step::ReadInSession { write, .. } => *write < plan.writes,
            Step::Cut { master } => !plan.is_cut[*master],
            Step::Heal { master } => plan.is_cut[*master],
            _ => true,
        }
    }

    fn apply(mut plan: Plan, step: &Step) -> Plan {
        match step {
            Step::Register { .. } | Step::Field { .. } | Step::Count { .. } => plan.writes += 1,
            Step::Cut { master } => plan.is_cut[*master] = true,
            Step::Heal { master } | Step::Restart { master, .. } => plan.is_cut[*master] = false,
            Step::Settle | Step::ReadInSession { .. } | Step::Pass { .. } => {}
        }
        plan
    }
}
