use std::{collections::BTreeMap, fmt};

use thiserror::Error;

use super::{
    History, KvRegister, Model, Outcome,
    linearization::{Effects, Search},
};

/// The default of how many states are looked at for one part, such as a key, before it is given up as undecided.
pub const STATES_MAX: u64 = 10_000_000;

/// How many states are looked at for each operation, before it is tried in another way.
const STATES_SOON: u64 = 50;

/// What was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Linearized {
    /// How many parts the history has, such as keys.
    pub parts: usize,
    /// How many operations were looked at.
    pub operations: usize,
    /// How many states were looked at, of all parts: the work.
    pub states: u64,
}

/// Why a history does not count as linearizable. The history is unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LinearizabilityError {
    /// There is no legal order of the operations of a part.
    #[error("{0}")]
    Violated(Box<Stuck>),
    /// It would take too long to say. A greater limit, or fewer unknown and concurrent operations, may decide it.
    #[error(
        "{part:?} is undecided after {states_max} states; allow more, or let fewer operations be unknown at a time"
    )]
    Undecided {
        /// Of which part, such as the key.
        part: String,
        /// How many states could be looked at.
        states_max: u64,
    },
}

/// How far the longest legal order of a part comes, and what cannot come next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stuck {
    /// The part, such as the key.
    pub part: String,
    /// How many answered operations it has.
    pub operations: usize,
    /// How many of them fit into one legal order.
    pub prefix: usize,
    /// The last of that order, and the unknown ones that took effect between them.
    pub last: Vec<String>,
    /// The state after them.
    pub state: String,
    /// The operations of which one had to come next, and none can.
    pub stuck: Vec<String>,
}

/// Whether the writes and the linearizable reads of a key-value store happened one at a time, each at some moment
/// between its invocation and its completion; the unknown ones at some moment after their invocation, or never.
///
/// # Errors
/// [`LinearizabilityError::Violated`] with the first key for which they did not. If there is none, but the work for
/// some key exceeds [`STATES_MAX`], [`LinearizabilityError::Undecided`].
pub fn check_linearizable(history: &History) -> Result<Linearized, LinearizabilityError> {
    check_model(&KvRegister, history, STATES_MAX)
}

/// Whether a history is one of this model; see [`check_linearizable`]. At most `states_max` states are looked at for
/// each part.
///
/// The search is that of Wing and Gong ([Testing and verifying concurrent
/// objects](https://doi.org/10.1006/jpdc.1993.1015), 1993): among the operations that no other one precedes, try each
/// that is legal, and go back where none is. With Lowe ([Testing for linearizability](https://doi.org/10.1002/cpe.3928),
/// 2017) what was tried is remembered by the set of operations done and the state; with Horn and Kroening ([Faster
/// linearizability checking via P-compositionality](https://doi.org/10.1007/978-3-319-19195-9_4), 2015) each part is
/// checked alone. The departures, each of which leaves the verdict as it is:
///
/// - An operation that is legal now and leaves the state as it is comes at once, and nothing else is tried: in any order
///   that has it later it can be moved to here.
/// - An unknown operation comes only right before one that needs it. In any legal order, take the operation after an
///   unknown one. If it is legal without it and leads to a state that covers the other, the unknown one can be left
///   out; if it can as well come before it, the unknown one can be moved on, because no operation has to wait for it.
///   Each move ends nearer to the end, where it can be left out.
/// - Of equal unknown operations the one that was invoked first is taken first.
/// - What was tried counts for all states that it covers, with the same or more unknown operations used up.
/// - If that takes long, it is looked for an order in which unknown operations may take effect again and again, which is
///   soon done; where there is none, there is none at all. The report is then of that order.
///
/// # Errors
/// As [`check_linearizable`].
pub fn check_model<M: Model>(
    model: &M,
    history: &History<M::Op, M::Result>,
    states_max: u64,
) -> Result<Linearized, LinearizabilityError> {
    let mut parts = BTreeMap::<&str, Vec<_>>::new();
    for operation in history.operations() {
        let is_known = !matches!(operation.outcome, Outcome::Failed { .. });
        if let Some(part) = model.part(&operation.op).filter(|_| is_known) {
            parts.entry(part).or_default().push(operation);
        }
    }
    let mut sum = Linearized { parts: parts.len(), ..Linearized::default() };
    let mut undecided = None;
    for (name, mut operations) in parts {
        operations.sort_by_key(|operation| operation.invoked_ns);
        sum.operations += operations.len();
        // Most histories are decided at once. Where so many unknown operations could be used up that they are not,
        // most that are illegal are so even if nothing is ever used up, which is soon known.
        let soon = states_max.min(STATES_SOON * (operations.len() as u64 + 100));
        let attempts = [(Effects::Once, soon), (Effects::Often, states_max), (Effects::Once, states_max)];
        let mut decided = None;
        for (effects, states_max) in attempts {
            let mut search = Search::new(model, &operations, effects, states_max);
            decided = search.run().filter(|is_legal| !is_legal || effects == Effects::Once);
            sum.states += search.states;
            match decided {
                Some(true) => break,
                Some(false) => return Err(LinearizabilityError::Violated(Box::new(stuck(name, &search)))),
                None => {}
            }
        }
        if decided.is_none() && undecided.is_none() {
            undecided = Some(LinearizabilityError::Undecided { part: name.to_owned(), states_max });
        }
    }
    undecided.map_or(Ok(sum), Err)
}

fn stuck<M: Model>(part: &str, search: &Search<'_, M>) -> Stuck {
    let end = search.farthest();
    Stuck {
        part: part.to_owned(),
        operations: search.answered(),
        prefix: end.answered,
        last: end.last.iter().map(ToString::to_string).collect(),
        state: end.state.to_string(),
        stuck: end.next.iter().map(ToString::to_string).collect(),
    }
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stuck { part, operations, prefix, state, .. } = self;
        writeln!(
            f,
            "{part:?} is not linearizable: {prefix} of its {operations} operations have a legal order"
        )?;
        if *prefix > 0 {
            writeln!(f, "it ends with")?;
            self.last.iter().try_for_each(|operation| writeln!(f, "  {operation}"))?;
        }
        writeln!(f, "the state is then {state}, and none of these can come next:")?;
        let stuck = self.stuck.iter().map(|operation| format!("  {operation}"));
        f.write_str(&stuck.collect::<Vec<_>>().join("\n"))
    }
}
