//! Whether a write that comes back under this replica's name is the one that it made.
//!
//! A store that was restored from an old copy, or lost its end with the power, counts its writes from where it was then. What
//! it wrote before is still in the log, and others may have applied it. If the replica has written as much again before it
//! hears of that, no sequence tells: the same dots stand for different writes on both sides. Their stamps do.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::RangeInclusive,
};

use archipelago_clock::{Dot, Hlc, ReplicaId};
use archipelago_proto::{EntityId, Event};

use crate::{Engine, ReadError, Records};

/// How many of the latest writes are remembered; half a megabyte.
const REMEMBERED_MAX: usize = 65_536;

/// What this replica wrote since it was started, or took its identity.
#[derive(Debug, Default)]
pub(crate) struct OwnWrites {
    /// The stamps of the latest, in order of sequence.
    stamps: VecDeque<Hlc>,
    /// The sequence of the last of them.
    last: u64,
    /// Up to which the log has brought them back, with no gap, so that they are what everyone finds under their names.
    confirmed: u64,
    /// Those that came back beyond a gap.
    ahead: BTreeSet<u64>,
    /// Of each other replica the first write that is applied here and was admitted after one of these.
    after: BTreeMap<ReplicaId, u64>,
    /// Who was found there last.
    last_after: Option<ReplicaId>,
    /// The same of those that were not confirmed then, with the last of these that it came after.
    after_unconfirmed: BTreeMap<ReplicaId, (u64, u64)>,
}

/// From where on writes of this replica, and what others wrote after them, may be something else elsewhere.
#[derive(Debug)]
pub(crate) struct Doubt {
    /// The last own sequence that is beyond doubt.
    pub(crate) fork: u64,
    /// Of each other replica the first sequence that is not.
    pub(crate) after: BTreeMap<ReplicaId, u64>,
}

impl OwnWrites {
    /// Of a replica that has made so many before.
    pub(crate) fn new(before: u64) -> Self {
        OwnWrites { confirmed: before, last: before, ..OwnWrites::default() }
    }

    /// The log has brought back this one.
    pub(crate) fn confirm(&mut self, sequence: u64) {
        if sequence > self.confirmed && self.ahead.len() < REMEMBERED_MAX {
            self.ahead.insert(sequence);
        }
        while self.ahead.remove(&(self.confirmed + 1)) {
            self.confirmed += 1;
        }
        if self.confirmed >= self.last {
            self.after_unconfirmed.clear();
        }
    }

    /// Something of another replica is applied whose admitting replica had applied so many of these writes.
    pub(crate) fn followed(&mut self, by: &Dot, seen: u64, session_start: u64) {
        if seen > session_start && self.last_after.as_ref() != Some(&by.actor) {
            self.after.entry(by.actor.clone()).or_insert(by.sequence);
            self.last_after = Some(by.actor.clone());
        }
        if seen > self.confirmed.max(session_start) && !self.after_unconfirmed.contains_key(&by.actor) {
            self.after_unconfirmed.insert(by.actor.clone(), (by.sequence, seen));
        }
    }

    /// What is in doubt if there is a history of this replica that it does not know: all since it was started.
    pub(crate) fn doubt(&self, session_start: u64) -> Doubt {
        Doubt { fork: session_start, after: self.after.clone() }
    }

    /// What is in doubt if another process writes under the same names: all that did not come first in the log.
    pub(crate) fn doubt_beside_twin(&self, session_start: u64) -> Doubt {
        // Of one that came after a write which has been confirmed since, it is not known from where on it is in doubt; and
        // confirmed writes may have come after it.
        if self.after_unconfirmed.values().any(|(_, seen)| *seen <= self.confirmed) {
            return self.doubt(session_start);
        }
        let after = self.after_unconfirmed.iter().map(|(replica, (first, _))| (replica.clone(), *first));
        Doubt { fork: self.confirmed.max(session_start), after: after.collect() }
    }

    pub(crate) fn made(&mut self, sequence: u64, hlc: Hlc) {
        if self.stamps.len() == REMEMBERED_MAX {
            self.stamps.pop_front();
        }
        self.stamps.push_back(hlc);
        self.last = sequence;
    }

    /// Whether the write is remembered, and was made then.
    pub(crate) fn is_stamped(&self, sequence: u64, hlc: Hlc) -> bool {
        self.stamp(sequence) == Some(hlc)
    }

    /// When the write was made; `None` if it is not remembered.
    fn stamp(&self, sequence: u64) -> Option<Hlc> {
        let back = usize::try_from(self.last.checked_sub(sequence)?).ok()?;
        let at = self.stamps.len().checked_sub(back + 1)?;
        self.stamps.get(at).copied()
    }
}

