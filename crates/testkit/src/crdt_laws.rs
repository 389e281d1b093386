/// Tests that a CRDT of your own obeys the laws of [`Crdt`](archipelago_crdt::Crdt): one `#[test]` for each law.
///
/// `crdt_laws!(Type, strategy)` takes the type and a proptest strategy of its states, which should be states that
/// replicas can reach: of few actors and few keys, so that they overlap. `crdt_laws!(Type)` takes the states from
/// the type's `Arbitrary`. Put it into a test module, whose name then stands before those of the laws.
///
/// | test | law | group |
/// |---|---|---|
/// | `commutative` | `a ⊔ b = b ⊔ a` | `join` |
/// | `associative` | `(a ⊔ b) ⊔ c = a ⊔ (b ⊔ c)` | `join` |
/// | `idempotent` | `a ⊔ a = a` | `join` |
/// | `monotone` | `a ⊔ b` covers `a` and `b` | `join` |
/// | `delta_merge_equals_state_merge` | a delta says what the state says | `delta` |
/// | `encoding_is_the_identity` | in JSON and MessagePack | `encoding` |
/// | `encoding_is_canonical` | equal states have equal bytes | `encoding` |
///
/// States of types that name writes by dots must come of one history, in which no dot is used twice: then write
/// `crdt_laws!(Type, together: strategy)`, with a strategy of arrays of three states. [`generate::replicas`] makes one
/// of any type's operations.
///
/// [`generate::replicas`]: crate::generate::replicas
///
/// A type without deltas, or without serde, names the groups that it has:
/// `crdt_laws!(Type, strategy, laws: join, encoding)`.
///
/// ```test_harness
/// use archipelago_crdt::Crdt;
///
/// /// The highest score of a game.
/// #[derive(Clone, Debug, PartialEq)]
/// struct HighScore(u32);
///
/// impl Crdt for HighScore {
///     fn merge(&mut self, other: &Self) {
///         self.0 = self.0.max(other.0);
///     }
/// }
///
/// mod high_score {
///     use super::HighScore;
///     use archipelago_testkit::{crdt_laws, proptest::prelude::*};
///
///     crdt_laws!(HighScore, any::<u32>().prop_map(HighScore), laws: join);
/// }
/// ```
///
/// Failing inputs are shrunk, shown, and kept in `proptest-regressions` for the next run: commit that folder. The
/// laws are also plain functions, in [`laws`](crate::laws).
#[macro_export]
macro_rules! crdt_laws {
    ($type:ty) => {
        $crate::crdt_laws!($type, $crate::proptest::prelude::any::<$type>());
    };
    ($type:ty, together: $three:expr) => {
        $crate::crdt_laws!($type, together: $three, laws: join, delta, encoding);
    };
    ($type:ty, together: $three:expr, laws: $($group:ident),+ $(,)?) => {
        $($crate::crdt_laws!(@$group $type, $three);)+
    };
    ($type:ty, $states:expr) => {
        $crate::crdt_laws!($type, $states, laws: join, delta, encoding);
    };
    ($type:ty, $states:expr, laws: $($group:ident),+ $(,)?) => {
        $($crate::crdt_laws!(@$group $type, [$states, $states, $states]);)+
    };
    (@join $type:ty, $three:expr) => {
        $crate::crdt_laws!(@law commutative, $three, |[a, b, _]: &[$type; 3]| $crate::laws::commutative(a, b));
        $crate::crdt_laws!(@law associative, $three, |[a, b, c]: &[$type; 3]| $crate::laws::associative(a, b, c));
        $crate::crdt_laws!(@law idempotent, $three, |[a, _, _]: &[$type; 3]| $crate::laws::idempotent(a));
        $crate::crdt_laws!(@law monotone, $three, |[a, b, _]: &[$type; 3]| $crate::laws::monotone(a, b));
    };
    (@delta $type:ty, $three:expr) => {
        $crate::crdt_laws!(
            @law delta_merge_equals_state_merge, $three,
            |[a, b, x]: &[$type; 3]| $crate::laws::delta(a, b, x)
        );
    };
    (@encoding $type:ty, $three:expr) => {
        $crate::crdt_laws!(
            @law encoding_is_the_identity, $three,
            |[a, _, _]: &[$type; 3]| $crate::laws::encoding(a)
        );
        $crate::crdt_laws!(
            @law encoding_is_canonical, $three,
            |[a, b, c]: &[$type; 3]| $crate::laws::canonical(a, b, c)
        );
    };
    (@law $name:ident, $three:expr, $law:expr) => {
        #[test]
        fn $name() {
            $crate::assert_law(file!(), &$three, $law);
        }
    };
}
