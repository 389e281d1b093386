use std::{collections::BTreeMap, sync::Arc};

use archipelago_clock::{Dot, ReplicaId, VersionVector};
use archipelago_proto::Event;

use crate::mutated;

/// Events that came before what they depend on, or are stamped too far ahead. Bounded.
///
/// Source: Birman, Schiper, Stephenson: "Lightweight Causal and Atomic Group Multicast" (1991), section 5: a message
/// waits until the vector of the receiver covers that of the sender.
#[derive(Debug)]
pub(crate) struct CausalBuffer {
    events_max: usize,
    len: usize,
    waiting: BTreeMap<ReplicaId, BTreeMap<u64, Waiting>>,
    /// Of each origin the first event that found no room: it must be read from the log again.
    turned_away: BTreeMap<ReplicaId, TurnedAway>,
    /// Of each origin the last event that was reported to be stamped too far ahead.
    reported: BTreeMap<ReplicaId, u64>,
}

#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) event: Event,
    /// The place in the log that it came from, if it came from there.
    pub(crate) position: Option<u64>,
    /// The wall clock must have reached this.
    pub(crate) due_unix_ms: u64,
    /// Since when it waits.
    pub(crate) since_unix_ms: u64,
}

#[derive(Debug)]
struct TurnedAway {
    sequence: u64,
    deps: Arc<VersionVector>,
    due_unix_ms: u64,
}

/// What became of an event that could not be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Buffered {
    /// It waits.
    Waits,
    /// It waited already.
    Known,
    /// There was no room.
    TurnedAway,
}

