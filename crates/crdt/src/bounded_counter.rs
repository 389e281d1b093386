use std::collections::BTreeMap;

use archipelago_clock::ReplicaId;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::{
    CounterError, Crdt, DeltaCrdt, GCounter, Kind,
    encoding::{self, DeserializeState, SerializeState, State},
    state::carry_kind,
};

/// A counter that never falls below zero: to decrement takes *rights*, which incrementing creates and which actors
/// can transfer to one another.
///
/// An actor that increments by `n` gets the right to decrement by `n`. It may use its rights without asking
/// anyone, since nobody else can; so any number of actors decrement concurrently and the sum stays non-negative.
/// Nothing concurrent can conflict.
///
/// # Order requirements
///
/// None for merging; an actor updates only its own current state, as with every counter. A *delta* may arrive
/// before those that it rests on, as a decrement before the increment that gave its rights; until then
/// [`value`](Self::value) and [`rights`](Self::rights) of others read as zero where they would be less. An actor's
/// own rights are exact in its own state. Rights in a transfer that was merged nowhere else are lost with the
/// actor's state; the counter stays non-negative.
///
/// Encoded as `{"granted":{"us":10},"spent":{"us":3},"transfers":{"us":{"eu":4}}}`: what each actor has incremented
/// and decremented, and from whom to whom rights went.
///
/// Balegas, Serra, Duarte, Ferreira, Shapiro, Rodrigues, Preguiça, *Extending eventually consistent cloud databases
/// for enforcing numeric invariants*, SRDS 2015, section III. The departure: the diagonal of their matrix, what an
/// actor grants itself, is kept apart from the transfers.
///
/// ```
/// use archipelago_crdt::{BoundedCounter, CounterError, Crdt};
///
/// let mut us = BoundedCounter::new();
/// us.increment("us", 10)?;
/// us.transfer("us", "eu", 4)?;
/// let mut eu = us.clone();
/// eu.decrement("eu", 4)?;
/// assert_eq!(eu.decrement("eu", 1), Err(CounterError::InsufficientRights { rights: 0, by: 1 }));
/// us.decrement("us", 6)?; // concurrently
/// us.merge(&eu);
/// assert_eq!(us.value(), 0);
/// # Ok::<(), CounterError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BoundedCounter<A: Ord = ReplicaId> {
    granted: GCounter<A>,
    spent: GCounter<A>,
    /// From whom to whom. No counter is empty and none counts for the actor it is under.
    transfers: BTreeMap<A, GCounter<A>>,
}

impl<A: Ord> BoundedCounter<A> {
    /// A counter at zero.
    pub const fn new() -> Self {
        BoundedCounter { granted: GCounter::new(), spent: GCounter::new(), transfers: BTreeMap::new() }
    }

    /// All increments less all decrements.
    pub fn value(&self) -> u128 {
        self.granted.value().saturating_sub(self.spent.value())
    }

    /// By how much `actor` may decrement, or how much it may transfer.
    pub fn rights(&self, actor: &A) -> u128 {
        let received: u128 = self.transfers.values().map(|to| u128::from(to.count(actor))).sum();
        let given = self.transfers.get(actor).map_or(0, GCounter::value);
        let has = u128::from(self.granted.count(actor)) + received;
        has.saturating_sub(u128::from(self.spent.count(actor)) + given)
    }
}

impl<A: Ord + Clone> BoundedCounter<A> {
    /// Adds `by` for `actor`, which must be the caller's own id, gives it as many rights, and returns the delta.
    ///
    /// # Errors
    /// [`CounterError::Overflow`] if the actor's increments would exceed 64 bits; the counter is unchanged.
    pub fn increment(&mut self, actor: A, by: u64) -> Result<Self, CounterError> {
        let granted = self.granted.increment(actor, by)?;
        Ok(BoundedCounter { granted, ..BoundedCounter::new() })
    }

    /// Takes `by` away for `actor`, which must be the caller's own id, and returns the delta.
    ///
    /// # Errors
    /// [`CounterError::InsufficientRights`] if the actor may not take that much, and [`CounterError::Overflow`] if
    /// its decrements would exceed 64 bits; the counter is unchanged.
    pub fn decrement(&mut self, actor: A, by: u64) -> Result<Self, CounterError> {
        self.check_rights(&actor, by)?;
        let spent = self.spent.increment(actor, by)?;
        Ok(BoundedCounter { spent, ..BoundedCounter::new() })
    }

