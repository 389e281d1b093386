use archipelago_clock::{MintError, ReplicaId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::{Causal, DotSet, Kind, dot_map::DotMap, dot_store::delegate_dot_store, nested::nest_causal};

/// A set in which adding wins over concurrent removing, without tombstones: the observed-remove set.
///
/// Inserting gives the element a new dot in place of those it had; removing drops the dots that were seen. So of
/// an insert and a concurrent remove of one element the insert wins: the remove has not seen its dot. Inserting an
/// element that is there already counts as an insert.
///
/// Encoded with the list of elements, each with its dots, as the store:
/// `{"store":[["tea",[["us",1]]]],"context":{"clock":{"us":1}}}`. For the orders of operations see [`Causal`].
///
/// The optimised set of Bieniusa et al., *An optimized conflict-free replicated set*, INRIA RR-8083, 2012, in the
/// form of Almeida, Shoker, Baquero 2018, section 7.3.2 (`AWSet`).
///
/// ```
/// use archipelago_crdt::{Crdt, OrSet};
///
/// let mut us: OrSet<&str, &str> = OrSet::new();
/// us.insert("us", "tea")?;
/// let mut eu = us.clone();
/// eu.remove(&"tea");
/// us.insert("us", "tea")?; // concurrently
/// us.merge(&eu);
/// assert!(us.contains(&"tea"));
/// # Ok::<(), archipelago_crdt::MintError>(())
/// ```
pub type OrSet<T, A = ReplicaId> = Causal<OrSetDots<T, A>>;

/// The elements of an [`OrSet`] with their dots; what can be read of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OrSetDots<T, A = ReplicaId> {
    elements: DotMap<T, DotSet<A>>,
}

impl<T: Ord, A> OrSetDots<T, A> {
    /// Whether `element` is in the set.
    pub fn contains(&self, element: &T) -> bool {
        self.elements.get(element).is_some()
    }

    /// The live dots of `element`: one, or several if it was inserted concurrently.
    pub fn dots_of(&self, element: &T) -> Option<&DotSet<A>> {
        self.elements.get(element)
    }

    /// The elements in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.elements.iter().map(|(element, _)| element)
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.elements.len() == 0
    }
}

impl<T: Ord + Clone, A: Ord + Clone> OrSet<T, A> {
    /// Inserts `element` for `actor`, which must be the caller's own id, and returns the delta.
    ///
    /// # Errors
    /// [`MintError`] if this is not the actor's own current state, or its sequence is exhausted; the set is
    /// unchanged.
    #[inline]
    pub fn insert(&mut self, actor: A, element: T) -> Result<Self, MintError> {
        let live = DotSet::from(self.context.mint(actor)?);
        let replaced = self.store.elements.replace(element.clone(), live.clone());
        Ok(Causal::delta(OrSetDots { elements: DotMap::of(element, live) }, replaced))
    }

    /// As [`insert`](Causal::insert), without the delta: cheaper for who ships
    /// [`delta_since`](crate::DeltaCrdt::delta_since) or whole states.
    ///
    /// # Errors
    /// As [`insert`](Causal::insert).
    #[inline]
    pub fn insert_in_place(&mut self, actor: A, element: T) -> Result<(), MintError> {
        let live = DotSet::from(self.context.mint(actor)?);
        self.store.elements.replace(element, live);
        Ok(())
    }

    /// Removes `element` as far as it was seen and returns the delta, which is empty if it was not there.
    ///
    /// Merging the delta of a removal elsewhere looks at every element; that of an insert does not.
    pub fn remove(&mut self, element: &T) -> Self {
        match self.store.elements.take(element) {
            Some(removed) => self.removal(removed),
            None => Causal::new(),
        }
    }

    /// As [`remove`](Causal::remove), without the delta; says whether the element was there.
    pub fn remove_in_place(&mut self, element: &T) -> bool {
        self.store.elements.take(element).is_some()
    }

    /// Removes all elements that were seen and returns the delta.
    pub fn clear(&mut self) -> Self {
        let removed = std::mem::take(&mut self.store);
        self.removal(removed)
    }
}

impl<T, A> Default for OrSetDots<T, A> {
    fn default() -> Self {
        OrSetDots { elements: DotMap::new() }
    }
}

delegate_dot_store!([T: Ord + Clone, A: Ord + Clone] OrSetDots<T, A>, elements, A, kind: Some(Kind::OrSet));
nest_causal!([T: Ord + Clone, A: Ord + Clone] OrSetDots<T, A>);

impl<T: Serialize, A: Serialize> Serialize for OrSetDots<T, A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.elements.iter())
    }
}

