use std::{cmp::Ordering, fmt, iter, marker::PhantomData, ops::RangeInclusive};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use smallvec::SmallVec;

use crate::{ClockOrdering, Dot, ReplicaId, VectorClock};

/// The most runs above the clock that a context read from outside may have; more is an error of the decoder.
pub const CLOUD_RUNS_MAX: usize = 65_536;

/// A set of dots: a version vector with gaps.
///
/// What was seen of each actor without a gap is a [`VectorClock`]; what was seen beyond a gap is the *cloud*, kept
/// as sorted runs of consecutive dots that are neither empty, nor adjacent, nor touching the clock. A run moves
/// into the clock as soon as its gap closes, so equal sets are equal values and encode to equal bytes.
///
/// In serde it is `{"clock":{"eu":2,"us":3},"cloud":[["us",5,7]]}`, where the run from 5 to 7 of "us" lies above
/// the missing 4; without gaps there is no `cloud`.
///
/// Sources: Almeida, Shoker, Baquero, "Delta State Replicated Data Types" (2018), section 7.2, for causal contexts
/// and their compression; Malkhi, Terry, "Concise Version Vectors in WinFS" (2005), for vectors with exceptions.
/// Departure from both: runs in place of single dots, since a delta of many writes of one actor is the common case.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CausalContext<A = ReplicaId> {
    clock: VectorClock<A>,
    cloud: SmallVec<[Run<A>; 1]>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Run<A> {
    actor: A,
    first: u64,
    last: u64,
}

/// Why an actor could not be given its next dot. The context is unchanged. Permanent for this context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MintError {
    /// The context has dots of the actor beyond a gap: this is not the actor's own current state, in which none of
    /// its own dots is missing, and the next dot might name another write already.
    #[error("an actor may only write to a state that has all of its own earlier writes")]
    OwnDotsMissing,
    /// The sequence of the actor is at `u64::MAX`; no honest actor gets there.
    #[error("the sequence of an actor is exhausted")]
    SequenceExhausted,
}

impl<A> CausalContext<A> {
    /// The context that has seen nothing.
    pub const fn new() -> Self {
        CausalContext { clock: VectorClock::new(), cloud: SmallVec::new_const() }
    }

    /// True if nothing was seen.
    pub fn is_empty(&self) -> bool {
        self.clock.is_empty() && self.cloud.is_empty()
    }

    /// The number of dots that were seen.
    pub fn len(&self) -> u128 {
        let clock = self.clock.iter().map(|(_, last)| u128::from(last));
        let cloud = self.cloud.iter().map(|run| u128::from(run.last - run.first) + 1);
        clock.chain(cloud).sum()
    }

    /// What was seen without a gap.
    pub fn clock(&self) -> &VectorClock<A> {
        &self.clock
    }

    /// The runs of dots beyond a gap, in ascending order of actor and sequence.
    pub fn cloud(&self) -> impl ExactSizeIterator<Item = (&A, RangeInclusive<u64>)> {
        self.cloud.iter().map(|run| (&run.actor, run.first..=run.last))
    }
}

impl<A: Ord> CausalContext<A> {
    /// True if the dot was seen.
    pub fn contains(&self, dot: &Dot<A>) -> bool {
        self.holds(&dot.actor, dot.sequence, dot.sequence)
    }

    /// All dots as runs of consecutive ones, in ascending order of actor and sequence.
    pub fn runs(&self) -> impl Iterator<Item = (&A, RangeInclusive<u64>)> {
        let mut clock = self.clock.iter().peekable();
        let mut cloud = self.cloud.iter().peekable();
        iter::from_fn(move || {
            // At the same actor the clock comes first: it begins at 1.
            let from_clock = match (clock.peek(), cloud.peek()) {
                (Some((actor, _)), Some(run)) => **actor <= run.actor,
                (in_clock, _) => in_clock.is_some(),
            };
            if from_clock {
                clock.next().map(|(actor, last)| (actor, 1..=last))
            } else {
                cloud.next().map(|run| (&run.actor, run.first..=run.last))
            }
        })
    }

    /// Every dot in ascending order. There may be very many: a context is as cheap to hold as its runs are few.
    pub fn iter(&self) -> impl Iterator<Item = Dot<A>>
    where
        A: Clone,
    {
        self.runs().flat_map(|(actor, run)| run.map(move |sequence| Dot::new(actor.clone(), sequence)))
    }

    /// True if everything that `other` has seen was seen here too.
    pub fn dominates(&self, other: &Self) -> bool {
        if other.cloud.is_empty() && self.clock.dominates(&other.clock) {
            return true;
        }
        // Runs are maximal, so one run of `other` lies within one run here or has a dot that is missing here.
        other.runs().all(|(actor, run)| self.holds(actor, *run.start(), *run.end()))
    }

