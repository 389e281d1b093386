//! Proptest strategies of clocks, values, and the states that CRDTs come into.
//!
//! ```test_harness
//! use archipelago_testkit::{generate, proptest::{self, prelude::*}};
//!
//! proptest! {
//!     #[test]
//!     fn a_merged_clock_dominates(a in generate::vector_clocks(), b in generate::vector_clocks()) {
//!         let mut merged = a.clone();
//!         merged.merge(&b);
//!         prop_assert!(merged.dominates(&a) && merged.dominates(&b));
//!     }
//! }
//! ```
//!
//! Clocks, stamps and siblings of independent strategies may be mixed. CRDTs come as three states of one history,
//! because the same dot or stamp must not stand for two writes; see [`replicas`]. Actors are the numbers 0, 1
//! and 2, elements and keys the letters `a` to `c`: few, so that states meet.
//!
//! | what | strategies |
//! |---|---|
//! | clocks | [`dots`], [`vector_clocks`], [`causal_contexts`], [`hlcs`], [`replica_ids`], [`stamps`] |
//! | counters | [`gcounters`], [`pn_counters`], [`bounded_counters`] |
//! | registers | [`lww_registers`], [`mv_registers`], [`max_registers`], [`min_registers`] |
//! | flags | [`ew_flags`], [`dw_flags`] |
//! | sets | [`gsets`], [`two_phase_sets`], [`or_sets`], [`rw_sets`] |
//! | maps | [`lww_maps`], [`or_maps_of_counters`], [`or_maps_of_sets`], [`or_maps_of_maps`]; of others [`or_maps`] |
//! | lists, texts | [`lists`], `texts` with the feature `text` |
//! | records | [`values`], [`values_with_crdts`], [`records`] under field merge, [`siblings`] |
//! | a CRDT of your own | [`replicas`] |

mod crdt_fields;
mod crdts;
mod maps;
mod replicas;
mod siblings;
mod stamped;
#[cfg(feature = "text")]
mod text;

use archipelago_clock::{CausalContext, Dot, VectorClock};
use archipelago_crdt::Value;
use proptest::prelude::*;

pub use crdt_fields::values_with_crdts;
pub use crdts::{
    bounded_counters, dw_flags, ew_flags, gcounters, gsets, lists, max_registers, min_registers,
    mv_registers, or_sets, pn_counters, rw_sets, two_phase_sets,
};
pub use maps::{or_maps, or_maps_of_counters, or_maps_of_maps, or_maps_of_sets};
pub use replicas::replicas;
pub use siblings::{hlcs, replica_ids, siblings, stamps};
pub use stamped::{lww_maps, lww_registers, records};
#[cfg(feature = "text")]
pub use text::texts;

/// Dots of three actors with sequences from 1 to 4.
pub fn dots() -> impl Strategy<Value = Dot<u8>> {
    (0..3u8, 1..5u64).prop_map(|(actor, sequence)| Dot::new(actor, sequence))
}

/// Clocks of up to three actors with sequences from 0 to 4.
pub fn vector_clocks() -> impl Strategy<Value = VectorClock<u8>> {
    proptest::collection::vec((0..3u8, 0..5u64), 0..4).prop_map(|entries| {
        let mut clock = VectorClock::new();
        entries.into_iter().for_each(|(actor, sequence)| clock.raise(actor, sequence));
        clock
    })
}

/// Sets of up to eight dots of three actors with sequences from 1 to 6, often with gaps.
pub fn causal_contexts() -> impl Strategy<Value = CausalContext<u8>> {
    let dot = (0..3u8, 1..7u64).prop_map(|(actor, sequence)| Dot::new(actor, sequence));
    proptest::collection::vec(dot, 0..9).prop_map(CausalContext::from_iter)
}

/// Values such as records have: nothing, truths, numbers, texts, and small maps of these, one in another.
pub fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-c]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        proptest::collection::btree_map("[a-c]", inner, 0..3).prop_map(Value::from_iter)
    })
}
