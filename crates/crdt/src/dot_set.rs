use std::slice;

use archipelago_clock::{CausalContext, Dot, ReplicaId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::DotStore;

/// A set of live dots without contents: the simplest [`DotStore`].
///
/// Sorted; a single dot, which is the common case, takes no heap. Encoded as `[["us",5]]`.
///
/// Almeida et al. 2018, section 7.1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DotSet<A = ReplicaId>(Dots<A>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Dots<A> {
    None,
    One(Dot<A>),
    // Two or more, ascending, so that equal sets are equal values.
    Many(Vec<Dot<A>>),
}

impl<A> DotSet<A> {
    /// The empty set.
    pub const fn new() -> Self {
        DotSet(Dots::None)
    }

    /// The dots, ascending.
    pub fn as_slice(&self) -> &[Dot<A>] {
        match &self.0 {
            Dots::None => &[],
            Dots::One(dot) => slice::from_ref(dot),
            Dots::Many(dots) => dots,
        }
    }

    /// The dots, ascending.
    pub fn iter(&self) -> slice::Iter<'_, Dot<A>> {
        self.as_slice().iter()
    }

    /// From dots that ascend.
    fn from_ascending(mut dots: Vec<Dot<A>>) -> Self {
        if dots.len() > 1 { DotSet(Dots::Many(dots)) } else { dots.pop().map_or(Self::new(), Self::from) }
    }
}

impl<A> Default for DotSet<A> {
    fn default() -> Self {
        DotSet::new()
    }
}

impl<A> From<Dot<A>> for DotSet<A> {
    fn from(dot: Dot<A>) -> Self {
        DotSet(Dots::One(dot))
    }
}

impl<'a, A> IntoIterator for &'a DotSet<A> {
    type Item = &'a Dot<A>;
    type IntoIter = slice::Iter<'a, Dot<A>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<A: Ord + Clone> DotStore for DotSet<A> {
    type Actor = A;

    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    fn join(&mut self, context: &CausalContext<A>, other: &Self, other_context: &CausalContext<A>) -> u128 {
        let (mine, theirs) = (self.as_slice(), other.as_slice());
        if mine == theirs {
            return mine.len() as u128;
        }
        let mut seen = 0;
        // One dot that one side lacks is what large sets merge most; it needs no list.
        match (mine, theirs) {
            ([dot], []) => {
                let known_there = other_context.contains(dot);
                if known_there {
                    *self = DotSet::new();
                }
                return u128::from(known_there);
            }
            ([], [dot]) => {
                if !context.contains(dot) {
                    *self = DotSet::from(dot.clone());
                }
                return 0;
            }
            _ => {}
        }
        let mut kept: Vec<Dot<A>> = Vec::new();
        // Both ascend, so what is kept of theirs can be put in its place among ours as we go.
        let mut rest = theirs.iter().peekable();
        let unseen = |dot: &&Dot<A>| !context.contains(dot);
        for dot in mine {
            while let Some(their) = rest.next_if(|their| *their < dot) {
                kept.extend(Some(their).filter(unseen).cloned());
            }
            let in_both = rest.next_if(|their| *their == dot).is_some();
            let known_there = in_both || other_context.contains(dot);
            seen += u128::from(known_there);
            if in_both || !known_there {
                kept.push(dot.clone());
            }
        }
        kept.extend(rest.filter(unseen).cloned());
        *self = DotSet::from_ascending(kept);
        seen
    }

    fn news(
        &self,
        context: &CausalContext<A>,
        since: &Self,
        since_context: &CausalContext<A>,
        known: &mut Vec<Dot<A>>,
    ) -> Self {
        let (mine, theirs) = (self.as_slice(), since.as_slice());
        if mine == theirs {
            return DotSet::new();
        }
        let dead = |dot: &&Dot<A>| mine.binary_search(dot).is_err() && context.contains(dot);
        known.extend(theirs.iter().filter(dead).cloned());
        DotSet::from_ascending(mine.iter().filter(|dot| !since_context.contains(dot)).cloned().collect())
    }

    fn visit_dots<'a>(&'a self, visit: &mut dyn FnMut(&'a Dot<A>)) {
        self.iter().for_each(visit);
    }
}

impl<A: Serialize> Serialize for DotSet<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|dot| (&dot.actor, dot.sequence)))
    }
}

impl<'de, A: Ord + Deserialize<'de>> Deserialize<'de> for DotSet<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs: Vec<(A, u64)> = Vec::deserialize(deserializer)?;
        let dots: Vec<Dot<A>> =
            pairs.into_iter().map(|(actor, sequence)| Dot::new(actor, sequence)).collect();
        if !dots.is_sorted_by(|a, b| a < b) {
            return Err(D::Error::custom("the dots of a set must ascend"));
        }
        Ok(DotSet::from_ascending(dots))
    }
}