    /// How this context relates to `other`.
    pub fn compare(&self, other: &Self) -> ClockOrdering {
        match (self.dominates(other), other.dominates(self)) {
            (true, true) => ClockOrdering::Equal,
            (true, false) => ClockOrdering::After,
            (false, true) => ClockOrdering::Before,
            (false, false) => ClockOrdering::Concurrent,
        }
    }

    /// The next dot of `actor`, which is not inserted.
    ///
    /// # Errors
    /// [`MintError`] if the context lacks an earlier dot of the actor, as far as that shows: if it has later ones.
    /// A context that lacks *all* of an actor's latest dots looks like one in which they were never minted.
    pub fn next_dot(&self, actor: A) -> Result<Dot<A>, MintError> {
        if self.cloud.iter().any(|run| run.actor == actor) {
            return Err(MintError::OwnDotsMissing);
        }
        let sequence = self.clock.get(&actor).checked_add(1).ok_or(MintError::SequenceExhausted)?;
        Ok(Dot::new(actor, sequence))
    }

    fn holds(&self, actor: &A, first: u64, last: u64) -> bool {
        last <= self.clock.get(actor)
            || self
                .cloud
                .get(self.cloud.partition_point(|run| run.ends_before(actor, first)))
                .is_some_and(|run| run.actor == *actor && run.first <= first && last <= run.last)
    }
}

impl<A: Ord + Clone> CausalContext<A> {
    /// Mints the next dot of `actor`: [`next_dot`](Self::next_dot), inserted.
    ///
    /// # Errors
    /// As [`next_dot`](Self::next_dot).
    pub fn mint(&mut self, actor: A) -> Result<Dot<A>, MintError> {
        if self.cloud.iter().any(|run| run.actor == actor) {
            return Err(MintError::OwnDotsMissing);
        }
        let sequence = self.clock.advance(&actor).ok_or(MintError::SequenceExhausted)?;
        Ok(Dot::new(actor, sequence))
    }

    /// Takes note of a dot; true if it was not seen before. A dot counts from 1: there is no dot 0 to see.
    pub fn insert(&mut self, dot: Dot<A>) -> bool {
        if self.is_empty() && dot.sequence > 1 {
            // The first dot of a delta, which is the only one most often.
            self.cloud.push(Run { actor: dot.actor, first: dot.sequence, last: dot.sequence });
            return true;
        }
        let new = !self.contains(&dot);
        if new {
            self.insert_run(dot.actor, dot.sequence, dot.sequence);
        }
        new
    }

    /// Takes over what `other` has seen: the union of both.
    pub fn merge(&mut self, other: &Self) {
        /// Up to so many runs, to insert them one by one is cheaper than to write the whole context anew.
        const FEW: usize = 8;
        if self.cloud.is_empty() {
            self.clock.merge(&other.clock);
        } else {
            for (actor, last) in other.clock.iter() {
                self.insert_run(actor.clone(), 1, last);
            }
        }
        if other.cloud.len() <= FEW {
            for run in &other.cloud {
                self.insert_run(run.actor.clone(), run.first, run.last);
            }
            return;
        }
        let mut union = Self::new();
        let (mut ours, mut theirs) = (self.runs().peekable(), other.cloud().peekable());
        loop {
            let ours_first = match (ours.peek(), theirs.peek()) {
                (Some(our), Some(their)) => (our.0, our.1.start()) <= (their.0, their.1.start()),
                (our, _) => our.is_some(),
            };
            let Some((actor, run)) = (if ours_first { ours.next() } else { theirs.next() }) else { break };
            union.insert_run(actor.clone(), *run.start(), *run.end());
        }
        drop(ours);
        *self = union;
    }

    /// What was seen here and not by `other`.
    pub fn difference(&self, other: &Self) -> Self {
        let mut difference = Self::new();
        let mut seen = other.runs().peekable();
        for (actor, run) in self.runs() {
            let (mut first, last) = (*run.start(), *run.end());
            while let Some((their_actor, theirs)) = seen.peek() {
                match (*their_actor, *theirs.end()).cmp(&(actor, first)) {
                    // Wholly before what is left of the run.
                    Ordering::Less => {
                        seen.next();
                        continue;
                    }
                    _ if *their_actor != actor || *theirs.start() > last => break,
                    _ => {}
                }
                if first < *theirs.start() {
                    difference.insert_run(actor.clone(), first, theirs.start() - 1);
                }
                if *theirs.end() >= last {
                    first = 0;
                    break;
                }
                first = theirs.end() + 1;
            }
            if first > 0 {
                difference.insert_run(actor.clone(), first, last);
            }
        }
        difference
    }

