use std::{
    cmp::Ordering,
    collections::BTreeMap,
    hash::{Hash, Hasher},
};

use archipelago_clock::{CausalContext, Dot};

use crate::{DotStore, dot_store::FEWER_TIMES};

/// A [`DotStore`] for each key, none of them empty: what sets and maps have in common.
///
/// A single entry, which deltas and small sets have, takes no heap.
///
/// Almeida et al. 2018, section 7.1.
#[derive(Clone, Debug)]
pub(crate) struct DotMap<K, D> {
    // One of the two is empty.
    single: Option<(K, D)>,
    many: BTreeMap<K, D>,
}

impl<K, D> DotMap<K, D> {
    pub(crate) const fn new() -> Self {
        DotMap { single: None, many: BTreeMap::new() }
    }

    /// The map with this entry alone, whose dots are not empty.
    pub(crate) const fn of(key: K, dots: D) -> Self {
        DotMap { single: Some((key, dots)), many: BTreeMap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.single.is_some()) + self.many.len()
    }

    /// The entries in ascending order of key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &D)> {
        self.single.iter().map(|(key, dots)| (key, dots)).chain(&self.many)
    }
}

impl<K: Ord, D> DotMap<K, D> {
    pub(crate) fn get(&self, key: &K) -> Option<&D> {
        match &self.single {
            Some((only, dots)) => (only == key).then_some(dots),
            None => self.many.get(key),
        }
    }

    /// What is under `key`, to change. The caller takes it out if it becomes empty.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut D> {
        match &mut self.single {
            Some((only, dots)) => (only == key).then_some(dots),
            None => self.many.get_mut(key),
        }
    }

    pub(crate) fn take(&mut self, key: &K) -> Option<D> {
        match self.single.take_if(|(only, _)| only == key) {
            Some((_, dots)) => Some(dots),
            None => self.many.remove(key),
        }
    }

    /// All entries as a map, to be changed as one.
    fn spread(&mut self) -> &mut BTreeMap<K, D> {
        if let Some((key, dots)) = self.single.take() {
            self.many.insert(key, dots);
        }
        &mut self.many
    }
}

impl<K: Ord, D: DotStore> DotMap<K, D> {
    /// Puts `dots` under `key` and gives what was there. Empty dots leave no entry.
    #[inline]
    pub(crate) fn replace(&mut self, key: K, dots: D) -> Option<D> {
        if dots.is_empty() {
            return self.take(&key);
        }
        if !self.many.is_empty() {
            return self.many.insert(key, dots);
        }
        match &mut self.single {
            None => {
                self.single = Some((key, dots));
                None
            }
            Some((only, held)) if *only == key => Some(std::mem::replace(held, dots)),
            Some(_) => self.spread().insert(key, dots),
        }
    }

    /// From decoded entries: `None` if a key occurs twice or has no dots.
    pub(crate) fn from_entries(entries: Vec<(K, D)>) -> Option<Self> {
        let (given, empty) = (entries.len(), entries.iter().any(|(_, dots)| dots.is_empty()));
        let map = DotMap::from_map(BTreeMap::from_iter(entries));
        (map.len() == given && !empty).then_some(map)
    }

    fn from_map(mut many: BTreeMap<K, D>) -> Self {
        let single = if many.len() == 1 { many.pop_first() } else { None };
        DotMap { single, many }
    }
}

impl<K: PartialEq, D: PartialEq> PartialEq for DotMap<K, D> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<K: Eq, D: Eq> Eq for DotMap<K, D> {}

impl<K: Hash, D: Hash> Hash for DotMap<K, D> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len().hash(state);
        self.iter().for_each(|entry| entry.hash(state));
    }
}

impl<K, D> Default for DotMap<K, D> {
    fn default() -> Self {
        DotMap::new()
    }
}

impl<K: Ord + Clone, D: DotStore> DotMap<K, D> {
    /// Joins a map that is small beside this one, key by key. There may then be dots left in `other_context` that
    /// are live here under keys that `other` has not; only if there are, the whole map is walked.
    fn join_few(
        &mut self,
        context: &CausalContext<D::Actor>,
        other: &Self,
        other_context: &CausalContext<D::Actor>,
    ) -> u128 {
        let in_common = other_context.len() - other_context.difference(context).len();
        let mut seen = 0;
        let ours = self.spread();
        for (key, theirs) in other.iter() {
            if let Some(mine) = ours.get_mut(key) {
                seen += mine.join(context, theirs, other_context);
                if mine.is_empty() {
                    ours.remove(key);
                }
            } else {
                let mut new = D::default();
                new.join(context, theirs, other_context);
                if !new.is_empty() {
                    ours.insert(key.clone(), new);
                }
            }
        }
        if seen < in_common {
            let nothing = D::default();
            ours.retain(|key, mine| {
                if other.get(key).is_none() {
                    seen += mine.join(context, &nothing, other_context);
                }
                !mine.is_empty()
            });
        }
        seen
    }

