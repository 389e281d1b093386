use archipelago_clock::ReplicaId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    CounterError, Crdt, DeltaCrdt, GCounter, Kind,
    encoding::{DeserializeState, SerializeState, State},
    state::carry_kind,
};

/// A counter that grows and shrinks: one [`GCounter`] of increments and one of decrements.
///
/// Shapiro et al. 2011, section 3.1.3. Encoded as `{"increments":{"us":10},"decrements":{"us":3}}`. It may fall
/// below zero.
///
/// ```
/// use archipelago_crdt::{Crdt, PnCounter};
///
/// let mut us = PnCounter::new();
/// us.increment("us", 10)?;
/// us.decrement("us", 3)?;
/// assert_eq!(us.value(), 7);
/// # Ok::<(), archipelago_crdt::CounterError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PnCounter<A: Ord = ReplicaId> {
    increments: GCounter<A>,
    decrements: GCounter<A>,
}

impl<A: Ord> PnCounter<A> {
    /// A counter at zero.
    pub const fn new() -> Self {
        PnCounter { increments: GCounter::new(), decrements: GCounter::new() }
    }

    /// All increments less all decrements.
    ///
    /// It cannot overflow: counts of 64 bits from fewer than 2^63 actors fit in 127.
    pub fn value(&self) -> i128 {
        signed(self.increments.value()) - signed(self.decrements.value())
    }

    /// What was added, by actor.
    pub fn increments(&self) -> &GCounter<A> {
        &self.increments
    }

    /// What was taken away, by actor.
    pub fn decrements(&self) -> &GCounter<A> {
        &self.decrements
    }
}

fn signed(sum: u128) -> i128 {
    i128::try_from(sum).expect("no memory holds the 2^63 counts that a sum of 2^127 takes")
}

impl<A: Ord + Clone> PnCounter<A> {
    /// Adds `by` for `actor`, which must be the caller's own id, and returns the delta.
    ///
    /// # Errors
    /// [`CounterError::Overflow`] if the actor's increments would exceed 64 bits; the counter is unchanged.
    pub fn increment(&mut self, actor: A, by: u64) -> Result<Self, CounterError> {
        let increments = self.increments.increment(actor, by)?;
        Ok(PnCounter { increments, ..PnCounter::new() })
    }

    /// Takes `by` away for `actor`, which must be the caller's own id, and returns the delta.
    ///
    /// # Errors
    /// [`CounterError::Overflow`] if the actor's decrements would exceed 64 bits; the counter is unchanged.
    pub fn decrement(&mut self, actor: A, by: u64) -> Result<Self, CounterError> {
        let decrements = self.decrements.increment(actor, by)?;
        Ok(PnCounter { decrements, ..PnCounter::new() })
    }
}

impl<A: Ord> Default for PnCounter<A> {
    fn default() -> Self {
        PnCounter::new()
    }
}

impl<A: Ord + Clone> Crdt for PnCounter<A> {
    fn kind() -> Option<Kind> {
        Some(Kind::PnCounter)
    }

    fn merge(&mut self, other: &Self) {
        self.increments.merge(&other.increments);
        self.decrements.merge(&other.decrements);
    }
}

impl<A: Ord + Clone> DeltaCrdt for PnCounter<A> {
    type Delta = Self;

    fn merge_delta(&mut self, delta: &Self) {
        self.merge(delta);
    }

    fn delta_since(&self, since: &Self) -> Option<Self> {
        let increments = self.increments.delta_since(&since.increments);
        let decrements = self.decrements.delta_since(&since.decrements);
        (increments.is_some() || decrements.is_some()).then(|| PnCounter {
            increments: increments.unwrap_or_default(),
            decrements: decrements.unwrap_or_default(),
        })
    }
}

carry_kind!([A: Ord] PnCounter<A>, Some(Kind::PnCounter));

impl<A: Ord + Serialize> SerializeState for PnCounter<A> {
    fn serialize_state<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename = "PnCounter", bound(serialize = "A: Serialize"))]
        struct Fields<'a, A: Ord> {
            increments: State<&'a GCounter<A>>,
            decrements: State<&'a GCounter<A>>,
        }
        let fields = Fields { increments: State(&self.increments), decrements: State(&self.decrements) };
        fields.serialize(serializer)
    }
}

impl<'de, A: Ord + Deserialize<'de>> DeserializeState<'de> for PnCounter<A> {
    fn deserialize_state<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, rename = "PnCounter", bound(deserialize = "A: Ord + Deserialize<'de>"))]
        struct Fields<A: Ord> {
            increments: State<GCounter<A>>,
            decrements: State<GCounter<A>>,
        }
        let Fields { increments: State(increments), decrements: State(decrements) } =
            Fields::deserialize(deserializer)?;
        Ok(PnCounter { increments, decrements })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::laws;

    fn counters() -> impl Strategy<Value = PnCounter<String>> {
        proptest::collection::vec(("[a-c]", any::<bool>(), 0..5u64), 0..6).prop_map(|steps| {
            let mut counter = PnCounter::new();
            for (actor, up, by) in steps {
                if up { counter.increment(actor, by) } else { counter.decrement(actor, by) }.unwrap();
            }
            counter
        })
    }

    #[test]
    fn falls_below_zero() {
        let mut counter = PnCounter::new();
        counter.decrement("us", u64::MAX).unwrap();
        assert_eq!(counter.value(), -i128::from(u64::MAX));
    }

    #[test]
    fn overflow_is_an_error_that_changes_nothing() {
        let mut counter = PnCounter::new();
        counter.decrement("us", u64::MAX).unwrap();
        let before = counter.clone();
        assert!(counter.decrement("us", 1).is_err());
        assert_eq!(counter, before);
    }

    #[test]
    fn encodes_as_two_named_maps() {
        let mut counter = PnCounter::new();
        counter.increment("us", 10).unwrap();
        counter.decrement("us", 3).unwrap();
        let json = serde_json::to_string(&counter).unwrap();
        assert_eq!(json, r#"{"increments":{"us":10},"decrements":{"us":3}}"#);
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
        fn updates_move_up_and_return_their_delta(a in counters(), y in counters(), by in 0..9u64) {
            laws::update(&a, &y, |counter| counter.increment("b".to_owned(), by).ok());
            laws::update(&a, &y, |counter| counter.decrement("b".to_owned(), by).ok());
        }

        #[test]
        fn survives_encoding(a in counters(), b in counters()) {
            laws::encoding(&a, &b);
        }
    }
}