impl<'de, T, A> Deserialize<'de> for OrSetDots<T, A>
where
    T: Ord + Deserialize<'de>,
    A: Ord + Clone + Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let elements = DotMap::from_entries(Vec::deserialize(deserializer)?);
        let elements = elements.ok_or_else(|| D::Error::custom("an element twice or without a dot"))?;
        Ok(OrSetDots { elements })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use archipelago_clock::CLOUD_RUNS_MAX;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Crdt, DeltaCrdt,
        executions::{self, History, Subject, executions},
        laws,
    };

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u8),
        Remove(u8),
        Clear,
    }

    fn ops() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (0..4u8).prop_map(Op::Insert),
            3 => (0..4u8).prop_map(Op::Remove),
            1 => Just(Op::Clear),
        ]
    }

    struct Sets;

    impl Subject for Sets {
        type State = OrSet<u8, u8>;
        type Op = Op;
        type Value = BTreeSet<u8>;

        fn update(set: &mut Self::State, actor: u8, op: &Op) -> Option<Self::State> {
            match op {
                Op::Insert(element) => laws::in_place(
                    set,
                    |set| set.insert_in_place(actor, *element).is_ok(),
                    |set| set.insert(actor, *element).ok(),
                ),
                Op::Remove(element) => laws::in_place(
                    set,
                    |set| {
                        assert_eq!(set.contains(element), set.remove_in_place(element));
                        true
                    },
                    |set| Some(set.remove(element)),
                ),
                Op::Clear => Some(set.clear()),
            }
        }

        fn value(set: &Self::State) -> BTreeSet<u8> {
            set.iter().copied().collect()
        }

        /// An element is in the set if some insert of it happened before no removal of it.
        fn model(history: &History<Op>) -> BTreeSet<u8> {
            let removed = |insert, element| {
                history.after(insert).any(|op| match op {
                    Op::Remove(removed) => *removed == element,
                    Op::Clear => true,
                    Op::Insert(_) => false,
                })
            };
            let inserted = history.iter().filter_map(|(event, op)| match op {
                Op::Insert(element) => Some((event, *element)),
                _ => None,
            });
            inserted
                .filter(|&(event, element)| !removed(event, element))
                .map(|(_, element)| element)
                .collect()
        }
    }

    #[test]
    fn a_remove_takes_only_what_it_saw() {
        let mut us: OrSet<&str, &str> = OrSet::new();
        us.insert("us", "tea").unwrap();
        let mut eu = us.clone();
        eu.insert("eu", "tea").unwrap();
        let removal = us.remove(&"tea");
        assert!(us.is_empty());
        eu.merge(&removal);
        us.merge(&eu);
        assert!(us.contains(&"tea") && us == eu);
    }

    #[test]
    fn an_actor_whose_dots_are_missing_is_refused() {
        let mut us: OrSet<&str, &str> = OrSet::new();
        us.insert("us", "tea").unwrap();
        let second = us.insert("us", "water").unwrap();
        let mut stranger = OrSet::new();
        stranger.merge(&second);
        let before = stranger.clone();
        assert_eq!(stranger.insert("us", "milk"), Err(MintError::OwnDotsMissing));
        assert_eq!(stranger, before);
        stranger.insert("eu", "milk").unwrap();
    }

    #[test]
    fn a_reused_dot_leaves_replicas_equal() {
        let (mut one, mut two): (OrSet<_, _>, OrSet<_, _>) = (OrSet::new(), OrSet::new());
        one.insert("us", "tea").unwrap();
        two.insert("us", "milk").unwrap();
        let before = one.clone();
        one.merge(&two);
        two.merge(&before);
        assert_eq!(one, two);
    }

    #[test]
    fn encodes_as_elements_with_dots() {
        let mut set: OrSet<String, String> = OrSet::new();
        set.insert("us".into(), "tea".into()).unwrap();
        let json = r#"{"store":[["tea",[["us",1]]]],"context":{"clock":{"us":1}}}"#;
        assert_eq!(serde_json::to_string(&set).unwrap(), json);
        for wrong in [
            r#"{"store":[["tea",[["us",2]]]],"context":{"clock":{"us":1}}}"#,
            r#"{"store":[["tea",[["us",0]]]],"context":{"clock":{"us":1}}}"#,
            r#"{"store":[["tea",[]]],"context":{"clock":{"us":1}}}"#,
            r#"{"store":[["tea",[["us",1]]],["milk",[["us",1]]]],"context":{"clock":{"us":1}}}"#,
            r#"{"store":[["tea",[["us",1]]],["tea",[["us",2]]]],"context":{"clock":{"us":2}}}"#,
        ] {
            assert!(serde_json::from_str::<OrSet<String, String>>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_delta_too_scattered_for_a_decoder_is_the_whole_state() {
        let mut before: OrSet<usize, u8> = OrSet::new();
        for element in 0..2 * (CLOUD_RUNS_MAX + 2) {
            before.insert(1, element).unwrap();
        }
        let mut after = before.clone();
        for element in (0..after.len()).step_by(2) {
            after.remove(&element);
        }
        assert_eq!(after.delta_since(&before), Some(after.clone()));
        let cleared = after.clear();
        assert_eq!(cleared, after);
        assert!(after.is_empty() && after.covers(&before));
    }

    #[test]
    fn deltas_into_a_large_set_do_as_they_do_into_a_small_one() {
        let mut large: OrSet<u32, u8> = OrSet::new();
        for element in 0..200 {
            large.insert(1, element).unwrap();
        }
        let (mut source, mut followed) = (large.clone(), large.clone());
        for delta in [
            source.insert(1, 500).unwrap(),
            source.insert(1, 7).unwrap(),
            source.remove(&9),
            source.remove(&500),
        ] {
            followed.merge(&delta);
            followed.merge(&delta);
        }
        assert_eq!(followed, source);
        large.merge(&source);
        assert_eq!(large, source);
    }

    proptest! {
        #[test]
        fn holds_the_laws_and_agrees_with_the_model(run in executions(ops())) {
            executions::check::<Sets>(&run);
        }
    }
}
