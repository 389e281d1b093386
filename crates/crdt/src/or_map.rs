use archipelago_clock::{CausalContext, MintError, ReplicaId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::{
    Causal, DotStore, Kind, MapValue, Nested, dot_map::DotMap, dot_store::delegate_dot_store, encoding,
    nested::nest_causal,
};

/// A map from keys to CRDTs, in which updating a value wins over concurrently removing its key.
///
/// Values are any type that is [`Nested`]: counters, registers, sets, flags, lists, and maps again. A key is there
/// as long as its value has a live dot, so it comes with the first update and goes with [`remove`](Causal::remove),
/// or when the value empties itself, as a set does that loses its last element.
///
/// # Concurrent removal and update
///
/// Removing a key drops the dots of its value that were seen. What a concurrent update has added remains, and
/// nothing else:
///
/// - of an [`OrSet`](crate::OrSet), the elements that were inserted concurrently; of an
///   [`MvRegister`](crate::MvRegister), the values written concurrently; of a [`List`](crate::List), the items
///   inserted concurrently; of a map, the same for each of its keys;
/// - of an [`RwSet`](crate::RwSet), what was inserted and removed concurrently; of an [`EwFlag`](crate::EwFlag), a
///   concurrent enabling; of a [`DwFlag`](crate::DwFlag), a concurrent disabling;
/// - of a counter or another type without dots of its own, all that the actors contributed who updated it
///   concurrently; see [`Contributions`](crate::Contributions).
///
/// A key that is used again after its removal begins empty, and what the removal took never comes back.
///
/// # Context
///
/// All values share the one context of the outermost map, as the maps of the paper do: a dot is unique within the
/// whole, and a removal is a matter of the stores alone. [`update`](Causal::update) lends the context to the value
/// for the time of a change.
///
/// Encoded with the map of the values' stores as the store:
/// `{"store":{"tags":[["red",[["us",1]]]]},"context":{"clock":{"us":1}}}`. For the orders of operations see
/// [`Causal`].
///
/// Almeida, Shoker, Baquero 2018, section 7.3.4 (`ORMap`).
///
/// ```
/// use archipelago_crdt::{Crdt, MintError, OrMap, OrSet, PnCounter};
///
/// let mut us: OrMap<&str, OrSet<&str, &str>, &str> = OrMap::new();
/// us.update("us", "tags", |tags, actor| tags.insert(actor, "red"))?;
/// let mut eu = us.clone();
/// eu.remove(&"tags");
/// us.update("us", "tags", |tags, actor| tags.insert(actor, "blue"))?; // concurrently
/// us.merge(&eu);
/// assert_eq!(us.get(&"tags").unwrap().iter().collect::<Vec<_>>(), [&"blue"]);
///
/// let mut cart: OrMap<&str, PnCounter<&str>, &str> = OrMap::new();
/// cart.update("us", "apples", |count, actor| count.increment(actor, 3))?;
/// assert_eq!(cart.get(&"apples").unwrap().joined().value(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type OrMap<K, V, A = ReplicaId> = Causal<OrMapDots<K, V, A>>;

/// The values of an [`OrMap`] by key, as the stores of their type; what can be read of one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OrMapDots<K, V: Nested<A>, A = ReplicaId> {
    values: DotMap<K, V::Dots>,
}

impl<K: Ord, V: Nested<A>, A> OrMapDots<K, V, A> {
    /// The value under `key`. That of a causal type can be read directly, that of another is
    /// [`joined`](crate::Contributions::joined) from its contributions.
    pub fn get(&self, key: &K) -> Option<&V::Dots> {
        self.values.get(key)
    }

    /// Whether there is a value under `key`.
    pub fn contains_key(&self, key: &K) -> bool {
        self.values.get(key).is_some()
    }

    /// The keys in ascending order with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V::Dots)> {
        self.values.iter()
    }

    /// The number of keys.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.values.len() == 0
    }
}

