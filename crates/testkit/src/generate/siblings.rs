//! Replica ids, stamps and concurrent siblings.

use archipelago_clock::{Dot, Hlc, Incarnation, ReplicaId};
use archipelago_conflict::{Sibling, Stamp};
use archipelago_crdt::Value;
use proptest::prelude::*;

/// Few hybrid logical timestamps: of three milliseconds, with counters from 0 to 2.
pub fn hlcs() -> impl Strategy<Value = Hlc> {
    (1_000..1_003u64, 0..3u16).prop_map(|(unix_ms, counter)| Hlc::new(unix_ms, counter))
}

/// The ids of three replicas, named `a`, `b` and `c`.
pub fn replica_ids() -> impl Strategy<Value = ReplicaId> {
    (0..3u8).prop_map(replica)
}

/// Stamps of the first four writes of three replicas.
///
/// The same dot always has the same time, a later one of its replica a later time, and different replicas run at
/// different speeds: so stamps of independent strategies may be mixed, and some have the same time.
pub fn stamps() -> impl Strategy<Value = Stamp> {
    (0..3u8, 1..5u64).prop_map(|(number, sequence)| stamp(number, sequence))
}

/// Two to four concurrent versions of an entity in canonical order, as a [`Custom`](archipelago_conflict::Custom)
/// function sees them; about one in five is a removal.
///
/// ```test_harness
/// use archipelago_testkit::{generate, proptest::{self, prelude::*}};
///
/// proptest! {
///     #[test]
///     fn no_two_share_a_stamp(siblings in generate::siblings(generate::values())) {
///         prop_assert!(siblings.is_sorted_by(|a, b| a.stamp.dot < b.stamp.dot));
///     }
/// }
/// ```
pub fn siblings(values: impl Strategy<Value = Value>) -> impl Strategy<Value = Vec<Sibling>> {
    let versions = proptest::option::weighted(0.8, values);
    proptest::collection::btree_map((0..3u8, 1..5u64), versions, 2..=4).prop_map(|versions| {
        let sibling = |((number, sequence), value)| Sibling { stamp: stamp(number, sequence), value };
        versions.into_iter().map(sibling).collect()
    })
}

fn stamp(number: u8, sequence: u64) -> Stamp {
    // 2, 3 and 4 milliseconds from write to write.
    let unix_ms = 1_000 + sequence * (u64::from(number) + 2);
    Stamp::new(Hlc::new(unix_ms, 0), Dot::new(replica(number), sequence))
}

pub(super) fn replica(number: u8) -> ReplicaId {
    let name = ["a", "b", "c"][usize::from(number % 3)];
    ReplicaId::new(name, Incarnation::from_bits(1)).expect("a legal name")
}
