use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::{
    ExpectedEnd, LogId, LogState, PublishAck,
    parts::{Part, Stored},
};

/// One log: messages with consecutive sequences, and the message ids of the duplicate window.
#[derive(Debug)]
pub(super) struct Log {
    id: LogId,
    /// The sequence of `messages[0]`, or of the next message if there is none.
    first_sequence: u64,
    messages: VecDeque<Stored>,
    /// Where the message of each id within the window was stored.
    seen: HashMap<String, u64>,
    /// The ids in `seen`, oldest first.
    seen_order: VecDeque<(Instant, String)>,
}

/// A message to append, which may be one of several parts.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) origin: Arc<str>,
    pub(super) message_id: String,
    pub(super) payload: Bytes,
    pub(super) part: Option<Part>,
}

impl Log {
    /// An empty one, which ends at `sequence`.
    pub(super) fn new(id: LogId, sequence: u64) -> Log {
        Log {
            id,
            first_sequence: sequence.saturating_add(1),
            messages: VecDeque::new(),
            seen: HashMap::new(),
            seen_order: VecDeque::new(),
        }
    }

    pub(super) fn id(&self) -> &LogId {
        &self.id
    }

    pub(super) fn state(&self) -> LogState {
        LogState {
            id: self.id.clone(),
            first_sequence: self.first_sequence,
            last_sequence: self.last_sequence(),
            mirror_lag: None,
        }
    }

    pub(super) fn last_sequence(&self) -> u64 {
        self.first_sequence + self.messages.len() as u64 - 1
    }

    /// Stores the message, unless one with its id was stored within the window.
    pub(super) fn append(&mut self, message: &Entry, stored_at: SystemTime, window: Duration) -> PublishAck {
        let now = Instant::now();
        self.forget_ids_older_than(now, window);
        if let Some(&sequence) = self.seen.get(&message.message_id) {
            return PublishAck { sequence, duplicate: true };
        }
        let ack = self.append_regardless(message, stored_at);
        self.seen.insert(message.message_id.clone(), ack.sequence);
        self.seen_order.push_back((now, message.message_id.clone()));
        ack
    }

    /// Stores the message whether or not its id is known.
    pub(super) fn append_regardless(&mut self, message: &Entry, stored_at: SystemTime) -> PublishAck {
        let sequence = self.last_sequence() + 1;
        self.messages.push_back(Stored {
            sequence,
            origin: message.origin.to_string(),
            payload: message.payload.clone(),
            stored_at,
            part: message.part.clone(),
        });
        PublishAck { sequence, duplicate: false }
    }

    /// Stores the message if the log ends as expected; otherwise tells where it ends. Its id is not remembered.
    pub(super) fn append_after(
        &mut self,
        message: &Entry,
        expected: ExpectedEnd,
        stored_at: SystemTime,
    ) -> Result<PublishAck, u64> {
        let last = self.last_sequence();
        let is_expected = match expected {
            ExpectedEnd::At(sequence) => last == sequence,
            ExpectedEnd::Own(sequence) => {
                let newest = self.messages.back();
                last == sequence && newest.is_some_and(|newest| *newest.origin == *message.origin)
            }
        };
        if is_expected { Ok(self.append_regardless(message, stored_at)) } else { Err(last) }
    }

    /// The first message held with a sequence above `after`.
    pub(super) fn first_after(&self, after: u64) -> Option<&Stored> {
        let offset = (after + 1).saturating_sub(self.first_sequence);
        self.messages.get(usize::try_from(offset).ok()?)
    }

    /// Drops the newest messages and forgets that they were; the next message takes their place.
    pub(super) fn truncate_tail(&mut self, count: usize) {
        self.messages.truncate(self.messages.len().saturating_sub(count));
        let last_sequence = self.last_sequence();
        self.seen.retain(|_, sequence| *sequence <= last_sequence);
        self.seen_order.retain(|(_, id)| self.seen.contains_key(id));
    }

    /// Drops the oldest messages, as a retention limit does.
    pub(super) fn trim_head(&mut self, count: usize) {
        let count = count.min(self.messages.len());
        self.messages.drain(..count);
        self.first_sequence += count as u64;
    }

    /// Drops every message with a sequence up to and including `up_to`.
    pub(super) fn trim(&mut self, up_to: u64) {
        let count = up_to.saturating_add(1).saturating_sub(self.first_sequence);
        self.trim_head(usize::try_from(count).unwrap_or(usize::MAX));
    }

    /// Drops all messages. Sequences go on, and message ids stay known, as in JetStream.
    pub(super) fn purge(&mut self) {
        self.trim_head(self.messages.len());
    }

    fn forget_ids_older_than(&mut self, now: Instant, window: Duration) {
        while let Some((_, id)) =
            self.seen_order.pop_front_if(|(stored, _)| now.duration_since(*stored) >= window)
        {
            self.seen.remove(&id);
        }
    }
}