impl<K: Ord + Clone, V: Nested<A>, A: Ord + Clone> OrMap<K, V, A> {
    /// Updates the value under `key` for `actor`, which must be the caller's own id, and returns the delta. If
    /// there is none, the change begins with the default of its type.
    ///
    /// `change` gets the value and the actor. It should make one update and hand on its delta, or the join of the
    /// deltas of several.
    ///
    /// # Errors
    /// Those of `change`, and [`MintError`]. The map is unchanged, unless `change` has itself updated a causal value
    /// and then failed: what it did stays, and its delta is contained in the next
    /// [`delta_since`](crate::DeltaCrdt::delta_since) alone.
    pub fn update<E: From<MintError>>(
        &mut self,
        actor: A,
        key: K,
        change: impl FnOnce(&mut V, A) -> Result<V::Delta, E>,
    ) -> Result<Self, E> {
        let changed = self.at(&key, |value, context| value.update_in(context, actor, change))?;
        let mut store = OrMapDots::default();
        store.values.replace(key, changed.store);
        Ok(Causal { store, context: changed.context })
    }

    /// As [`update`](Causal::update), without the delta: cheaper for who ships
    /// [`delta_since`](crate::DeltaCrdt::delta_since) or whole states. Gives what `change` gives.
    ///
    /// `change` may make any number of updates, best by such methods as
    /// [`OrSet::insert_in_place`](crate::OrSet::insert_in_place).
    ///
    /// # Errors
    /// As [`update`](Causal::update).
    pub fn update_in_place<R, E: From<MintError>>(
        &mut self,
        actor: A,
        key: K,
        change: impl FnOnce(&mut V, A) -> Result<R, E>,
    ) -> Result<R, E> {
        self.at(&key, |value, context| value.change_in(context, actor, change))
    }

    /// Changes the value under `key`, which comes with its first dot and goes with its last.
    #[inline]
    fn at<R, E>(
        &mut self,
        key: &K,
        change: impl FnOnce(&mut V::Dots, &mut CausalContext<A>) -> Result<R, E>,
    ) -> Result<R, E> {
        match self.store.values.get_mut(key) {
            Some(value) => {
                let changed = change(value, &mut self.context);
                if value.is_empty() {
                    self.store.values.take(key);
                }
                changed
            }
            None => {
                let mut value = V::Dots::default();
                let changed = change(&mut value, &mut self.context);
                self.store.values.replace(key.clone(), value);
                changed
            }
        }
    }

    /// Removes `key` with what was seen of its value and returns the delta, which is empty if it was not there.
    ///
    /// Merging the delta of a removal elsewhere looks at every key; that of an update does not.
    pub fn remove(&mut self, key: &K) -> Self {
        match self.store.values.take(key) {
            Some(removed) => self.removal(removed),
            None => Causal::new(),
        }
    }

    /// As [`remove`](Causal::remove), without the delta; says whether the key was there.
    pub fn remove_in_place(&mut self, key: &K) -> bool {
        self.store.values.take(key).is_some()
    }

    /// Removes all keys with what was seen of their values and returns the delta.
    pub fn clear(&mut self) -> Self {
        let removed = std::mem::take(&mut self.store);
        self.removal(removed)
    }
}

impl<K, V: Nested<A>, A> Default for OrMapDots<K, V, A> {
    fn default() -> Self {
        OrMapDots { values: DotMap::new() }
    }
}

delegate_dot_store!(
    [K: Ord + Clone, V: Nested<A>, A: Ord + Clone] OrMapDots<K, V, A>, values, A,
    kind: V::Dots::kind().map(|values| Kind::OrMap(Box::new(values))),
    settles: V::Dots::SETTLES
);
nest_causal!([K: Ord + Clone, V: Nested<A>, A: Ord + Clone] OrMapDots<K, V, A>);

impl<K: Serialize, V: Nested<A>, A> Serialize for OrMapDots<K, V, A>
where
    V::Dots: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.values.iter())
    }
}

impl<'de, K, V, A> Deserialize<'de> for OrMapDots<K, V, A>
where
    K: Ord + Deserialize<'de>,
    V: Nested<A>,
    V::Dots: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = DotMap::from_entries(encoding::map_of_unique_keys(deserializer)?.into_iter().collect());
        let values = values.ok_or_else(|| D::Error::custom("a key whose value has no dots"))?;
        Ok(OrMapDots { values })
    }
}

#[cfg(test)]
mod tests;