impl CausalBuffer {
    pub(crate) fn new(events_max: usize) -> Self {
        CausalBuffer {
            events_max,
            len: 0,
            waiting: BTreeMap::new(),
            turned_away: BTreeMap::new(),
            reported: BTreeMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn insert(&mut self, waiting: Waiting) -> Buffered {
        let dot = waiting.event.dot.clone();
        let events = self.waiting.get_mut(&dot.actor);
        if let Some(known) = events.and_then(|events| events.get_mut(&dot.sequence)) {
            if known.position.is_some() || waiting.position.is_none() {
                return Buffered::Known;
            }
            // It came by another road first. After a crash only the log has it, so the checkpoint waits for it too.
            known.position = waiting.position;
            return Buffered::Waits;
        }
        if self.len >= self.events_max && !mutated!(UnboundedBuffer) {
            if mutated!(DropTurnedAway) {
                return Buffered::Known;
            }
            if waiting.position.is_some() {
                let first = self.turned_away.get(&dot.actor).map(|first| first.sequence);
                if first.is_none_or(|first| dot.sequence < first) {
                    let (deps, due_unix_ms) = (waiting.event.deps, waiting.due_unix_ms);
                    self.turned_away
                        .insert(dot.actor, TurnedAway { sequence: dot.sequence, deps, due_unix_ms });
                }
            }
            return Buffered::TurnedAway;
        }
        self.waiting.entry(dot.actor).or_default().insert(dot.sequence, waiting);
        self.len += 1;
        Buffered::Waits
    }

    /// Takes out an event that can be applied on top of `vector` now.
    pub(crate) fn take_ready(&mut self, vector: &VersionVector, now_unix_ms: u64) -> Option<Waiting> {
        let ready = self.waiting.iter().find_map(|(origin, events)| {
            let (sequence, first) = events.first_key_value()?;
            let known = *sequence <= vector.get(origin);
            let due = first.due_unix_ms <= now_unix_ms && follows(&first.event, vector);
            (known || due).then(|| (origin.clone(), *sequence))
        })?;
        self.remove(&ready.0, ready.1)
    }

    /// Takes out an event that has waited since `since_unix_ms` or longer, not for its time, and whose origin `is_gone`.
    pub(crate) fn take_hopeless(
        &mut self,
        since_unix_ms: u64,
        now_unix_ms: u64,
        is_gone: impl Fn(&ReplicaId) -> bool,
    ) -> Option<Waiting> {
        let hopeless =
            self.waiting.iter().filter(|(origin, _)| is_gone(origin)).find_map(|(origin, events)| {
                let (sequence, first) = events.first_key_value()?;
                let is_old = first.since_unix_ms <= since_unix_ms && first.due_unix_ms <= now_unix_ms;
                is_old.then(|| (origin.clone(), *sequence))
            })?;
        self.remove(&hopeless.0, hopeless.1)
    }

    /// Whether another event of this name waits, which stands before this one in the log: everyone takes that one.
    pub(crate) fn holds_other(&self, event: &Event, position: Option<u64>) -> bool {
        let waiting = self.waiting.get(&event.dot.actor).and_then(|events| events.get(&event.dot.sequence));
        waiting.is_some_and(|waiting| {
            let is_before =
                waiting.position.is_some_and(|first| position.is_none_or(|second| first < second));
            is_before && waiting.event.hlc != event.hlc
        })
    }

    /// True if the event waits, or was turned away and will be read again.
    pub(crate) fn holds(&self, origin: &ReplicaId, sequence: u64) -> bool {
        self.waiting.get(origin).is_some_and(|events| events.contains_key(&sequence))
            || self.turned_away.get(origin).is_some_and(|first| first.sequence == sequence)
    }

    fn remove(&mut self, origin: &ReplicaId, sequence: u64) -> Option<Waiting> {
        let events = self.waiting.get_mut(origin)?;
        let taken = events.remove(&sequence);
        if events.is_empty() {
            self.waiting.remove(origin);
        }
        self.len -= usize::from(taken.is_some());
        taken
    }

    /// True if an event that was turned away could be applied now, or was applied meanwhile.
    ///
    /// Only then: each reading is paid for by an event that was applied since the last one, so readings end.
    pub(crate) fn must_reread(&self, vector: &VersionVector, now_unix_ms: u64) -> bool {
        self.turned_away.iter().any(|(origin, first)| {
            let due = first.due_unix_ms <= now_unix_ms && first.follows(origin, vector);
            first.sequence <= vector.get(origin) || due
        })
    }

    /// Forgets everything that reading the log again will bring again.
    pub(crate) fn forget_log(&mut self) {
        self.turned_away.clear();
        self.waiting.retain(|_, events| {
            events.retain(|_, waiting| waiting.position.is_none());
            !events.is_empty()
        });
        self.len = self.waiting.values().map(BTreeMap::len).sum();
    }

    /// Events that wait only because they are stamped too far ahead, each with the time when it is due; every one is
    /// given once.
    pub(crate) fn newly_quarantined(&mut self, vector: &VersionVector, now_unix_ms: u64) -> Vec<(Dot, u64)> {
        let waiting = self.waiting.values().filter_map(|events| events.values().next());
        let waiting = waiting
            .filter(|first| follows(&first.event, vector))
            .map(|first| (first.event.dot.clone(), first.due_unix_ms));
        let turned_away = self
            .turned_away
            .iter()
            .filter(|(origin, first)| first.follows(origin, vector))
            .map(|(origin, first)| (Dot::new(origin.clone(), first.sequence), first.due_unix_ms));
        let mut quarantined: Vec<(Dot, u64)> = waiting.chain(turned_away).collect();
        quarantined.retain(|(dot, due_unix_ms)| {
            let new = self.reported.get(&dot.actor).is_none_or(|reported| *reported < dot.sequence);
            let report = new && *due_unix_ms > now_unix_ms;
            if report {
                self.reported.insert(dot.actor.clone(), dot.sequence);
            }
            report
        });
        quarantined
    }

    /// The number of events that wait although all they depend on is there: stamped too far ahead.
    pub(crate) fn quarantined(&self, vector: &VersionVector, now_unix_ms: u64) -> usize {
        let firsts = self.waiting.values().filter_map(|events| events.values().next());
        firsts.filter(|first| first.due_unix_ms > now_unix_ms && follows(&first.event, vector)).count()
    }
}

impl TurnedAway {
    fn follows(&self, origin: &ReplicaId, vector: &VersionVector) -> bool {
        vector.get(origin).checked_add(1) == Some(self.sequence) && vector.dominates(&self.deps)
    }
}

/// True if `event` is the next of its origin and all that its admitting replica had applied is applied here.
pub(crate) fn follows(event: &Event, vector: &VersionVector) -> bool {
    let applied = vector.get(&event.dot.actor);
    is_next(event, applied) && (vector.dominates(&event.deps) || mutated!(SkipCausalBuffer))
}

/// True if `event` is the next of its origin, of which so much is applied.
pub(crate) fn is_next(event: &Event, applied: u64) -> bool {
    let is_again = mutated!(ApplyTwice) && event.dot.sequence <= applied;
    applied.checked_add(1) == Some(event.dot.sequence) || is_again || mutated!(ApplyPastGap)
}

/// What the last event that was applied came after. Events of one commit of their origin share that, and what was found of
/// it holds for all of them: a vector only grows, but for a change of identity.
#[derive(Debug, Default)]
pub(crate) struct Covered(Option<Arc<VersionVector>>);

impl Covered {
    /// True if these are known to be covered.
    pub(crate) fn has(&self, deps: &Arc<VersionVector>) -> bool {
        self.0.as_ref().is_some_and(|covered| Arc::ptr_eq(covered, deps))
    }

    /// True if the vector covers these.
    pub(crate) fn check(&mut self, deps: &Arc<VersionVector>, vector: &VersionVector) -> bool {
        if !self.has(deps) {
            self.0 = vector.dominates(deps).then(|| deps.clone());
        }
        self.0.is_some()
    }
}
