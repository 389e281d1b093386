//! Whether a custom merge function obeys the laws of a join.

use std::fmt::{self, Debug};

use proptest::strategy::Strategy;

use crate::{Counterexample, search};

/// Which laws a merge function obeys, each with the shortest counterexample that was found if it does not.
///
/// Printed, it is a report of a line or two for each law.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeLaws {
    /// `merge(a, b) = merge(b, a)`.
    pub commutative: Result<(), Counterexample>,
    /// `merge(merge(a, b), c) = merge(a, merge(b, c))`.
    pub associative: Result<(), Counterexample>,
    /// `merge(a, a) = a`.
    pub idempotent: Result<(), Counterexample>,
}

impl MergeLaws {
    /// Whether all three hold, so that the function is the join of a CRDT.
    pub fn hold(&self) -> bool {
        self.laws().iter().all(|(_, outcome)| outcome.is_ok())
    }

    fn laws(&self) -> [(&'static str, &Result<(), Counterexample>); 3] {
        [
            ("commutative", &self.commutative),
            ("associative", &self.associative),
            ("idempotent", &self.idempotent),
        ]
    }
}

impl fmt::Display for MergeLaws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (law, outcome) in self.laws() {
            match outcome {
                Ok(()) => writeln!(f, "{law}: yes")?,
                Err(counterexample) => writeln!(f, "{law}: NO, {counterexample}")?,
            }
        }
        if !self.hold() {
            f.write_str(
                "As a custom strategy it converges all the same: replicas store the siblings, not what was merged of \
                 them, and each replica merges the same set in the same order. But what readers see may then depend \
                 on the order of stamps, or change when a sibling repeats another.\n",
            )?;
        }
        Ok(())
    }
}

/// Tells which laws `merge` obeys on values of the strategy `values`.
///
/// The values are the same in each run, and so is the report. A function that panics breaks the law it was tried for.
///
/// ```
/// use archipelago_testkit::{merge_laws, proptest::prelude::*};
///
/// let sum = merge_laws(|a: &u32, b: &u32| a.wrapping_add(*b), any::<u32>());
/// assert!(sum.commutative.is_ok() && sum.associative.is_ok());
/// assert!(sum.idempotent.is_err(), "an item that two people keep is counted twice");
/// println!("{sum}");
/// ```
pub fn merge_laws<S: Strategy>(merge: impl Fn(&S::Value, &S::Value) -> S::Value, values: S) -> MergeLaws
where
    S::Value: PartialEq + Debug,
{
    let same = |(left_name, left): (&str, S::Value), (right_name, right): (&str, &S::Value)| {
        if left == *right {
            return Ok(());
        }
        Err(format!("{left_name} = {left:?}, but {right_name} = {right:?}"))
    };
    MergeLaws {
        commutative: search(&(&values, &values), |(a, b)| {
            same(("merge(a, b)", merge(a, b)), ("merge(b, a)", &merge(b, a)))
        }),
        associative: search(&(&values, &values, &values), |(a, b, c)| {
            let (left, right) = (merge(&merge(a, b), c), merge(a, &merge(b, c)));
            same(("merge(merge(a, b), c)", left), ("merge(a, merge(b, c))", &right))
        }),
        idempotent: search(&values, |a| same(("merge(a, a)", merge(a, a)), ("a", a))),
    }
}

/// Asserts the laws that you claim of a merge function, and gives the report on all three as [`MergeLaws`].
///
/// ```
/// use archipelago_testkit::{merge_laws, proptest::prelude::*};
///
/// fn longer(a: &String, b: &String) -> String {
///     if a.len() >= b.len() { a.clone() } else { b.clone() }
/// }
///
/// let report = merge_laws!(longer, "[a-c]{0,3}" => associative, idempotent);
/// assert!(report.commutative.is_err(), "of two of one length the first wins");
/// ```
///
/// With `siblings:` before it, the function is one over siblings, as [`Custom`](archipelago_conflict::Custom) takes it;
/// what the laws mean then is said at [`sibling_laws`](crate::sibling_laws).
///
/// ```
/// use archipelago_conflict::Sibling;
/// use archipelago_crdt::Value;
/// use archipelago_testkit::{merge_laws, proptest::prelude::*};
///
/// fn greatest(siblings: &[Sibling]) -> Option<Value> {
///     siblings.iter().filter_map(|sibling| sibling.value.clone()).max()
/// }
///
/// let numbers = proptest::option::of((0..9i64).prop_map(Value::from)); // or removed
/// merge_laws!(siblings: greatest, numbers => commutative, associative, idempotent);
/// ```
///
/// Panics with the report if a law that is claimed does not hold.
#[macro_export]
macro_rules! merge_laws {
    (siblings: $merge:expr, $values:expr $(=> $($claim:ident),+ $(,)?)?) => {
        $crate::merge_laws!(@report $crate::sibling_laws($merge, $values) $(=> $($claim),+)?)
    };
    ($merge:expr, $values:expr $(=> $($claim:ident),+ $(,)?)?) => {
        $crate::merge_laws!(@report $crate::merge_laws($merge, $values) $(=> $($claim),+)?)
    };
    (@report $report:expr $(=> $($claim:ident),+)?) => {{
        let report: $crate::MergeLaws = $report;
        $($(
            let claim = stringify!($claim);
            assert!(report.$claim.is_ok(), "the merge function is not {claim}, as was claimed:\n{report}");
        )+)?
        report
    }};
}
