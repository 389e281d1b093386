use std::collections::{BTreeSet, btree_set};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    Crdt, DeltaCrdt, Kind,
    encoding::{DeserializeState, SerializeState},
    state::carry_kind,
};

/// A set that only grows, joined by union.
///
/// Shapiro et al. 2011, section 3.3.1. Encoded as the list of its elements in ascending order: `["a","b"]`.
///
/// ```
/// use archipelago_crdt::{Crdt, GSet};
///
/// let mut us = GSet::from_iter(["coffee", "tea"]);
/// us.merge(&GSet::from_iter(["tea", "water"]));
/// assert_eq!(us, GSet::from_iter(["coffee", "tea", "water"]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GSet<T: Ord> {
    elements: BTreeSet<T>,
}

impl<T: Ord> GSet<T> {
    /// The empty set.
    pub const fn new() -> Self {
        GSet { elements: BTreeSet::new() }
    }

    /// Whether `element` was ever inserted on a replica whose state has been merged here.
    pub fn contains(&self, element: &T) -> bool {
        self.elements.contains(element)
    }

    /// The elements in ascending order.
    pub fn iter(&self) -> btree_set::Iter<'_, T> {
        self.elements.iter()
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }
}

impl<T: Ord + Clone> GSet<T> {
    /// Inserts `element` and returns the delta, which is empty if the set held it already.
    pub fn insert(&mut self, element: T) -> Self {
        let mut delta = GSet::new();
        if self.elements.insert(element.clone()) {
            delta.elements.insert(element);
        }
        delta
    }
}

impl<T: Ord> Default for GSet<T> {
    fn default() -> Self {
        GSet::new()
    }
}

impl<T: Ord> FromIterator<T> for GSet<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        GSet { elements: elements.into_iter().collect() }
    }
}

impl<'a, T: Ord> IntoIterator for &'a GSet<T> {
    type Item = &'a T;
    type IntoIter = btree_set::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: Ord + Clone> Crdt for GSet<T> {
    fn kind() -> Option<Kind> {
        Some(Kind::GSet)
    }

    fn merge(&mut self, other: &Self) {
        for element in &other.elements {
            if !self.elements.contains(element) {
                self.elements.insert(element.clone());
            }
        }
    }
}

impl<T: Ord + Clone> DeltaCrdt for GSet<T> {
    type Delta = Self;

    fn merge_delta(&mut self, delta: &Self) {
        self.merge(delta);
    }

    fn delta_since(&self, since: &Self) -> Option<Self> {
        let delta: GSet<T> = self.elements.difference(&since.elements).cloned().collect();
        (!delta.is_empty()).then_some(delta)
    }
}

carry_kind!([T: Ord] GSet<T>, Some(Kind::GSet));

impl<T: Ord + Serialize> SerializeState for GSet<T> {
    fn serialize_state<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.elements.serialize(serializer)
    }
}

impl<'de, T: Ord + Deserialize<'de>> DeserializeState<'de> for GSet<T> {
    fn deserialize_state<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeSet::deserialize(deserializer).map(|elements| GSet { elements })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::laws;

    fn sets() -> impl Strategy<Value = GSet<u8>> {
        proptest::collection::vec(0..8u8, 0..6).prop_map(GSet::from_iter)
    }

    #[test]
    fn inserting_again_gives_an_empty_delta() {
        let mut set = GSet::new();
        assert_eq!(set.insert("a").len(), 1);
        assert!(set.insert("a").is_empty());
    }

    #[test]
    fn encodes_as_a_sorted_list() {
        let set: GSet<String> = serde_json::from_str(r#"["b","a","b"]"#).unwrap();
        assert_eq!(serde_json::to_string(&set).unwrap(), r#"["a","b"]"#);
    }

    proptest! {
        #[test]
        fn is_a_join_semilattice(a in sets(), b in sets(), c in sets()) {
            laws::join(&a, &b, &c);
        }

        #[test]
        fn deltas_say_what_states_say(a in sets(), b in sets(), x in sets()) {
            laws::delta(&a, &b, &x);
        }

        #[test]
        fn inserts_move_up_and_return_their_delta(a in sets(), y in sets(), element in 0..9u8) {
            laws::update(&a, &y, |set| Some(set.insert(element)));
        }

        #[test]
        fn survives_encoding(a in sets(), b in sets()) {
            laws::encoding(&a, &b);
        }
    }
}
