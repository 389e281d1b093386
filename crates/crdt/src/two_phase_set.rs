use std::collections::{BTreeSet, btree_set};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::{
    Crdt, DeltaCrdt, Kind, TwoPhaseError,
    encoding::{DeserializeState, SerializeState},
    state::carry_kind,
};

/// A set whose elements can be inserted and then removed, once and for all.
///
/// Removing wins over concurrent inserting, and a removed element never comes back; it is remembered for ever. An
/// element is removed only where it has been seen. Merges may come in any order; who updates does not matter.
///
/// Encoded as `{"live":["tea"],"removed":["milk"]}`.
///
/// Shapiro et al. 2011, section 3.3.2. The departure: an element is kept in one of the two sets, not in both once
/// it is removed.
///
/// ```
/// use archipelago_crdt::{Crdt, TwoPhaseSet};
///
/// let mut us = TwoPhaseSet::new();
/// us.insert("tea")?;
/// let mut eu = us.clone();
/// eu.remove("tea")?;
/// us.merge(&eu);
/// assert!(!us.contains(&"tea"));
/// assert!(us.insert("tea").is_err());
/// # Ok::<(), archipelago_crdt::TwoPhaseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TwoPhaseSet<T: Ord> {
    live: BTreeSet<T>,
    // Disjoint from `live`.
    removed: BTreeSet<T>,
}

impl<T: Ord> TwoPhaseSet<T> {
    /// The empty set.
    pub const fn new() -> Self {
        TwoPhaseSet { live: BTreeSet::new(), removed: BTreeSet::new() }
    }

    /// Whether `element` is in the set.
    pub fn contains(&self, element: &T) -> bool {
        self.live.contains(element)
    }

    /// Whether `element` was removed, and can never be in the set again.
    pub fn is_removed(&self, element: &T) -> bool {
        self.removed.contains(element)
    }

    /// The elements in ascending order.
    pub fn iter(&self) -> btree_set::Iter<'_, T> {
        self.live.iter()
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }
}

impl<T: Ord + Clone> TwoPhaseSet<T> {
    /// Inserts `element` and returns the delta, which is empty if it was there.
    ///
    /// # Errors
    /// [`TwoPhaseError::Removed`] if the element was removed; the set is unchanged.
    pub fn insert(&mut self, element: T) -> Result<Self, TwoPhaseError> {
        if self.removed.contains(&element) {
            return Err(TwoPhaseError::Removed);
        }
        let mut delta = TwoPhaseSet::new();
        if self.live.insert(element.clone()) {
            delta.live.insert(element);
        }
        Ok(delta)
    }

    /// Removes `element` for ever and returns the delta, which is empty if it was removed before.
    ///
    /// # Errors
    /// [`TwoPhaseError::NeverInserted`] if the element was never seen here; the set is unchanged.
    pub fn remove(&mut self, element: T) -> Result<Self, TwoPhaseError> {
        let mut delta = TwoPhaseSet::new();
        if self.live.remove(&element) {
            self.removed.insert(element.clone());
            delta.removed.insert(element);
        } else if !self.removed.contains(&element) {
            return Err(TwoPhaseError::NeverInserted);
        }
        Ok(delta)
    }
}

impl<T: Ord> Default for TwoPhaseSet<T> {
    fn default() -> Self {
        TwoPhaseSet::new()
    }
}

impl<T: Ord + Clone> Crdt for TwoPhaseSet<T> {
    fn kind() -> Option<Kind> {
        Some(Kind::TwoPhaseSet)
    }

    fn merge(&mut self, other: &Self) {
        for element in &other.removed {
            self.live.remove(element);
            if !self.removed.contains(element) {
                self.removed.insert(element.clone());
            }
        }
        for element in &other.live {
            if !self.live.contains(element) && !self.removed.contains(element) {
                self.live.insert(element.clone());
            }
        }
    }

    fn covers(&self, other: &Self) -> bool {
        let known = |element| self.live.contains(element) || self.removed.contains(element);
        other.removed.is_subset(&self.removed) && other.live.iter().all(known)
    }
}

impl<T: Ord + Clone> DeltaCrdt for TwoPhaseSet<T> {
    type Delta = Self;

