use std::{
    borrow::Borrow,
    cmp::Ordering,
    collections::{BTreeMap, btree_map::Entry},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    Crdt, DeltaCrdt, Kind, RegisterError,
    dot_store::FEWER_TIMES,
    encoding::{self, DeserializeState, SerializeState},
    state::carry_kind,
};

/// A map in which, for each key, the write with the greatest stamp wins; removing a key is a write too.
///
/// The stamp `S` is anything with a total order that no two writes share, as in [`LwwRegister`]. A removed key
/// keeps the stamp of its removal, lest an earlier write that arrives later bring it back. Should two writes share
/// a stamp, a value wins over a removal and the greater value over the lesser, so that replicas agree.
///
/// Encoded as the map from key to stamp and value, without a value where the key was removed:
/// `{"name":{"stamp":2000,"value":"Bob"},"phone":{"stamp":3000}}`.
///
/// Merges may come in any order. A write must have a greater stamp than what it replaces, which an HLC that has
/// observed what was merged gives of itself; who writes does not matter.
///
/// Shapiro et al. 2011, section 3.2.1 for each key, and the LWW-element-set of section 3.3.3 for the removals.
///
/// [`LwwRegister`]: crate::LwwRegister
///
/// ```
/// use archipelago_crdt::{Crdt, LwwMap};
///
/// let mut us = LwwMap::new();
/// us.insert("name", "Alice", 1000)?;
/// let mut eu = us.clone();
/// us.insert("name", "Bob", 2000)?;
/// eu.remove("name", 3000)?; // concurrently
/// us.merge(&eu);
/// assert_eq!(us.get(&"name"), None);
/// # Ok::<(), archipelago_crdt::RegisterError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LwwMap<K, V, S> {
    writes: BTreeMap<K, Write<V, S>>,
}

// Writes compare by stamp first, and no value is less than any.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Write<V, S> {
    stamp: S,
    // Left out if there is none, so that a value that encodes as null is told from a removal.
    #[serde(
        default = "Option::default",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present",
        bound(deserialize = "V: Deserialize<'de>")
    )]
    value: Option<V>,
}

fn present<'de, V: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<V>, D::Error> {
    V::deserialize(deserializer).map(Some)
}

impl<K, V, S> LwwMap<K, V, S> {
    /// The empty map.
    pub const fn new() -> Self {
        LwwMap { writes: BTreeMap::new() }
    }

    /// The keys that have a value, in ascending order, with it.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.writes.iter().filter_map(|(key, write)| Some((key, write.value.as_ref()?)))
    }

    /// The number of keys that have a value, which walks them all.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether no key has a value.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl<K: Ord, V, S> LwwMap<K, V, S> {
    /// The value under `key`.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.writes.get(key)?.value.as_ref()
    }

    /// Whether there is a value under `key`.
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// The writes and removals with such stamps, borrowed: encodes as the owned map does, without copies.
    ///
    /// This is how to send another replica what it lacks without a copy of its state. Let stamps name their actor, and
    /// each replica keep for each actor the stamp up to which it has everything of that actor. News are then the writes
    /// with greater stamps than the other one's; who has merged them takes over the sender's stamps where they are
    /// greater.
    ///
    /// ```
    /// use archipelago_crdt::{Crdt, LwwMap};
    ///
    /// let mut us = LwwMap::new();
    /// us.insert("name".to_owned(), "Alice".to_owned(), (1000, "us"))?;
    /// us.insert("phone".to_owned(), "555".to_owned(), (2000, "us"))?;
    /// let news = us.news_by_stamp(|(time, actor)| *actor != "us" || *time > 1000);
    /// assert_eq!(serde_json::to_string(&news).unwrap(), r#"{"phone":{"stamp":[2000,"us"],"value":"555"}}"#);
    /// # Ok::<(), archipelago_crdt::RegisterError>(())
    /// ```
    pub fn news_by_stamp(&self, mut is_news: impl FnMut(&S) -> bool) -> LwwMap<&K, &V, &S> {
        let mut news = Vec::new();
        for (key, Write { stamp, value }) in &self.writes {
            if is_news(stamp) {
                news.push((key, Write { stamp, value: value.as_ref() }));
            }
        }
        LwwMap { writes: BTreeMap::from_iter(news) }
    }

    /// The stamp of the last write or removal of `key`.
    pub fn stamp(&self, key: &K) -> Option<&S> {
        self.writes.get(key).map(|write| &write.stamp)
    }
}

impl<K: Ord, V, S: Ord> LwwMap<K, V, S> {
    /// As [`insert`](Self::insert), without the delta: cheaper for who ships
    /// [`delta_since`](DeltaCrdt::delta_since) or whole states.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn insert_in_place(&mut self, key: K, value: V, stamp: S) -> Result<(), RegisterError> {
        self.write_in_place(key, Write { stamp, value: Some(value) })
    }

    /// As [`remove`](Self::remove), without the delta.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn remove_in_place(&mut self, key: K, stamp: S) -> Result<(), RegisterError> {
        self.write_in_place(key, Write { stamp, value: None })
    }

    fn write_in_place(&mut self, key: K, write: Write<V, S>) -> Result<(), RegisterError> {
        match self.writes.entry(key) {
            Entry::Occupied(current) if current.get().stamp >= write.stamp => {
                return Err(RegisterError::StaleStamp);
            }
            Entry::Occupied(mut current) => *current.get_mut() = write,
            Entry::Vacant(place) => drop(place.insert(write)),
        }
        Ok(())
    }
}

