use std::{cmp::Ordering, collections::BTreeMap};

use archipelago_clock::{CausalContext, Dot};

use crate::DotStore;

/// A [`DotStore`] for each key, none of them empty: what sets and maps have in common.
///
/// Almeida et al. 2018, section 7.1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DotMap<K, D>(BTreeMap<K, D>);

impl<K, D> DotMap<K, D> {
    pub(crate) const fn new() -> Self {
        DotMap(BTreeMap::new())
    }

    pub(crate) const fn entries(&self) -> &BTreeMap<K, D> {
        &self.0
    }
}

impl<K: Ord, D: DotStore> DotMap<K, D> {
    /// Puts `dots` under `key` and gives what was there. Empty dots leave no entry.
    pub(crate) fn replace(&mut self, key: K, dots: D) -> Option<D> {
        if dots.is_empty() { self.0.remove(&key) } else { self.0.insert(key, dots) }
    }

    /// What is under `key`, to change. The caller takes it out if it becomes empty.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut D> {
        self.0.get_mut(key)
    }

    pub(crate) fn take(&mut self, key: &K) -> Option<D> {
        self.0.remove(key)
    }

    /// From decoded entries: `None` if a key occurs twice or has no dots.
    pub(crate) fn from_entries(entries: Vec<(K, D)>) -> Option<Self> {
        let (given, empty) = (entries.len(), entries.iter().any(|(_, dots)| dots.is_empty()));
        let map = BTreeMap::from_iter(entries);
        (map.len() == given && !empty).then_some(DotMap(map))
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
        for (key, theirs) in &other.0 {
            if let Some(mine) = self.0.get_mut(key) {
                seen += mine.join(context, theirs, other_context);
                if mine.is_empty() {
                    self.0.remove(key);
                }
            } else {
                let mut new = D::default();
                new.join(context, theirs, other_context);
                if !new.is_empty() {
                    self.0.insert(key.clone(), new);
                }
            }
        }
        if seen < in_common {
            let nothing = D::default();
            self.0.retain(|key, mine| {
                if !other.0.contains_key(key) {
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
        let mut theirs = other.0.iter();
        let mut their_next = theirs.next();
        self.0.retain(|key, mine| {
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
        if added.len() > self.0.len() / 8 {
            // Linear, where inserting one by one searches each place.
            self.0.append(&mut BTreeMap::from_iter(added));
        } else {
            self.0.extend(added);
        }
        seen
    }
}

impl<K: Ord + Clone, D: DotStore> DotStore for DotMap<K, D> {
    type Actor = D::Actor;

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn join(
        &mut self,
        context: &CausalContext<D::Actor>,
        other: &Self,
        other_context: &CausalContext<D::Actor>,
    ) -> u128 {
        if other.0.len() < self.0.len() / 16 {
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
        let mut theirs = since.0.iter().peekable();
        for (key, mine) in &self.0 {
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
        DotMap(BTreeMap::from_iter(news))
    }

    const SETTLES: bool = D::SETTLES;

    fn settle(&mut self, context: &CausalContext<D::Actor>) {
        if D::SETTLES {
            self.0.values_mut().for_each(|dots| dots.settle(context));
        }
    }

    fn visit_dots<'a>(&'a self, visit: &mut dyn FnMut(&'a Dot<D::Actor>)) {
        self.0.values().for_each(|dots| dots.visit_dots(visit));
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
