//! Whether a write that comes back under this replica's name is the one that it made.
//!
//! A store that was restored from an old copy, or lost its end with the power, counts its writes from where it was then. What
//! it wrote before is still in the log, and others may have applied it. If the replica has written as much again before it
//! hears of that, no sequence tells: the same dots stand for different writes on both sides. Their stamps do.

use std::collections::VecDeque;

use archipelago_clock::{Dot, Hlc};
use archipelago_proto::{EntityId, Event};

use crate::{Engine, ReadError, Records};

/// How many of the latest writes are remembered; half a megabyte.
const REMEMBERED_MAX: usize = 65_536;

/// The stamps of the latest writes of this session, in order of sequence.
#[derive(Debug, Default)]
pub(crate) struct OwnWrites {
    stamps: VecDeque<Hlc>,
    /// The sequence of the last of them.
    last: u64,
}

impl OwnWrites {
    pub(crate) fn made(&mut self, sequence: u64, hlc: Hlc) {
        if self.stamps.len() == REMEMBERED_MAX {
            self.stamps.pop_front();
        }
        self.stamps.push_back(hlc);
        self.last = sequence;
    }

    /// When the write was made; `None` if it is not remembered.
    fn stamp(&self, sequence: u64) -> Option<Hlc> {
        let back = usize::try_from(self.last.checked_sub(sequence)?).ok()?;
        let at = self.stamps.len().checked_sub(back + 1)?;
        self.stamps.get(at).copied()
    }
}

impl Engine {
    /// Whether an event under this replica's name, of a sequence that it has used, is what it wrote.
    ///
    /// Of what it wrote in an earlier session only what is still live can be told from another write. If that is found to be
    /// one, the identity [parts](Engine::reincarnate) before it.
    pub(crate) fn is_own_write(&mut self, event: &Event, records: &dyn Records) -> Result<bool, ReadError> {
        if !self.is_stamped(&event.dot, event.hlc) {
            return Ok(false);
        }
        let sequence = event.dot.sequence;
        if sequence > self.session_start {
            return Ok(true);
        }
        let live = self.live_dots(&event.dot.actor, sequence - 1, 1, records)?;
        let Some((_, entity)) = live.into_iter().find(|(live, _)| *live == sequence) else { return Ok(true) };
        let is_own = entity == event.entity && self.is_of(&entity, event, records)?;
        if !is_own {
            self.session_start = sequence - 1;
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
    use super::*;

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