impl<K: Ord + Clone, V: Clone, S: Ord + Clone> LwwMap<K, V, S> {
    /// Writes `value` under `key` at `stamp` and returns the delta.
    ///
    /// # Errors
    /// [`RegisterError::StaleStamp`] if the key was written or removed at that stamp or a later one; the map is
    /// unchanged.
    pub fn insert(&mut self, key: K, value: V, stamp: S) -> Result<Self, RegisterError> {
        self.write(key, Write { stamp, value: Some(value) })
    }

    /// Removes `key` at `stamp`, whether or not it is there, and returns the delta.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn remove(&mut self, key: K, stamp: S) -> Result<Self, RegisterError> {
        self.write(key, Write { stamp, value: None })
    }

    fn write(&mut self, key: K, write: Write<V, S>) -> Result<Self, RegisterError> {
        self.write_in_place(key.clone(), write.clone())?;
        Ok(LwwMap { writes: BTreeMap::from([(key, write)]) })
    }
}

impl<K: Ord, V: Ord, S: Ord> LwwMap<K, V, S> {
    /// As [`delta_since`](DeltaCrdt::delta_since), borrowed.
    fn news_since(&self, since: &Self) -> Option<LwwMap<&K, &V, &S>> {
        let mut theirs = since.writes.iter();
        let mut their_next = theirs.next();
        let mut news = Vec::new();
        for (key, ours) in &self.writes {
            let mut known = None;
            while let Some((their_key, their)) = their_next {
                match their_key.cmp(key) {
                    Ordering::Less => {}
                    Ordering::Equal => known = Some(their),
                    Ordering::Greater => break,
                }
                their_next = theirs.next();
            }
            if known < Some(ours) {
                news.push((key, Write { stamp: &ours.stamp, value: ours.value.as_ref() }));
            }
        }
        (!news.is_empty()).then(|| LwwMap { writes: BTreeMap::from_iter(news) })
    }

    /// Joins writes that come in ascending order of key and are not few, walking both side by side.
    fn join<QK: Borrow<K>, QW: Borrow<Write<V, S>>>(
        &mut self,
        mut theirs: impl Iterator<Item = (QK, QW)>,
        own: impl Fn((QK, QW)) -> (K, Write<V, S>),
        replace: impl Fn(&mut Write<V, S>, QW),
    ) {
        let mut their_next = theirs.next();
        let mut added = Vec::new();
        for (key, ours) in &mut self.writes {
            while let Some((their_key, their)) = their_next.take() {
                match their_key.borrow().cmp(key) {
                    Ordering::Less => added.push(own((their_key, their))),
                    Ordering::Equal if *ours < *their.borrow() => replace(ours, their),
                    Ordering::Equal => {}
                    Ordering::Greater => {
                        their_next = Some((their_key, their));
                        break;
                    }
                }
                their_next = theirs.next();
            }
        }
        added.extend(their_next.into_iter().chain(theirs).map(own));
        if added.len() > self.writes.len() / 2 {
            // Linear in both, where inserting one by one searches each place.
            self.writes.append(&mut BTreeMap::from_iter(added));
        } else {
            self.writes.extend(added);
        }
    }
}

impl<K, V, S> Default for LwwMap<K, V, S> {
    fn default() -> Self {
        LwwMap::new()
    }
}

impl<K: Ord + Clone, V: Ord + Clone, S: Ord + Clone> Crdt for LwwMap<K, V, S> {
    fn kind() -> Option<Kind> {
        Some(Kind::LwwMap)
    }

    fn merge(&mut self, other: &Self) {
        if other.writes.len() >= self.writes.len() / FEWER_TIMES {
            self.join(other.writes.iter(), |(key, write)| (key.clone(), write.clone()), Write::clone_from);
            return;
        }
        for (key, theirs) in &other.writes {
            match self.writes.get_mut(key) {
                Some(ours) if *ours < *theirs => ours.clone_from(theirs),
                Some(_) => {}
                None => {
                    self.writes.insert(key.clone(), theirs.clone());
                }
            }
        }
    }

    fn absorb(&mut self, other: Self) {
        if other.writes.len() >= self.writes.len() / FEWER_TIMES {
            self.join(other.writes.into_iter(), |entry| entry, |ours, theirs| *ours = theirs);
            return;
        }
        for (key, theirs) in other.writes {
            match self.writes.entry(key) {
                Entry::Occupied(mut ours) if *ours.get() < theirs => *ours.get_mut() = theirs,
                Entry::Occupied(_) => {}
                Entry::Vacant(place) => drop(place.insert(theirs)),
            }
        }
    }