    /// Transfers rights from `actor`, which must be the caller's own id, to another actor, and returns the delta.
    /// The value stays the same.
    ///
    /// # Errors
    /// As [`decrement`](Self::decrement), and [`CounterError::TransferToSelf`].
    pub fn transfer(&mut self, actor: A, to: A, amount: u64) -> Result<Self, CounterError> {
        if actor == to {
            return Err(CounterError::TransferToSelf);
        }
        self.check_rights(&actor, amount)?;
        let mut delta = BoundedCounter::new();
        if amount > 0 {
            let row = match self.transfers.get_mut(&actor) {
                Some(row) => row.increment(to, amount)?,
                // A single count of 64 bits cannot overflow, so no empty row is left behind.
                None => self.transfers.entry(actor.clone()).or_default().increment(to, amount)?,
            };
            delta.transfers.insert(actor, row);
        }
        Ok(delta)
    }

    fn check_rights(&self, actor: &A, by: u64) -> Result<(), CounterError> {
        let rights = self.rights(actor);
        if rights < u128::from(by) { Err(CounterError::InsufficientRights { rights, by }) } else { Ok(()) }
    }
}

impl<A: Ord> Default for BoundedCounter<A> {
    fn default() -> Self {
        BoundedCounter::new()
    }
}

impl<A: Ord + Clone> Crdt for BoundedCounter<A> {
    fn kind() -> Option<Kind> {
        Some(Kind::BoundedCounter)
    }

    fn merge(&mut self, other: &Self) {
        self.granted.merge(&other.granted);
        self.spent.merge(&other.spent);
        for (from, theirs) in &other.transfers {
            match self.transfers.get_mut(from) {
                Some(ours) => ours.merge(theirs),
                None => {
                    self.transfers.insert(from.clone(), theirs.clone());
                }
            }
        }
    }

    fn covers(&self, other: &Self) -> bool {
        other.delta_since(self).is_none()
    }
}

impl<A: Ord + Clone> DeltaCrdt for BoundedCounter<A> {
    type Delta = Self;

    fn merge_delta(&mut self, delta: &Self) {
        self.merge(delta);
    }

    fn delta_since(&self, since: &Self) -> Option<Self> {
        let nothing = GCounter::new();
        let news = self.transfers.iter().filter_map(|(from, ours)| {
            Some((from.clone(), ours.delta_since(since.transfers.get(from).unwrap_or(&nothing))?))
        });
        let delta = BoundedCounter {
            granted: self.granted.delta_since(&since.granted).unwrap_or_default(),
            spent: self.spent.delta_since(&since.spent).unwrap_or_default(),
            transfers: news.collect(),
        };
        (delta != BoundedCounter::new()).then_some(delta)
    }
}

carry_kind!([A: Ord] BoundedCounter<A>, Some(Kind::BoundedCounter));

impl<A: Ord + Serialize> SerializeState for BoundedCounter<A> {
    fn serialize_state<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename = "BoundedCounter", bound(serialize = "A: Serialize"))]
        struct Fields<'a, A: Ord> {
            granted: State<&'a GCounter<A>>,
            spent: State<&'a GCounter<A>>,
            transfers: BTreeMap<&'a A, State<&'a GCounter<A>>>,
        }
        let transfers = self.transfers.iter().map(|(from, to)| (from, State(to))).collect();
        Fields { granted: State(&self.granted), spent: State(&self.spent), transfers }.serialize(serializer)
    }
}

