//! Whether a function over siblings, which is what a custom strategy is, obeys the laws of a join.

use archipelago_clock::{Dot, Hlc, Incarnation, ReplicaId};
use archipelago_conflict::{Sibling, Stamp};
use archipelago_crdt::Value;
use proptest::strategy::Strategy;

use crate::{MergeLaws, search};

/// Tells which laws a function over siblings obeys, as it is given to [`Custom`](archipelago_conflict::Custom), on
/// siblings with values of the strategy `values`: of [`Value`]s, or of `Option<Value>`s to try removals too.
///
/// Such a function sees a list; the laws are those of what is in it. `[a, b]` stands for two siblings that write `a` and
/// `b`, in the order of their dots and of their stamps:
///
/// | law | here |
/// |---|---|
/// | commutative | `merge([a, b]) = merge([b, a])`: it does not matter which of the writes has the greater stamp |
/// | associative | `merge([a, b, c]) = merge([merge([a, b]), c]) = merge([a, merge([b, c])])`: nor what somebody merged and wrote before; what is merged has the greatest stamp of its siblings |
/// | idempotent | `merge([a, a]) = a`: those who write the same agree |
///
/// **A function that breaks them all converges all the same**: replicas store the siblings, not what was merged of them,
/// and each replica merges the same set in the same order. The laws tell what readers may be surprised by.
///
/// The values are the same in each run, and so is the report. A function that panics breaks the law it was tried for.
///
/// ```
/// use archipelago_crdt::Value;
/// use archipelago_testkit::{sibling_laws, proptest::prelude::*};
///
/// let latest = sibling_laws(
///     |siblings| siblings.iter().max_by_key(|sibling| &sibling.stamp)?.value.clone(),
///     (0..9i64).prop_map(Value::from),
/// );
/// assert!(latest.associative.is_ok() && latest.idempotent.is_ok());
/// assert!(latest.commutative.is_err(), "the stamps decide");
/// println!("{latest}");
/// ```
pub fn sibling_laws<S: Strategy>(merge: impl Fn(&[Sibling]) -> Option<Value>, values: S) -> MergeLaws
where
    S::Value: Into<Option<Value>>,
{
    let values = values.prop_map(Into::<Option<Value>>::into);
    let merge = |versions: &[(u8, &Option<Value>)]| {
        let sibling =
            |&(place, value): &(u8, &Option<Value>)| Sibling { stamp: stamp(place), value: value.clone() };
        merge(&versions.iter().map(sibling).collect::<Vec<_>>())
    };
    MergeLaws {
        commutative: search(&(&values, &values), |(a, b)| {
            let (left, right) = (merge(&[(1, a), (2, b)]), merge(&[(1, b), (2, a)]));
            same(("merge([a, b])", &left), ("merge([b, a])", &right))
        }),
        associative: search(&(&values, &values, &values), |(a, b, c)| {
            let flat = merge(&[(1, a), (2, b), (3, c)]);
            let left = merge(&[(2, &merge(&[(1, a), (2, b)])), (3, c)]);
            let right = merge(&[(1, a), (3, &merge(&[(2, b), (3, c)]))]);
            same(("merge([merge([a, b]), c])", &left), ("merge([a, merge([b, c])])", &right))?;
            same(("merge([a, b, c])", &flat), ("merge([merge([a, b]), c])", &left))
        }),
        idempotent: search(&values, |a| same(("merge([a, a])", &merge(&[(1, a), (2, a)])), ("a", a))),
    }
}

fn same(left: (&str, &Option<Value>), right: (&str, &Option<Value>)) -> Result<(), String> {
    if left.1 == right.1 {
        return Ok(());
    }
    let shown = |value: &Option<Value>| value.as_ref().map_or_else(|| "removed".to_owned(), Value::to_string);
    Err(format!("{} = {}, but {} = {}", left.0, shown(left.1), right.0, shown(right.1)))
}

/// Stamps whose order is that of their dots.
fn stamp(place: u8) -> Stamp {
    let replica =
        ReplicaId::new(&format!("replica-{place}"), Incarnation::from_bits(1)).expect("a legal name");
    Stamp::new(Hlc::new(1_000 * u64::from(place), 0), Dot::new(replica, 1))
}