    /// Inserts the dots from `first` to `last`, in constant time at the end of the context.
    fn insert_run(&mut self, actor: A, first: u64, last: u64) {
        let seen = self.clock.get(&actor);
        if last <= seen {
            return;
        }
        let (mut first, mut last) = (first.max(seen + 1), last);
        let from = self.cloud.partition_point(|run| run.ends_before(&actor, first.saturating_sub(1)));
        let mut to = from;
        while let Some(run) = self.cloud.get(to) {
            if run.actor != actor || run.first > last.saturating_add(1) {
                break;
            }
            (first, last) = (first.min(run.first), last.max(run.last));
            to += 1;
        }
        if first == seen + 1 {
            self.cloud.drain(from..to);
            self.clock.raise(actor, last);
        } else if from == to {
            self.cloud.insert(from, Run { actor, first, last });
        } else {
            self.cloud[from] = Run { actor, first, last };
            self.cloud.drain(from + 1..to);
        }
    }
}

impl<A: Ord> Run<A> {
    fn ends_before(&self, actor: &A, sequence: u64) -> bool {
        match self.actor.cmp(actor) {
            Ordering::Equal => self.last < sequence,
            by_actor => by_actor == Ordering::Less,
        }
    }
}

impl<A> Default for CausalContext<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A> From<VectorClock<A>> for CausalContext<A> {
    fn from(clock: VectorClock<A>) -> Self {
        CausalContext { clock, cloud: SmallVec::new() }
    }
}

impl<A: Ord + Clone> Extend<Dot<A>> for CausalContext<A> {
    fn extend<I: IntoIterator<Item = Dot<A>>>(&mut self, dots: I) {
        for dot in dots {
            self.insert(dot);
        }
    }
}

impl<A: Ord + Clone> FromIterator<Dot<A>> for CausalContext<A> {
    fn from_iter<I: IntoIterator<Item = Dot<A>>>(dots: I) -> Self {
        let mut context = Self::new();
        context.extend(dots);
        context
    }
}

impl<A: fmt::Debug> fmt::Debug for CausalContext<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CausalContext")
            .field("clock", &self.clock)
            .field("cloud", &self.cloud().collect::<Vec<_>>())
            .finish()
    }
}

impl<A: Serialize> Serialize for CausalContext<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a, A> {
            clock: &'a VectorClock<A>,
            #[serde(skip_serializing_if = "Vec::is_empty")]
            cloud: Vec<(&'a A, u64, u64)>,
        }
        let cloud = self.cloud.iter().map(|run| (&run.actor, run.first, run.last)).collect();
        Fields { clock: &self.clock, cloud }.serialize(serializer)
    }
}

impl<'de, A: Ord + Clone + Deserialize<'de>> Deserialize<'de> for CausalContext<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, bound(deserialize = "A: Ord + Deserialize<'de>"))]
        struct Fields<A> {
            clock: VectorClock<A>,
            #[serde(default = "Cloud::empty")]
            cloud: Cloud<A>,
        }
        let Fields { clock, cloud } = Fields::deserialize(deserializer)?;
        let mut context = CausalContext::from(clock);
        for run in cloud.0 {
            context.insert_run(run.actor, run.first, run.last);
        }
        Ok(context)
    }
}

struct Cloud<A>(Vec<Run<A>>);

impl<A> Cloud<A> {
    const fn empty() -> Self {
        Cloud(Vec::new())
    }
}

impl<'de, A: Ord + Deserialize<'de>> Deserialize<'de> for Cloud<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Runs<A>(PhantomData<A>);
        impl<'de, A: Ord + Deserialize<'de>> de::Visitor<'de> for Runs<A> {
            type Value = Cloud<A>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "ascending runs [actor, first, last], at most {CLOUD_RUNS_MAX}")
            }

            fn visit_seq<S: de::SeqAccess<'de>>(self, mut list: S) -> Result<Self::Value, S::Error> {
                let mut runs: Vec<Run<A>> = Vec::new();
                while let Some((actor, first, last)) = list.next_element::<(A, u64, u64)>()? {
                    let ascends = runs.last().is_none_or(|run| run.ends_before(&actor, first));
                    if first == 0 || first > last || !ascends {
                        return Err(de::Error::custom("the runs of a causal context must ascend from 1"));
                    }
                    if runs.len() == CLOUD_RUNS_MAX {
                        return Err(de::Error::invalid_length(runs.len() + 1, &self));
                    }
                    runs.push(Run { actor, first, last });
                }
                Ok(Cloud(runs))
            }
        }
        deserializer.deserialize_seq(Runs(PhantomData))
    }
}