impl<'de, A: Ord + Deserialize<'de>> DeserializeState<'de> for BoundedCounter<A> {
    fn deserialize_state<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            deny_unknown_fields,
            rename = "BoundedCounter",
            bound(deserialize = "A: Ord + Deserialize<'de>")
        )]
        struct Fields<A: Ord> {
            granted: State<GCounter<A>>,
            spent: State<GCounter<A>>,
            #[serde(deserialize_with = "encoding::map_of_unique_keys")]
            transfers: BTreeMap<A, State<GCounter<A>>>,
        }
        let Fields { granted: State(granted), spent: State(spent), transfers } =
            Fields::deserialize(deserializer)?;
        let mut transfers: BTreeMap<A, GCounter<A>> =
            transfers.into_iter().map(|(from, State(to))| (from, to)).collect();
        if transfers.iter().any(|(from, to)| to.count(from) > 0) {
            return Err(D::Error::custom("a transfer of rights from an actor to itself"));
        }
        transfers.retain(|_, to| to.iter().next().is_some());
        Ok(BoundedCounter { granted, spent, transfers })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::executions::{self, History, Subject, executions};

    #[derive(Clone, Debug)]
    enum Op {
        Increment(u64),
        Decrement(u64),
        Transfer(u8, u64),
    }

    struct Counters;

    impl Subject for Counters {
        type State = BoundedCounter<u8>;
        type Op = Op;
        /// The value and the rights of each replica.
        type Value = (i128, Vec<i128>);

        fn update(counter: &mut Self::State, actor: u8, op: &Op) -> Option<Self::State> {
            match op {
                Op::Increment(by) => counter.increment(actor, *by).ok(),
                Op::Decrement(by) => counter.decrement(actor, *by).ok(),
                Op::Transfer(to, amount) => counter.transfer(actor, *to, *amount).ok(),
            }
        }

        fn value(counter: &Self::State) -> (i128, Vec<i128>) {
            let signed = |it: u128| i128::try_from(it).unwrap();
            (signed(counter.value()), (0..3).map(|actor| signed(counter.rights(&actor))).collect())
        }

        /// Sums that are checked never to be negative, since they are compared with what cannot be.
        fn model(history: &History<Op>) -> (i128, Vec<i128>) {
            let mut rights = vec![0i128; 3];
            for (event, op) in history.iter() {
                let actor = usize::from(history.actor(event));
                match op {
                    Op::Increment(by) => rights[actor] += i128::from(*by),
                    Op::Decrement(by) => rights[actor] -= i128::from(*by),
                    Op::Transfer(to, amount) => {
                        rights[actor] -= i128::from(*amount);
                        rights[usize::from(*to)] += i128::from(*amount);
                    }
                }
            }
            (rights.iter().sum(), rights)
        }
    }

    #[test]
    fn what_exceeds_the_rights_is_refused_and_changes_nothing() {
        let mut counter = BoundedCounter::new();
        counter.increment("us", 5).unwrap();
        let before = counter.clone();
        let refused = Err(CounterError::InsufficientRights { rights: 5, by: 6 });
        assert_eq!(counter.decrement("us", 6), refused);
        assert_eq!(counter.transfer("us", "eu", 6), refused);
        assert_eq!(counter.transfer("us", "us", 1), Err(CounterError::TransferToSelf));
        assert!(counter.decrement("eu", 1).is_err());
        assert_eq!(counter, before);
        assert_eq!(counter.transfer("us", "eu", 0), Ok(BoundedCounter::new()));
        assert_eq!(counter, before);
    }

    #[test]
    fn overflow_is_refused_and_changes_nothing() {
        let mut counter = BoundedCounter::new();
        counter.increment("us", u64::MAX).unwrap();
        counter.transfer("us", "eu", u64::MAX).unwrap();
        counter.transfer("eu", "us", 1).unwrap();
        let before = counter.clone();
        assert!(matches!(counter.transfer("us", "eu", 1), Err(CounterError::Overflow { .. })));
        assert_eq!(counter, before);
    }

    #[test]
    fn encodes_as_granted_spent_and_transfers() {
        let json = r#"{"granted":{"us":10},"spent":{"us":3},"transfers":{"us":{"eu":4}}}"#;
        let counter: BoundedCounter<String> = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&counter).unwrap(), json);
        assert_eq!((counter.value(), counter.rights(&"us".into()), counter.rights(&"eu".into())), (7, 3, 4));
        let zero = r#"{"granted":{"us":0},"spent":{},"transfers":{"us":{"eu":0}}}"#;
        assert_eq!(serde_json::from_str::<BoundedCounter<String>>(zero).unwrap(), BoundedCounter::new());
        let to_self = r#"{"granted":{},"spent":{},"transfers":{"us":{"us":1}}}"#;
        assert!(serde_json::from_str::<BoundedCounter<String>>(to_self).is_err());
    }

    fn ops() -> impl Strategy<Value = Op> {
        prop_oneof![
            2 => (0..9u64).prop_map(Op::Increment),
            2 => (0..6u64).prop_map(Op::Decrement),
            2 => (0..3u8, 0..6u64).prop_map(|(to, amount)| Op::Transfer(to, amount)),
        ]
    }

    proptest! {
        #[test]
        fn holds_the_laws_and_agrees_with_the_model(run in executions(ops())) {
            executions::check::<Counters>(&run);
        }
    }
}