    /// Joins a map of any size, walking both side by side.
    fn join_many(
        &mut self,
        context: &CausalContext<D::Actor>,
        other: &Self,
        other_context: &CausalContext<D::Actor>,
    ) -> u128 {
        let nothing = D::default();
        let mut seen = 0;
        let mut added = Vec::new();
        let mut add = |key: &K, theirs: &D| {
            let mut new = D::default();
            new.join(context, theirs, other_context);
            if !new.is_empty() {
                added.push((key.clone(), new));
            }
        };
        let mut theirs = other.iter();
        let mut their_next = theirs.next();
        let ours = self.spread();
        ours.retain(|key, mine| {
            let mut same = &nothing;
            while let Some((their_key, dots)) = their_next {
                match their_key.cmp(key) {
                    Ordering::Less => add(their_key, dots),
                    Ordering::Equal => same = dots,
                    Ordering::Greater => break,
                }
                their_next = theirs.next();
            }
            seen += mine.join(context, same, other_context);
            !mine.is_empty()
        });
        their_next.into_iter().chain(theirs).for_each(|(key, dots)| add(key, dots));
        if added.len() > ours.len() / 8 {
            // Linear, where inserting one by one searches each place.
            ours.append(&mut BTreeMap::from_iter(added));
        } else {
            ours.extend(added);
        }
        seen
    }
}

impl<K: Ord + Clone, D: DotStore> DotStore for DotMap<K, D> {
    type Actor = D::Actor;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn join(
        &mut self,
        context: &CausalContext<D::Actor>,
        other: &Self,
        other_context: &CausalContext<D::Actor>,
    ) -> u128 {
        if other.len() < self.len() / FEWER_TIMES {
            self.join_few(context, other, other_context)
        } else {
            self.join_many(context, other, other_context)
        }
    }

    fn news(
        &self,
        context: &CausalContext<D::Actor>,
        since: &Self,
        since_context: &CausalContext<D::Actor>,
        known: &mut Vec<Dot<D::Actor>>,
    ) -> Self {
        let nothing = D::default();
        let mut news = Vec::new();
        let mut theirs = since.iter().peekable();
        for (key, mine) in self.iter() {
            while let Some((_, gone)) = theirs.next_if(|(their_key, _)| *their_key < key) {
                nothing.news(context, gone, since_context, known);
            }
            let before =
                theirs.next_if(|(their_key, _)| *their_key == key).map_or(&nothing, |(_, dots)| dots);
            let new = mine.news(context, before, since_context, known);
            if !new.is_empty() {
                news.push((key.clone(), new));
            }
        }
        for (_, gone) in theirs {
            nothing.news(context, gone, since_context, known);
        }
        DotMap::from_map(BTreeMap::from_iter(news))
    }

    const SETTLES: bool = D::SETTLES;

    fn settle(&mut self, context: &CausalContext<D::Actor>) {
        if D::SETTLES {
            let single = self.single.iter_mut().map(|(_, dots)| dots);
            single.chain(self.many.values_mut()).for_each(|dots| dots.settle(context));
        }
    }

    fn visit_dots<'a>(&'a self, visit: &mut dyn FnMut(&'a Dot<D::Actor>)) {
        self.iter().for_each(|(_, dots)| dots.visit_dots(visit));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Causal, Crdt, OrSet};

    fn sets(actor: u8) -> impl Strategy<Value = OrSet<u8, u8>> {
        proptest::collection::vec((any::<bool>(), 0..12u8), 0..24).prop_map(move |steps| {
            let mut set = OrSet::new();
            for (insert, element) in steps {
                if insert {
                    set.insert(actor, element).unwrap()
                } else {
                    set.remove(&element)
                };
            }
            set
        })
    }

    proptest! {
        #[test]
        fn few_join_as_many_do(a in sets(1), b in sets(2), c in sets(3), drop in proptest::collection::vec(0..12u8, 0..6)) {
            let map = |set: &OrSet<u8, u8>| {
                let dots = set.iter().map(|element| (*element, set.dots_of(element).unwrap().clone()));
                DotMap::from_entries(dots.collect()).unwrap()
            };
            let mut ours: OrSet<u8, u8> = a.clone();
            ours.merge(&b);
            let mut theirs = ours.clone();
            theirs.merge(&c);
            let _: Vec<Causal<_>> = drop.iter().map(|element| theirs.remove(element)).collect();
            for other in [&theirs, &c, &b] {
                let (mut few, mut many) = (map(&ours), map(&ours));
                let seen = few.join_few(ours.context(), &map(other), other.context());
                prop_assert_eq!(seen, many.join_many(ours.context(), &map(other), other.context()));
                prop_assert_eq!(few, many);
            }
        }
    }
}
