use std::{cmp::Ordering, collections::BTreeMap};

use archipelago_clock::{ReplicaId, VectorClock};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    CounterError, Crdt, DeltaCrdt, Kind,
    encoding::{self, DeserializeState, SerializeState},
    state::carry_kind,
};

/// A counter that only grows: one count for each actor, joined by the greater.
///
/// Shapiro et al. 2011, section 3.1.1. Encoded as the map from actor to count: `{"eu":3,"us":5}`.
///
/// An actor that has counted nothing has no entry, so that equal counters have equal encodings; a zero in the
/// input of a decoder is dropped.
///
/// ```
/// use archipelago_crdt::{Crdt, GCounter};
///
/// let mut us = GCounter::new();
/// let mut eu = GCounter::new();
/// us.increment("us", 5)?;
/// eu.increment("eu", 3)?;
/// us.merge(&eu);
/// assert_eq!(us.value(), 8);
/// # Ok::<(), archipelago_crdt::CounterError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GCounter<A: Ord = ReplicaId> {
    /// A vector in all but name: an entry for each actor, none of them zero, joined by the greater.
    counts: VectorClock<A>,
}

impl<A: Ord> GCounter<A> {
    /// A counter at zero.
    pub const fn new() -> Self {
        GCounter { counts: VectorClock::new() }
    }

    /// The sum of what all actors have counted. It cannot overflow: fewer than 2^64 counts of 64 bits fit in 128.
    pub fn value(&self) -> u128 {
        self.counts.iter().map(|(_, count)| u128::from(count)).sum()
    }

    /// What one actor has counted.
    pub fn count(&self, actor: &A) -> u64 {
        self.counts.get(actor)
    }

    /// The actors that have counted anything, in order, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (&A, u64)> {
        self.counts.iter()
    }
}

impl<A: Ord + Clone> GCounter<A> {
    /// Counts `by` for `actor`, which must be the caller's own id. The delta is the actor's new count; counting
    /// zero changes nothing and gives an empty delta.
    ///
    /// # Errors
    /// [`CounterError::Overflow`] if the actor's count would exceed 64 bits; the counter is unchanged.
    pub fn increment(&mut self, actor: A, by: u64) -> Result<Self, CounterError> {
        let count = self.count(&actor);
        let grown = count.checked_add(by).ok_or(CounterError::Overflow { count, by })?;
        let mut delta = GCounter::new();
        if by > 0 {
            self.counts.raise(actor.clone(), grown);
            delta.counts.raise(actor, grown);
        }
        Ok(delta)
    }
}

/// An order of states as values, for ordered collections; what knows more than what is [`covers`](Crdt::covers).
impl<A: Ord> Ord for GCounter<A> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl<A: Ord> PartialOrd for GCounter<A> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<A: Ord> Default for GCounter<A> {
    fn default() -> Self {
        GCounter::new()
    }
}

impl<A: Ord + Clone> Crdt for GCounter<A> {
    fn kind() -> Option<Kind> {
        Some(Kind::GCounter)
    }

    fn merge(&mut self, other: &Self) {
        self.counts.merge(&other.counts);
    }
}

impl<A: Ord + Clone> DeltaCrdt for GCounter<A> {
    type Delta = Self;

    fn merge_delta(&mut self, delta: &Self) {
        self.merge(delta);
    }

    fn delta_since(&self, since: &Self) -> Option<Self> {
        let news = self.counts.iter().filter(|(actor, count)| *count > since.count(actor));
        let counts: VectorClock<A> = news.map(|(actor, count)| (actor.clone(), count)).collect();
        (!counts.is_empty()).then_some(GCounter { counts })
    }
}

carry_kind!([A: Ord] GCounter<A>, Some(Kind::GCounter));

impl<A: Ord + Serialize> SerializeState for GCounter<A> {
    fn serialize_state<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.counts.iter())
    }
}

impl<'de, A: Ord + Deserialize<'de>> DeserializeState<'de> for GCounter<A> {
    fn deserialize_state<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let counts: BTreeMap<A, u64> = encoding::map_of_unique_keys(deserializer)?;
        Ok(GCounter { counts: counts.into_iter().collect() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::laws;

    fn counters() -> impl Strategy<Value = GCounter<String>> {
        // Few actors, so that states overlap; counts of both small and extreme size, so that ties occur.
        let count = prop_oneof![0..4u64, any::<u64>(), Just(u64::MAX)];
        proptest::collection::btree_map("[a-d]", count, 0..4)
            .prop_map(|counts| GCounter { counts: counts.into_iter().collect() })
    }

    #[test]
    fn overflow_is_an_error_that_changes_nothing() {
        let mut counter = GCounter::new();
        counter.increment("us", u64::MAX).unwrap();
        let before = counter.clone();
        assert_eq!(counter.increment("us", 1), Err(CounterError::Overflow { count: u64::MAX, by: 1 }));
        assert_eq!(counter, before);
    }

    #[test]
    fn the_sum_of_full_counts_does_not_wrap() {
        let mut counter = GCounter::new();
        counter.increment("eu", u64::MAX).unwrap();
        counter.increment("us", u64::MAX).unwrap();
        assert_eq!(counter.value(), 2 * u128::from(u64::MAX));
    }

    #[test]
    fn zero_entries_equal_absent_ones() {
        let mut counter = GCounter::new();
        assert_eq!(counter.increment("us".to_owned(), 0).unwrap(), GCounter::new());
        assert_eq!(counter, serde_json::from_str(r#"{"us":0}"#).unwrap());
    }

    #[test]
    fn encodes_as_a_map_and_refuses_a_repeated_actor() {
        let counter: GCounter<String> = serde_json::from_str(r#"{"us":5,"eu":3}"#).unwrap();
        assert_eq!(serde_json::to_string(&counter).unwrap(), r#"{"eu":3,"us":5}"#);
        let error = serde_json::from_str::<GCounter<String>>(r#"{"us":5,"us":3}"#).unwrap_err();
        assert!(error.to_string().contains("twice"), "{error}");
    }

    #[test]
    fn actors_are_replica_ids_unless_told_otherwise() {
        let mut counter: GCounter = GCounter::new();
        counter.increment("us@0000000000000001".parse().unwrap(), 5).unwrap();
        let json = serde_json::to_string(&counter).unwrap();
        assert_eq!(json, r#"{"us@0000000000000001":5}"#);
        assert_eq!(serde_json::from_str::<GCounter>(&json).unwrap(), counter);
        let bytes = rmp_serde::to_vec_named(&counter).unwrap();
        assert_eq!(rmp_serde::from_slice::<GCounter>(&bytes).unwrap(), counter);
    }

    proptest! {
        #[test]
        fn is_a_join_semilattice(a in counters(), b in counters(), c in counters()) {
            laws::join(&a, &b, &c);
        }

        #[test]
        fn deltas_say_what_states_say(a in counters(), b in counters(), x in counters()) {
            laws::delta(&a, &b, &x);
        }

        #[test]
        fn increments_move_up_and_return_their_delta(a in counters(), y in counters(), by in 0..9u64) {
            laws::update(&a, &y, |counter| counter.increment("b".to_owned(), by).ok());
        }

        #[test]
        fn survives_encoding(a in counters(), b in counters()) {
            laws::encoding(&a, &b);
        }
    }
}
