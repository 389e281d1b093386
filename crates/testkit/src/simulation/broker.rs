use std::{
    collections::{BTreeMap, VecDeque},
    rc::Rc,
};

use archipelago_clock::Dot;
use archipelago_proto::{Event, Floor};

use super::disk::OutboxKey;

/// What a message of the log says.
#[derive(Clone, Debug)]
pub(super) enum Payload {
    Events(Rc<Vec<Event>>),
    Floor(Rc<Floor>),
}

/// By what the broker knows a message again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum MessageId {
    Outbox(Rc<str>, OutboxKey),
    Floor(u64),
}

/// A message of the log.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) sequence: u64,
    pub(super) payload: Payload,
    /// Only newer builds can read it.
    pub(super) needs_newer_build: bool,
}

/// The log, as JetStream keeps it: what it acknowledged it may lose all the same.
#[derive(Debug)]
pub(super) struct Broker {
    /// Another number for each log of the name.
    pub(super) log: Option<u64>,
    messages: VecDeque<Message>,
    last: u64,
    is_up: bool,
    /// Rises when whoever reads must subscribe anew.
    pub(super) epoch: u64,
    known: BTreeMap<MessageId, (u64, u64)>,
    /// Messages behind this one may stand in the place of others, which were lost.
    sound_to: u64,
    deduplication_ms: u64,
    logs: u64,
}

/// What a reader finds that looks for the message behind `after` in `log`.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is the log that was read.
    Sound,
    /// It is another one, or lost messages that were read.
    Lost,
    /// Messages are gone that were not read.
    Gap,
}

impl Broker {
    pub(super) fn new(deduplication_ms: u64) -> Self {
        Broker {
            log: None,
            messages: VecDeque::new(),
            last: 0,
            is_up: true,
            epoch: 0,
            known: BTreeMap::new(),
            sound_to: u64::MAX,
            deduplication_ms,
            logs: 0,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.is_up
    }

    /// The number of the log, which is made if there is none.
    pub(super) fn open(&mut self) -> u64 {
        if self.log.is_none() {
            self.logs += 1;
            self.log = Some(self.logs);
        }
        self.logs
    }

    pub(super) fn first(&self) -> u64 {
        self.last + 1 - self.messages.len() as u64
    }

    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// Appends the message, unless it is known: true if it was appended. `None` if there is no log.
    pub(super) fn append(
        &mut self,
        id: MessageId,
        payload: Payload,
        needs_newer_build: bool,
        now_ms: u64,
    ) -> Option<bool> {
        self.log?;
        let is_known = |(_, at): &(u64, u64)| now_ms.saturating_sub(*at) < self.deduplication_ms;
        if self.known.get(&id).is_some_and(is_known) {
            return Some(false);
        }
        self.last += 1;
        self.known.insert(id, (self.last, now_ms));
        self.messages.push_back(Message { sequence: self.last, payload, needs_newer_build });
        Some(true)
    }

    /// Whether a reader that has read up to `after` of `log` can go on.
    pub(super) fn place(&self, log: u64, after: u64) -> Place {
        if self.log != Some(log) || self.last < after {
            Place::Lost
        } else if self.first() > after + 1 {
            Place::Gap
        } else {
            Place::Sound
        }
    }

    /// The next message behind `after`, if it is there.
    pub(super) fn next(&self, after: u64) -> Option<&Message> {
        let at = (after + 1).checked_sub(self.first())?;
        self.messages.get(usize::try_from(at).ok()?)
    }

    /// Up to which message nothing was ever lost.
    pub(super) fn sound_to(&self) -> u64 {
        self.sound_to
    }

    /// The first message that has the write in it.
    pub(super) fn first_with(&self, dot: &Dot) -> Option<u64> {
        let has = |message: &&Message| match &message.payload {
            Payload::Events(events) => events.iter().any(|event| event.dot == *dot),
            Payload::Floor(_) => false,
        };
        self.messages.iter().find(has).map(|message| message.sequence)
    }

    pub(super) fn goes_down(&mut self) {
        self.is_up = false;
        self.epoch += 1;
    }

    pub(super) fn comes_up(&mut self) {
        self.is_up = true;
    }

    /// The last messages are lost. Gives how many.
    pub(super) fn lose_tail(&mut self, messages: u64) -> u64 {
        let lost = messages.min(self.messages.len() as u64);
        self.last -= lost;
        self.messages.truncate(self.messages.len() - usize::try_from(lost).expect("no more than there are"));
        let last = self.last;
        self.sound_to = self.sound_to.min(last);
        self.known.retain(|_, (sequence, _)| *sequence <= last);
        lost
    }

    /// The log is gone, until it is [opened](Self::open) again. Gives how many messages it had.
    pub(super) fn remove(&mut self) -> u64 {
        let lost = self.messages.len() as u64;
        self.log = None;
        self.messages.clear();
        self.known.clear();
        self.last = 0;
        self.sound_to = u64::MAX;
        self.epoch += 1;
        lost
    }

    /// All but the last `keep` messages are removed. Gives how many.
    pub(super) fn trim(&mut self, keep: u64) -> u64 {
        let removed = (self.messages.len() as u64).saturating_sub(keep);
        self.messages.drain(..usize::try_from(removed).expect("no more than there are"));
        removed
    }
}