    fn covers(&self, other: &Self) -> bool {
        other.writes.iter().all(|(key, theirs)| self.writes.get(key) >= Some(theirs))
    }
}

impl<K: Ord + Clone, V: Ord + Clone, S: Ord + Clone> DeltaCrdt for LwwMap<K, V, S> {
    type Delta = Self;

    fn merge_delta(&mut self, delta: &Self) {
        self.merge(delta);
    }

    fn delta_since(&self, since: &Self) -> Option<Self> {
        let news = self.news_since(since)?.writes.into_iter();
        let owned = news.map(|(key, Write { stamp, value })| {
            (key.clone(), Write { stamp: stamp.clone(), value: value.cloned() })
        });
        Some(LwwMap { writes: owned.collect() })
    }
}

carry_kind!([K, V, S] LwwMap<K, V, S>, Some(Kind::LwwMap));

impl<K: Serialize, V: Serialize, S: Serialize> SerializeState for LwwMap<K, V, S> {
    fn serialize_state<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        self.writes.serialize(serializer)
    }
}

impl<'de, K, V, S> DeserializeState<'de> for LwwMap<K, V, S>
where
    K: Ord + Deserialize<'de>,
    V: Deserialize<'de>,
    S: Deserialize<'de>,
{
    fn deserialize_state<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(LwwMap { writes: encoding::map_of_unique_keys(deserializer)? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Value,
        executions::{self, History, Subject, executions},
        laws,
    };

    #[derive(Clone, Debug)]
    struct Op {
        key: u8,
        value: Option<u8>,
        /// How far the wall clock has advanced; far ahead on one replica, late on another.
        time: u8,
    }

    struct Maps;

    impl Subject for Maps {
        type State = LwwMap<u8, u8, (u8, u8)>;
        type Op = Op;
        type Value = BTreeMap<u8, u8>;

        fn update(map: &mut Self::State, actor: u8, op: &Op) -> Option<Self::State> {
            let stamp = (op.time, actor);
            match op.value {
                Some(value) => laws::in_place(
                    map,
                    |map| map.insert_in_place(op.key, value, stamp).is_ok(),
                    |map| map.insert(op.key, value, stamp).ok(),
                ),
                None => laws::in_place(
                    map,
                    |map| map.remove_in_place(op.key, stamp).is_ok(),
                    |map| map.remove(op.key, stamp).ok(),
                ),
            }
        }

        fn value(map: &Self::State) -> BTreeMap<u8, u8> {
            map.iter().map(|(key, value)| (*key, *value)).collect()
        }

        /// For each key what was written at the latest stamp, of those that share it the greatest.
        fn model(history: &History<Op>) -> BTreeMap<u8, u8> {
            let mut latest: BTreeMap<u8, ((u8, u8), Option<u8>)> = BTreeMap::new();
            for (event, op) in history.iter() {
                let write = ((op.time, history.actor(event)), op.value);
                let entry = latest.entry(op.key).or_insert(write);
                *entry = write.max(*entry);
            }
            latest.into_iter().filter_map(|(key, (_, value))| Some((key, value?))).collect()
        }
    }

    #[test]
    fn a_stale_write_is_an_error_that_changes_nothing() {
        let mut map = LwwMap::new();
        map.insert("a", 1, 10).unwrap();
        let before = map.clone();
        assert_eq!(map.insert("a", 2, 10), Err(RegisterError::StaleStamp));
        assert_eq!(map.remove("a", 9), Err(RegisterError::StaleStamp));
        assert_eq!(map, before);
    }

    #[test]
    fn a_removal_wins_over_an_earlier_write_that_arrives_later() {
        let (mut us, mut eu) = (LwwMap::new(), LwwMap::new());
        us.remove("a", 20).unwrap();
        eu.insert("a", 1, 10).unwrap();
        us.merge(&eu);
        assert!(us.is_empty());
        assert_eq!(us.stamp(&"a"), Some(&20));
    }

    #[test]
    fn a_null_is_a_value_and_a_removal_has_none() {
        let mut map = LwwMap::new();
        map.insert("a".to_owned(), Value::Null, 1).unwrap();
        map.remove("b".to_owned(), 2).unwrap();
        let json = r#"{"a":{"stamp":1,"value":null},"b":{"stamp":2}}"#;
        assert_eq!(serde_json::to_string(&map).unwrap(), json);
        assert_eq!(serde_json::from_str::<LwwMap<String, Value, i32>>(json).unwrap(), map);
        assert!(
            serde_json::from_str::<LwwMap<String, Value, i32>>(r#"{"a":{"stamp":1},"a":{"stamp":2}}"#)
                .is_err()
        );
    }

    fn ops() -> impl Strategy<Value = Op> {
        (0..3u8, proptest::option::of(0..9u8), any::<u8>()).prop_map(|(key, value, time)| Op {
            key,
            value,
            time,
        })
    }

    proptest! {
        #[test]
        fn holds_the_laws_and_agrees_with_the_model(run in executions(ops())) {
            executions::check::<Maps>(&run);
        }
    }
}