    fn merge_delta(&mut self, delta: &Self) {
        self.merge(delta);
    }

    fn delta_since(&self, since: &Self) -> Option<Self> {
        let unknown = |element: &&T| !since.live.contains(element) && !since.removed.contains(element);
        let delta = TwoPhaseSet {
            live: self.live.iter().filter(unknown).cloned().collect(),
            removed: self.removed.difference(&since.removed).cloned().collect(),
        };
        (!delta.live.is_empty() || !delta.removed.is_empty()).then_some(delta)
    }
}

carry_kind!([T: Ord] TwoPhaseSet<T>, Some(Kind::TwoPhaseSet));

impl<T: Ord + Serialize> SerializeState for TwoPhaseSet<T> {
    fn serialize_state<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename = "TwoPhaseSet")]
        struct Fields<'a, T> {
            live: &'a BTreeSet<T>,
            removed: &'a BTreeSet<T>,
        }
        Fields { live: &self.live, removed: &self.removed }.serialize(serializer)
    }
}

impl<'de, T: Ord + Deserialize<'de>> DeserializeState<'de> for TwoPhaseSet<T> {
    fn deserialize_state<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            deny_unknown_fields,
            rename = "TwoPhaseSet",
            bound(deserialize = "T: Ord + Deserialize<'de>")
        )]
        struct Fields<T> {
            live: BTreeSet<T>,
            removed: BTreeSet<T>,
        }
        let Fields { live, removed } = Fields::deserialize(deserializer)?;
        if !live.is_disjoint(&removed) {
            return Err(D::Error::custom("an element both live and removed"));
        }
        Ok(TwoPhaseSet { live, removed })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::executions::{self, History, Subject, executions};

    #[derive(Clone, Debug)]
    enum Op {
        Insert(u8),
        Remove(u8),
    }

    struct Sets;

    impl Subject for Sets {
        type State = TwoPhaseSet<u8>;
        type Op = Op;
        type Value = BTreeSet<u8>;

        fn update(set: &mut Self::State, _: u8, op: &Op) -> Option<Self::State> {
            match op {
                Op::Insert(element) => set.insert(*element).ok(),
                Op::Remove(element) => set.remove(*element).ok(),
            }
        }

        fn value(set: &Self::State) -> BTreeSet<u8> {
            set.iter().copied().collect()
        }

        /// What was inserted and never removed.
        fn model(history: &History<Op>) -> BTreeSet<u8> {
            let removed =
                |element| history.iter().any(|(_, op)| matches!(op, Op::Remove(it) if *it == element));
            let inserted = history.iter().filter_map(|(_, op)| match op {
                Op::Insert(element) => Some(*element),
                Op::Remove(_) => None,
            });
            inserted.filter(|&element| !removed(element)).collect()
        }
    }

    #[test]
    fn misuse_is_refused_and_changes_nothing() {
        let mut set = TwoPhaseSet::new();
        assert_eq!(set.remove("tea"), Err(TwoPhaseError::NeverInserted));
        set.insert("tea").unwrap();
        set.remove("tea").unwrap();
        let before = set.clone();
        assert_eq!(set.insert("tea"), Err(TwoPhaseError::Removed));
        assert_eq!(set.remove("tea"), Ok(TwoPhaseSet::new()));
        assert_eq!(set, before);
        assert!(set.is_removed(&"tea"));
    }

    #[test]
    fn encodes_as_two_disjoint_lists() {
        let json = r#"{"live":["tea"],"removed":["milk"]}"#;
        let set: TwoPhaseSet<String> = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&set).unwrap(), json);
        let both = r#"{"live":["tea"],"removed":["tea"]}"#;
        assert!(serde_json::from_str::<TwoPhaseSet<String>>(both).is_err());
    }

    fn ops() -> impl Strategy<Value = Op> {
        prop_oneof![2 => (0..9u8).prop_map(Op::Insert), 1 => (0..9u8).prop_map(Op::Remove)]
    }

    proptest! {
        #[test]
        fn holds_the_laws_and_agrees_with_the_model(run in executions(ops())) {
            executions::check::<Sets>(&run);
        }
    }
}