/// Which own writes of a range of sequences are live in the store, read at once for the events of a message: in a log that
/// is read again one comes after the other.
#[derive(Debug)]
pub(crate) struct LivePage {
    dots_max: usize,
    sequences: RangeInclusive<u64>,
    dots: Vec<(u64, EntityId)>,
}

impl LivePage {
    /// Nothing yet; so many are read at once.
    pub(crate) fn of(dots_max: usize) -> Self {
        LivePage { dots_max, sequences: 0..=0, dots: Vec::new() }
    }
}

impl Engine {
    /// Whether an event under this replica's name, of a sequence that it has used, is what it wrote.
    ///
    /// Of what it wrote in an earlier session only what is still live can be told from another write. If that is found to be
    /// one, the identity [parts](Engine::reincarnate) before it.
    pub(crate) fn is_own_write(
        &mut self,
        event: &Event,
        live: &mut LivePage,
        records: &dyn Records,
    ) -> Result<bool, ReadError> {
        if !self.is_stamped(&event.dot, event.hlc) {
            return Ok(false);
        }
        let sequence = event.dot.sequence;
        if self.own_writes.stamp(sequence).is_some() {
            return Ok(true);
        }
        if !live.sequences.contains(&sequence) {
            let dots = self.live_dots(&event.dot.actor, sequence - 1, live.dots_max, records)?;
            let last = dots.last().filter(|_| dots.len() >= live.dots_max);
            live.sequences = sequence..=last.map_or(u64::MAX, |(last, _)| *last);
            live.dots = dots;
        }
        let at = live.dots.partition_point(|(live, _)| *live < sequence);
        let dot = live.dots.get(at).filter(|(live, _)| *live == sequence);
        let Some((_, entity)) = dot else { return Ok(true) };
        let is_own = *entity == event.entity && self.is_of(entity, event, records)?;
        if !is_own {
            self.session_start = self.session_start.min(sequence - 1);
        }
        Ok(is_own)
    }

    fn is_of(&self, entity: &EntityId, event: &Event, records: &dyn Records) -> Result<bool, ReadError> {
        let record = self.record(entity, records)?;
        let held = record.versions.iter().find(|version| version.dot == event.dot);
        Ok(held.is_none_or(|held| held.hlc == event.hlc))
    }

    /// Whether a write under this replica's name may be that of this session, by its stamp.
    pub(crate) fn is_stamped(&self, dot: &Dot, hlc: Hlc) -> bool {
        dot.actor != self.config.replica
            || self.own_writes.stamp(dot.sequence).is_none_or(|stamp| stamp == hlc)
    }
}

#[cfg(test)]
mod tests {
    use archipelago_clock::Incarnation;

    use super::*;

    #[test]
    fn what_is_in_doubt_beside_a_twin_is_closed_under_what_came_after_it() {
        let other = ReplicaId::new("b", Incarnation::from_bits(1)).expect("a legal name");
        let mut writes = OwnWrites::new(0);
        for sequence in 1..=3 {
            writes.made(sequence, Hlc::new(sequence, 0));
        }
        writes.followed(&Dot::new(other.clone(), 5), 2, 0);
        writes.confirm(1);
        let doubt = writes.doubt_beside_twin(0);
        assert_eq!((doubt.fork, doubt.after.get(&other)), (1, Some(&5)));
        writes.confirm(2);
        let doubt = writes.doubt_beside_twin(0);
        assert_eq!(
            (doubt.fork, doubt.after.get(&other)),
            (0, Some(&5)),
            "write 2 may have come after theirs"
        );
        writes.confirm(3);
        let doubt = writes.doubt_beside_twin(0);
        assert_eq!((doubt.fork, doubt.after.get(&other)), (3, None));
    }

    #[test]
    fn the_latest_writes_are_remembered_and_no_others() {
        let mut writes = OwnWrites::default();
        assert_eq!(writes.stamp(1), None);
        let first = 8;
        let last = first + REMEMBERED_MAX as u64;
        for sequence in first..=last {
            writes.made(sequence, Hlc::new(sequence, 0));
        }
        assert_eq!(writes.stamp(first), None, "there is no room for it any more");
        assert_eq!(writes.stamp(first + 1), Some(Hlc::new(first + 1, 0)));
        assert_eq!(writes.stamp(last), Some(Hlc::new(last, 0)));
        assert_eq!(writes.stamp(last + 1), None);
    }
}
