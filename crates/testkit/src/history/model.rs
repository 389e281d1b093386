use std::{fmt, hash::Hash};

use super::Operation;

/// What a history is compared with: an object that does one operation after the other.
///
/// If answers leave open what the state is, as those of writes whose index nobody learnt do, a state stands for all that
/// it may be: everything that is legal in one of them is legal.
pub trait Model {
    /// What can be asked for.
    type Op: Clone + Eq + Hash + fmt::Display;
    /// What can be answered.
    type Result: fmt::Display;
    /// What there is between two operations; displayed as "the state is ...".
    type State: Clone + Eq + Hash + fmt::Display;

    /// The name of the part of the object that the operation is about. Parts do not know of each other, so each is
    /// checked alone. `None` for an operation that promises nothing here and changes nothing.
    fn part<'o>(&self, op: &'o Self::Op) -> Option<&'o str>;

    /// The state at the start of each part.
    fn initial(&self) -> Self::State;

    /// The state after the operation, if it can have this result in this state. Without a result nobody knows it; then
    /// it is the state after an operation that had an effect, if it can have one.
    fn step(&self, state: &Self::State, op: &Self::Op, result: Option<&Self::Result>) -> Option<Self::State>;

    /// Whether everything that is legal from `other` is legal from `state` too, step by step. A model whose states
    /// stand for more than one says here which of them stand for no less than others.
    fn covers(&self, state: &Self::State, other: &Self::State) -> bool {
        state == other
    }

    /// Which of the operations that may come next is to be tried first: the one with the lowest number. A good guess
    /// saves time; a bad one changes no verdict.
    fn order(&self, _op: &Self::Op, _result: &Self::Result) -> u64 {
        0
    }

    /// What the unknown operations of a part, given whole, may be taken for without changing the verdict: `None` for
    /// one that can be left out. It pays to make equal those that nobody can tell apart.
    ///
    /// Is called once for each part, and gives one answer for each unknown operation, in their order.
    fn unknowns(&self, part: &[&Operation<Self::Op, Self::Result>]) -> Vec<Option<Self::Op>> {
        part.iter()
            .filter(|operation| operation.is_unknown())
            .map(|unknown| Some(unknown.op.clone()))
            .collect()
    }
}
