use archipelago_clock::{CausalContext, Dot, MintError, ReplicaId, VectorClock};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::{
    Causal, DotSet, DotStore, Kind, dot_map::DotMap, dot_store::delegate_dot_store, nested::nest_causal,
};

/// A set in which removing wins over concurrent adding.
///
/// Inserting and removing both give the element a new dot, of adding or of removing, in place of all that were
/// seen. An element is in the set if it has dots of adding only. So the latest operations on it decide, and of
/// concurrent ones a removal.
///
/// A removed element keeps its dot of removing, also one that was never there, lest a concurrent insert bring it
/// back. [`forget_stable`](Causal::forget_stable) reclaims those that no insert can be concurrent with any more.
///
/// Encoded with the list of elements, each with its adding and removing dots, as the store:
/// `{"store":[["tea",[["us",1]],[]]],"context":{"clock":{"us":1}}}`. For the orders of operations see [`Causal`].
///
/// Almeida, Shoker, Baquero 2018, section 7.3.2 (`RWSet`).
///
/// ```
/// use archipelago_crdt::{Crdt, RwSet};
///
/// let mut us: RwSet<&str, &str> = RwSet::new();
/// us.insert("us", "tea")?;
/// let mut eu = us.clone();
/// eu.remove("eu", "tea")?;
/// us.insert("us", "tea")?; // concurrently
/// us.merge(&eu);
/// assert!(!us.contains(&"tea"));
/// # Ok::<(), archipelago_crdt::MintError>(())
/// ```
pub type RwSet<T, A = ReplicaId> = Causal<RwSetDots<T, A>>;

/// The elements of an [`RwSet`] with their dots; what can be read of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RwSetDots<T, A = ReplicaId> {
    elements: DotMap<T, Latest<A>>,
}

/// The dots of the latest operations on one element.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Latest<A> {
    adding: DotSet<A>,
    removing: DotSet<A>,
}

impl<T: Ord, A: Ord + Clone> RwSetDots<T, A> {
    /// Whether `element` is in the set.
    pub fn contains(&self, element: &T) -> bool {
        self.elements.get(element).is_some_and(Latest::is_present)
    }

    /// The elements in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.elements.iter().filter(|(_, latest)| latest.is_present()).map(|(element, _)| element)
    }

    /// The number of elements, which walks them all.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there are no elements. There may be removed ones that are still remembered.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl<T: Ord + Clone, A: Ord + Clone> RwSet<T, A> {
    /// Inserts `element` for `actor`, which must be the caller's own id, and returns the delta.
    ///
    /// # Errors
    /// [`MintError`] if this is not the actor's own current state, or its sequence is exhausted; the set is
    /// unchanged.
    pub fn insert(&mut self, actor: A, element: T) -> Result<Self, MintError> {
        let adding = DotSet::from(self.context.mint(actor)?);
        Ok(self.replace(element, Latest { adding, removing: DotSet::new() }))
    }

    /// Removes `element` for `actor`, which must be the caller's own id, whether or not it is in the set, and
    /// returns the delta.
    ///
    /// # Errors
    /// As [`insert`](Causal::insert).
    pub fn remove(&mut self, actor: A, element: T) -> Result<Self, MintError> {
        let removing = DotSet::from(self.context.mint(actor)?);
        Ok(self.replace(element, Latest { adding: DotSet::new(), removing }))
    }

    /// Forgets the removed elements whose removals are all causally stable: seen by every replica, while
    /// everything that any replica did before it saw them has been merged here. Returns the delta.
    ///
    /// The value stays the same. Replicas may forget at different times, or never. If `stable` claims too much, an
    /// insert concurrent with a forgotten removal comes back into the set; replicas agree even then.
    pub fn forget_stable(&mut self, stable: &VectorClock<A>) -> Self {
        let is_stable = |latest: &Latest<A>| {
            !latest.removing.is_empty() && latest.removing.iter().all(|dot| stable.contains(dot))
        };
        let entries = self.store.elements.iter();
        let forgotten: Vec<T> =
            entries.filter(|(_, latest)| is_stable(latest)).map(|(element, _)| element.clone()).collect();
        let mut gone = RwSetDots::default();
        for element in forgotten {
            if let Some(latest) = self.store.elements.take(&element) {
                gone.elements.replace(element, latest);
            }
        }
        self.removal(gone)
    }

    fn replace(&mut self, element: T, latest: Latest<A>) -> Self {
        let replaced = self.store.elements.replace(element.clone(), latest.clone());
        let mut delta = RwSetDots::default();
        delta.elements.replace(element, latest);
        Causal::delta(delta, replaced)
    }
}

impl<A: Ord + Clone> Latest<A> {
    fn is_present(&self) -> bool {
        self.removing.is_empty()
    }
}

impl<A> Default for Latest<A> {
    fn default() -> Self {
        Latest { adding: DotSet::new(), removing: DotSet::new() }
    }
}

impl<T, A> Default for RwSetDots<T, A> {
    fn default() -> Self {
        RwSetDots { elements: DotMap::new() }
    }
}

delegate_dot_store!([T: Ord + Clone, A: Ord + Clone] RwSetDots<T, A>, elements, A, kind: Some(Kind::RwSet));
nest_causal!([T: Ord + Clone, A: Ord + Clone] RwSetDots<T, A>);

impl<A: Ord + Clone> DotStore for Latest<A> {
    type Actor = A;

    fn is_empty(&self) -> bool {
        self.adding.is_empty() && self.removing.is_empty()
    }

    fn join(&mut self, context: &CausalContext<A>, other: &Self, other_context: &CausalContext<A>) -> u128 {
        self.adding.join(context, &other.adding, other_context)
            + self.removing.join(context, &other.removing, other_context)
    }

    fn news(
        &self,
        context: &CausalContext<A>,
        since: &Self,
        since_context: &CausalContext<A>,
        known: &mut Vec<Dot<A>>,
    ) -> Self {
        Latest {
            adding: self.adding.news(context, &since.adding, since_context, known),
            removing: self.removing.news(context, &since.removing, since_context, known),
        }
    }

    fn visit_dots<'a>(&'a self, visit: &mut dyn FnMut(&'a Dot<A>)) {
        self.adding.visit_dots(visit);
        self.removing.visit_dots(visit);
    }
}

impl<T: Serialize, A: Serialize> Serialize for RwSetDots<T, A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries = self.elements.iter();
        serializer.collect_seq(entries.map(|(element, latest)| (element, &latest.adding, &latest.removing)))
    }
}

impl<'de, T, A> Deserialize<'de> for RwSetDots<T, A>
where
    T: Ord + Deserialize<'de>,
    A: Ord + Clone + Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let triples: Vec<(T, DotSet<A>, DotSet<A>)> = Vec::deserialize(deserializer)?;
        let entries =
            triples.into_iter().map(|(element, adding, removing)| (element, Latest { adding, removing }));
        let elements = DotMap::from_entries(entries.collect());
        let elements = elements.ok_or_else(|| D::Error::custom("an element twice or without a dot"))?;
        Ok(RwSetDots { elements })
    }
}

#[cfg(test)]
mod tests;
