use std::{cmp::Ordering, fmt, marker::PhantomData};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use smallvec::SmallVec;

use crate::{ClockError, Dot, ReplicaId};

/// The most entries that a clock read from outside may have; more is an error of the decoder.
pub const VECTOR_ENTRIES_MAX: usize = 4_096;

/// For each actor, the highest sequence seen with no gap below it.
///
/// Entries are kept sorted by actor and never zero, so equal clocks are equal values; up to four live without heap
/// allocation. In serde it is a map, `{"usa":1,"eu":2}` in JSON; a zero entry reads the same as an absent one.
///
/// Sources: Fidge, "Timestamps in Message-Passing Systems That Preserve the Partial Ordering" (1988); Mattern,
/// "Virtual Time and Global States of Distributed Systems" (1989); as a version vector: Parker et al., "Detection
/// of Mutual Inconsistency in Distributed Systems" (1983).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct VectorClock<A = ReplicaId> {
    entries: SmallVec<[(A, u64); 4]>,
}

/// How two clocks relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockOrdering {
    /// The left one happened before: all it has seen, the right one has seen, and more.
    Before,
    /// The right one happened before.
    After,
    /// Both have seen the same.
    Equal,
    /// Each has seen something that the other has not.
    Concurrent,
}

impl ClockOrdering {
    /// From whether the left one lacks something that the right one has seen, and has seen something that it lacks.
    const fn of(less: bool, greater: bool) -> Self {
        match (less, greater) {
            (false, false) => ClockOrdering::Equal,
            (true, false) => ClockOrdering::Before,
            (false, true) => ClockOrdering::After,
            (true, true) => ClockOrdering::Concurrent,
        }
    }
}

impl<A> VectorClock<A> {
    /// The clock that has seen nothing.
    pub const fn new() -> Self {
        VectorClock { entries: SmallVec::new_const() }
    }

    /// True if nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of actors of which something was seen.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The actors of which something was seen with their sequences, in ascending order of actor.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&A, u64)> {
        self.entries.iter().map(|(actor, sequence)| (actor, *sequence))
    }
}

impl<A: Ord> VectorClock<A> {
    /// The highest sequence seen of `actor`; 0 if none.
    pub fn get(&self, actor: &A) -> u64 {
        self.find(actor).map_or(0, |at| self.entries[at].1)
    }

    /// Counts one more write of `actor` and gives its dot.
    ///
    /// # Errors
    /// [`ClockError::SequenceExhausted`] at `u64::MAX`; the clock is unchanged.
    pub fn increment(&mut self, actor: A) -> Result<Dot<A>, ClockError>
    where
        A: Clone,
    {
        let sequence = self.advance(&actor).ok_or(ClockError::SequenceExhausted)?;
        Ok(Dot::new(actor, sequence))
    }

    /// Makes the entry of `actor` at least `sequence`.
    ///
    /// Whoever keeps the clock as a context without gaps must have seen everything below.
    pub fn raise(&mut self, actor: A, sequence: u64) {
        match self.find(&actor) {
            Ok(at) => self.entries[at].1 = self.entries[at].1.max(sequence),
            Err(_) if sequence == 0 => {}
            Err(at) => self.entries.insert(at, (actor, sequence)),
        }
    }

    /// Makes the entry of the dot's actor at least its sequence, as [`raise`](Self::raise) does, and copies the actor only
    /// if it is new.
    pub fn see(&mut self, dot: &Dot<A>)
    where
        A: Clone,
    {
        match self.find(&dot.actor) {
            Ok(at) => self.entries[at].1 = self.entries[at].1.max(dot.sequence),
            Err(_) => self.raise(dot.actor.clone(), dot.sequence),
        }
    }

    /// Forgets `actor`; its entry is 0 from now on.
    pub fn remove(&mut self, actor: &A) {
        if let Ok(at) = self.find(actor) {
            self.entries.remove(at);
        }
    }

    /// True if the write named by the dot was seen.
    pub fn contains(&self, dot: &Dot<A>) -> bool {
        self.get(&dot.actor) >= dot.sequence
    }

    /// True if everything that `other` has seen was seen here too.
    pub fn dominates(&self, other: &Self) -> bool {
        let mut mine = &self.entries[..];
        other.entries.iter().all(|(actor, sequence)| {
            // Both are sorted: what was skipped cannot match a later entry. Between replicas that know each other little is.
            while mine.first().is_some_and(|(candidate, _)| candidate != actor) {
                if mine[0].0 > *actor {
                    return false;
                }
                mine = &mine[1..];
            }
            mine.split_off_first().is_some_and(|(_, seen)| seen >= sequence)
        })
    }

    /// How this clock relates to `other`.
    #[inline]
    pub fn compare(&self, other: &Self) -> ClockOrdering {
        let (left, right) = (&self.entries[..], &other.entries[..]);
        if left.len() != right.len() {
            return Self::compare_unlike(left, right);
        }
        match left.iter().zip(right).position(|(l, r)| l != r) {
            Some(equal) => Self::compare_unequal(&left[equal..], &right[equal..]),
            None => ClockOrdering::Equal,
        }
    }

    /// Compares as many entries that are not equal.
    // Apart from the search for them, which is short and is all that equal clocks need.
    #[inline(never)]
    fn compare_unequal(left: &[(A, u64)], right: &[(A, u64)]) -> ClockOrdering {
        // Between replicas that know each other only sequences differ: nothing needs to be ordered then.
        let (mut same_actors, mut less, mut greater) = (true, false, false);
        for (l, r) in left.iter().zip(right) {
            same_actors &= l.0 == r.0;
            less |= l.1 < r.1;
            greater |= l.1 > r.1;
        }
        if same_actors { ClockOrdering::of(less, greater) } else { Self::compare_unlike(left, right) }
    }

