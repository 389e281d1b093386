use std::slice;

use archipelago_clock::{CausalContext, Dot};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use smallvec::SmallVec;

use crate::{Crdt, DotStore};

/// A content for each live dot, sorted by dot: a [`DotStore`] for few dots.
///
/// A single dot, which is the common case, takes no heap. The content of a dot is written once. If a reused dot has two, they are joined, so that replicas agree.
/// Encoded as `[["us",5,content]]`.
///
/// Almeida et al. 2018, section 7.1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct DotFun<C, A>(SmallVec<[(Dot<A>, C); 1]>);

impl<C, A> DotFun<C, A> {
    pub(crate) const fn new() -> Self {
        DotFun(SmallVec::new_const())
    }

    pub(crate) fn iter(&self) -> slice::Iter<'_, (Dot<A>, C)> {
        self.0.iter()
    }
}

impl<C, A: Ord> DotFun<C, A> {
    /// Puts one dot in place of all there are.
    pub(crate) fn replace_all(&mut self, dot: Dot<A>, content: C) {
        self.0.clear();
        self.0.push((dot, content));
    }

    pub(crate) fn insert(&mut self, dot: Dot<A>, content: C) {
        let at = self.0.partition_point(|(before, _)| *before < dot);
        self.0.insert(at, (dot, content));
    }

    /// From decoded entries: `None` unless their dots ascend.
    pub(crate) fn from_entries(entries: Vec<(Dot<A>, C)>) -> Option<Self> {
        entries.is_sorted_by(|a, b| a.0 < b.0).then(|| DotFun(entries.into()))
    }

    /// Takes out what an actor's dots hold.
    pub(crate) fn take_of(&mut self, actor: &A) -> Self {
        let from = self.0.partition_point(|(dot, _)| dot.actor < *actor);
        let to = self.0.partition_point(|(dot, _)| dot.actor <= *actor);
        DotFun(self.0.drain(from..to).collect())
    }
}

impl<C, A> Default for DotFun<C, A> {
    fn default() -> Self {
        DotFun::new()
    }
}

impl<C: Crdt + Clone + PartialEq, A: Ord + Clone> DotStore for DotFun<C, A> {
    type Actor = A;

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn join(&mut self, context: &CausalContext<A>, other: &Self, other_context: &CausalContext<A>) -> u128 {
        let mut seen = 0;
        let mut rest = other.0.iter().peekable();
        let mut added = Vec::new();
        self.0.retain_mut(|(dot, mine)| {
            while let Some(new) = rest.next_if(|(their, _)| *their < *dot) {
                added.push(new);
            }
            let in_both = rest.next_if(|(their, _)| *their == *dot);
            let known_there = in_both.is_some() || other_context.contains(dot);
            seen += u128::from(known_there);
            if let Some((_, theirs)) = in_both {
                mine.merge(theirs);
            }
            in_both.is_some() || !known_there
        });
        added.extend(rest);
        for (dot, content) in added {
            if !context.contains(dot) {
                self.insert(dot.clone(), content.clone());
            }
        }
        seen
    }

    fn news(
        &self,
        context: &CausalContext<A>,
        since: &Self,
        since_context: &CausalContext<A>,
        known: &mut Vec<Dot<A>>,
    ) -> Self {
        let at = |store: &Self, dot: &Dot<A>| store.0.binary_search_by(|(other, _)| other.cmp(dot)).ok();
        let dead = since.0.iter().filter(|(dot, _)| at(self, dot).is_none() && context.contains(dot));
        known.extend(dead.map(|(dot, _)| dot.clone()));
        let is_news = |(dot, mine): &&(Dot<A>, C)| {
            let Some(at) = at(since, dot) else { return !since_context.contains(dot) };
            let changed = !since.0[at].1.covers(mine);
            if changed {
                known.push(dot.clone());
            }
            changed
        };
        DotFun(self.0.iter().filter(is_news).cloned().collect())
    }

    fn visit_dots<'a>(&'a self, visit: &mut dyn FnMut(&'a Dot<A>)) {
        self.0.iter().for_each(|(dot, _)| visit(dot));
    }
}

impl<C: Serialize, A: Serialize> Serialize for DotFun<C, A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(dot, content)| (&dot.actor, dot.sequence, content)))
    }
}

impl<'de, C: Deserialize<'de>, A: Ord + Deserialize<'de>> Deserialize<'de> for DotFun<C, A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let triples: Vec<(A, u64, C)> = Vec::deserialize(deserializer)?;
        let entries =
            triples.into_iter().map(|(actor, sequence, content)| (Dot::new(actor, sequence), content));
        DotFun::from_entries(entries.collect())
            .ok_or_else(|| D::Error::custom("dots with contents must ascend"))
    }
}