    /// Compares entries of which the actors differ.
    #[inline(never)]
    fn compare_unlike(mut left: &[(A, u64)], mut right: &[(A, u64)]) -> ClockOrdering {
        let (mut less, mut greater) = (false, false);
        while !(less && greater) {
            let by_actor = match (left, right) {
                ([], []) => break,
                (_, []) => Ordering::Less,
                ([], _) => Ordering::Greater,
                ([l, ..], [r, ..]) => l.0.cmp(&r.0),
            };
            if by_actor == Ordering::Equal {
                less |= left[0].1 < right[0].1;
                greater |= left[0].1 > right[0].1;
            }
            less |= by_actor == Ordering::Greater;
            greater |= by_actor == Ordering::Less;
            left = &left[usize::from(by_actor != Ordering::Greater)..];
            right = &right[usize::from(by_actor != Ordering::Less)..];
        }
        ClockOrdering::of(less, greater)
    }

    /// Lowers this vector to what both have seen: of each actor the lesser sequence, the greatest lower bound of both.
    pub fn meet(&mut self, other: &Self) {
        self.entries.retain(|(actor, sequence)| {
            *sequence = (*sequence).min(other.get(actor));
            *sequence > 0
        });
    }

    /// Takes over what `other` has seen: the entry-wise maximum, the least upper bound of both.
    pub fn merge(&mut self, other: &Self)
    where
        A: Clone,
    {
        // Between replicas that know each other only sequences differ: that needs no allocation.
        let same_actors = self.entries.len() == other.entries.len()
            && self.entries.iter().zip(&other.entries).all(|(mine, theirs)| mine.0 == theirs.0);
        if same_actors {
            for (mine, theirs) in self.entries.iter_mut().zip(&other.entries) {
                mine.1 = mine.1.max(theirs.1);
            }
            return;
        }
        // Both are sorted: one pass over the two of them, however many actors are new.
        let mut mine = std::mem::take(&mut self.entries).into_iter().peekable();
        let mut theirs = other.entries.iter().peekable();
        self.entries.reserve(mine.len().max(theirs.len()));
        loop {
            let next = match (mine.peek(), theirs.peek()) {
                (None, None) => return,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(mine), Some(theirs)) => mine.0.cmp(&theirs.0),
            };
            let entry = match next {
                Ordering::Less => mine.next(),
                Ordering::Greater => theirs.next().cloned(),
                Ordering::Equal => {
                    let seen = theirs.next().map_or(0, |theirs| theirs.1);
                    mine.next().map(|(actor, sequence)| (actor, sequence.max(seen)))
                }
            };
            self.entries.extend(entry);
        }
    }

    /// Makes the entry of `actor` one more and gives it, or `None` at `u64::MAX`, where nothing changes.
    pub(crate) fn advance(&mut self, actor: &A) -> Option<u64>
    where
        A: Clone,
    {
        match self.find(actor) {
            Ok(at) => {
                let sequence = self.entries[at].1.checked_add(1)?;
                self.entries[at].1 = sequence;
                Some(sequence)
            }
            Err(at) => {
                self.entries.insert(at, (actor.clone(), 1));
                Some(1)
            }
        }
    }

    #[inline]
    fn find(&self, actor: &A) -> Result<usize, usize> {
        self.entries.binary_search_by(|(candidate, _)| candidate.cmp(actor))
    }
}

impl<A> Default for VectorClock<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A: Ord> PartialOrd for VectorClock<A> {
    /// The causal order: `None` if concurrent.
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.compare(other) {
            ClockOrdering::Before => Some(Ordering::Less),
            ClockOrdering::After => Some(Ordering::Greater),
            ClockOrdering::Equal => Some(Ordering::Equal),
            ClockOrdering::Concurrent => None,
        }
    }
}

impl<A: Ord> FromIterator<(A, u64)> for VectorClock<A> {
    /// The clock with these entries; zeros are left out, of repeated actors the highest sequence counts.
    fn from_iter<I: IntoIterator<Item = (A, u64)>>(entries: I) -> Self {
        let (mut clock, entries) = (Self::new(), entries.into_iter());
        clock.entries.reserve(entries.size_hint().0);
        for (actor, sequence) in entries {
            // Most often they come in order, from another clock.
            match clock.entries.last() {
                Some((last, _)) if *last >= actor => clock.raise(actor, sequence),
                _ if sequence == 0 => {}
                _ => clock.entries.push((actor, sequence)),
            }
        }
        clock
    }
}

impl<A: fmt::Display> fmt::Display for VectorClock<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (at, (actor, sequence)) in self.iter().enumerate() {
            write!(f, "{}{actor}:{sequence}", if at == 0 { "" } else { ", " })?;
        }
        f.write_str("}")
    }
}

impl<A: fmt::Debug> fmt::Debug for VectorClock<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<A: Serialize> Serialize for VectorClock<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, A: Ord + Deserialize<'de>> Deserialize<'de> for VectorClock<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<A>(PhantomData<A>);
        impl<'de, A: Ord + Deserialize<'de>> de::Visitor<'de> for Entries<A> {
            type Value = VectorClock<A>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a map from actor to sequence with at most {VECTOR_ENTRIES_MAX} entries")
            }

            fn visit_map<M: de::MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut clock = VectorClock::new();
                let mut entries = 0;
                while let Some((actor, sequence)) = map.next_entry::<A, u64>()? {
                    entries += 1;
                    if entries > VECTOR_ENTRIES_MAX {
                        return Err(de::Error::invalid_length(entries, &self));
                    }
                    if clock.get(&actor) > 0 {
                        return Err(de::Error::custom("the same actor twice in a vector clock"));
                    }
                    clock.raise(actor, sequence);
                }
                Ok(clock)
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}
