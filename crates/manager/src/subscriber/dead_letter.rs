use std::{
    fmt,
    ops::Bound,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use archipelago_clock::{Dot, ReplicaId};
use archipelago_pipeline::LogId;
use archipelago_proto::{BatchEncoder, Event, EventBatch, Limits};
use archipelago_store::{Batch, Durability, Store, Table};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::DeadLetterError;
use crate::leader_follower::ORPHAN_PREFIX;

/// The version of the rows. A build refuses newer ones.
const FORMAT: u32 = 1;
/// How many rows are read at a time.
const PAGE_ROWS: usize = 64;
/// The longest reason that is stored, in characters.
const REASON_CHARS_MAX: usize = 1_024;

/// Names one dead letter of a subscriber: the message that brought the event, and the event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeadLetterId {
    /// The message of the log.
    pub sequence: u64,
    /// The event.
    pub event: Dot,
}

impl fmt::Display for DeadLetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in message {}", self.event, self.sequence)
    }
}

/// An event on which the handler failed too often, put aside so that later ones could go on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its name.
    pub id: DeadLetterId,
    /// The event.
    pub event: Event,
    /// The log that brought it.
    pub log: LogId,
    /// When the broker stored the message that brought it.
    pub stored_at: SystemTime,
    /// How often the handler was called with it.
    pub attempts: u32,
    /// What the handler said last, cut to 1,024 characters.
    pub reason: String,
    /// When that was, by the clock of this machine.
    pub failed_at: SystemTime,
}

/// A dead letter as it lies in a store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeadLetterAtRest {
    /// The subscriber that put it aside.
    pub subscriber: String,
    /// The letter, or why it cannot be read.
    pub letter: Result<DeadLetter, DeadLetterError>,
}

/// The first `limit` dead letters in a store, of all subscribers or of one, in the order of their names and of the log.
/// No subscriber need run on it, and nothing is changed.
///
/// # Errors
/// [`DeadLetterError::Store`] if the store fails. What cannot be read of a sound one is among the letters.
pub fn dead_letters_in(
    store: &Arc<dyn Store>,
    subscriber: Option<&str>,
    limit: usize,
) -> Result<Vec<DeadLetterAtRest>, DeadLetterError> {
    let (mut letters, mut from) = (Vec::new(), Bound::Unbounded);
    while letters.len() < limit {
        let page = store.scan(
            Table::DeadLetters,
            from.as_ref().map(|key: &Bytes| &key[..]),
            Bound::Unbounded,
            PAGE_ROWS,
        );
        let page = page.map_err(|error| failed(&error))?;
        let Some(last) = page.last() else { break };
        from = Bound::Excluded(last.key.clone());
        for row in page.into_iter().filter(|row| !row.key.starts_with(ORPHAN_PREFIX)) {
            // No name has a slash.
            let name = row.key.split(|byte| *byte == b'/').next().unwrap_or_default();
            let name = String::from_utf8_lossy(name).into_owned();
            if subscriber.is_none_or(|wanted| wanted == name) && letters.len() < limit {
                let letter =
                    DeadLetters::new(store.clone(), &name, "", &Limits::default()).parse(&row.key, row.value);
                letters.push(DeadLetterAtRest { subscriber: name, letter });
            }
        }
    }
    Ok(letters)
}

/// What a row has before the event, which follows as a message of the log.
#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    log: LogId,
    stored_unix_ns: u64,
    attempts: u32,
    reason: String,
    failed_unix_ms: u64,
}

/// The dead letters of one subscriber, in a table of a store. Calls block.
#[derive(Clone, Debug)]
pub(super) struct DeadLetters {
    pub(super) store: Arc<dyn Store>,
    pub(super) subscriber: String,
    pub(super) namespace: String,
    pub(super) limits: Limits,
}

impl DeadLetters {
    pub(super) fn new(store: Arc<dyn Store>, subscriber: &str, namespace: &str, limits: &Limits) -> Self {
        // An event alone may need more room than it did in its batch, and must be readable all the same.
        let mut limits = limits.for_state();
        limits.batch_bytes_max = usize::MAX;
        DeadLetters { store, subscriber: subscriber.to_owned(), namespace: namespace.to_owned(), limits }
    }

    pub(super) fn count(&self) -> Result<u64, DeadLetterError> {
        let (mut count, mut after) = (0, None);
        loop {
            let page = self.list(after.as_ref(), PAGE_ROWS)?;
            let Some(last) = page.last() else { return Ok(count) };
            count += page.len() as u64;
            after = Some(last.id.clone());
        }
    }

    /// In the order of the log.
    pub(super) fn list(
        &self,
        after: Option<&DeadLetterId>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, DeadLetterError> {
        let from = after.map_or_else(|| self.prefix(), |id| self.key(id));
        // The byte after the slash that ends the prefix.
        let to = format!("{}0", self.subscriber).into_bytes();
        let rows = self.store.scan(Table::DeadLetters, Bound::Excluded(&from), Bound::Excluded(&to), limit);
        let rows = rows.map_err(|error| failed(&error))?;
        rows.into_iter().map(|row| self.parse(&row.key, row.value)).collect()
    }

    pub(super) fn find(&self, id: &DeadLetterId) -> Result<DeadLetter, DeadLetterError> {
        let key = self.key(id);
        let row = self.store.get(Table::DeadLetters, &key).map_err(|error| failed(&error))?;
        self.parse(&key, row.ok_or_else(|| DeadLetterError::Unknown { id: id.clone() })?)
    }

    /// Puts a letter, in place of one of the same id.
    pub(super) fn put(&self, letter: &DeadLetter) -> Result<(), DeadLetterError> {
        let head = Head {
            format: FORMAT,
            log: letter.log.clone(),
            stored_unix_ns: unix(letter.stored_at, |since| since.as_nanos()),
            attempts: letter.attempts,
            reason: letter.reason.chars().take(REASON_CHARS_MAX).collect(),
            failed_unix_ms: unix(letter.failed_at, |since| since.as_millis()),
        };
        let mut row = rmp_serde::to_vec_named(&head).expect("a head is plain data");
        let mut encoder = BatchEncoder::new(&self.namespace, &self.limits);
        encoder.push(&letter.event);
        let message = encoder.finish().map_err(|error| failed(&error))?;
        row.extend_from_slice(&message.expect("one event was packed"));
        let mut batch = Batch::new();
        batch.put(Table::DeadLetters, self.key(&letter.id), row);
        self.store.commit(batch, Durability::Fsync).map_err(|error| failed(&error))
    }

    pub(super) fn remove(&self, id: &DeadLetterId) -> Result<(), DeadLetterError> {
        self.find(id)?;
        let mut batch = Batch::new();
        batch.remove(Table::DeadLetters, self.key(id));
        self.store.commit(batch, Durability::Fsync).map_err(|error| failed(&error))
    }

    fn prefix(&self) -> Vec<u8> {
        format!("{}/", self.subscriber).into_bytes()
    }

    /// The name of the subscriber, a slash, the message, the sequence of the event, and its master as text.
    fn key(&self, id: &DeadLetterId) -> Vec<u8> {
        let mut key = self.prefix();
        key.extend_from_slice(&id.sequence.to_be_bytes());
        key.extend_from_slice(&id.event.sequence.to_be_bytes());
        key.extend_from_slice(id.event.actor.to_string().as_bytes());
        key
    }

    fn parse(&self, key: &[u8], row: Bytes) -> Result<DeadLetter, DeadLetterError> {
        let damaged = |reason: &str| DeadLetterError::Store {
            reason: format!("cannot understand the dead letter {}: {reason}", key.escape_ascii()),
        };
        let id = self.parse_key(key).ok_or_else(|| damaged("it has no proper key"))?;
        let mut rest = &row[..];
        let head: Head = rmp_serde::from_read(&mut rest).map_err(|error| damaged(&error.to_string()))?;
        if head.format != FORMAT {
            return Err(damaged(&format!("format {} is of a newer build; use that one", head.format)));
        }
        let message = row.slice(row.len() - rest.len()..);
        let batch = EventBatch::decode(message, &self.limits).map_err(|error| damaged(&error.to_string()))?;
        let event = batch.events.into_iter().next().expect("a batch has an event");
        Ok(DeadLetter {
            id,
            event,
            log: head.log,
            stored_at: UNIX_EPOCH + Duration::from_nanos(head.stored_unix_ns),
            attempts: head.attempts,
            reason: head.reason,
            failed_at: UNIX_EPOCH + Duration::from_millis(head.failed_unix_ms),
        })
    }

    fn parse_key(&self, key: &[u8]) -> Option<DeadLetterId> {
        let rest = key.strip_prefix(&self.prefix()[..])?;
        let (sequence, rest) = rest.split_first_chunk::<8>()?;
        let (event, actor) = rest.split_first_chunk::<8>()?;
        let actor: ReplicaId = std::str::from_utf8(actor).ok()?.parse().ok()?;
        let event = Dot::new(actor, u64::from_be_bytes(*event));
        Some(DeadLetterId { sequence: u64::from_be_bytes(*sequence), event })
    }
}

fn failed(error: &dyn std::error::Error) -> DeadLetterError {
    DeadLetterError::Store { reason: error.to_string() }
}

fn unix(time: SystemTime, unit: impl FnOnce(Duration) -> u128) -> u64 {
    u64::try_from(unit(time.duration_since(UNIX_EPOCH).unwrap_or_default())).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use archipelago_clock::{Hlc, Incarnation};
    use archipelago_proto::Op;
    use archipelago_store::MemoryStore;

    use super::*;

    fn letter(sequence: u64) -> DeadLetter {
        let dot = Dot::new(ReplicaId::new("us-east", Incarnation::from_bits(1)).unwrap(), 3);
        DeadLetter {
            id: DeadLetterId { sequence, event: dot.clone() },
            event: Event {
                dot,
                hlc: Hlc::new(1_000, 0),
                deps: Arc::default(),
                context: None,
                entity: "user/7".into(),
                op: Op::Delete,
                trace: None,
            },
            log: LogId { name: "people".into(), created_unix_ns: 7 },
            stored_at: UNIX_EPOCH + Duration::from_nanos(99),
            attempts: 4,
            reason: "no luck".into(),
            failed_at: UNIX_EPOCH + Duration::from_millis(1_000),
        }
    }

    #[test]
    fn the_letters_of_all_subscribers_are_found_and_what_is_none_is_not() {
        let store = MemoryStore::new();
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        for (subscriber, sequence) in [("mailer", 2), ("index", 9), ("mailer", 1)] {
            let letters = DeadLetters::new(shared.clone(), subscriber, "people", &Limits::default());
            letters.put(&letter(sequence)).unwrap();
        }
        let mut batch = Batch::new();
        batch.put(Table::DeadLetters, [ORPHAN_PREFIX, &7_u64.to_be_bytes()].concat(), b"an orphan".to_vec());
        batch.put(Table::DeadLetters, b"mailer/damaged".to_vec(), b"?".to_vec());
        store.commit(batch, Durability::Fsync).unwrap();

        let found = |subscriber, limit| {
            let found = dead_letters_in(&shared, subscriber, limit).unwrap();
            let found = found
                .into_iter()
                .map(|found| (found.subscriber, found.letter.ok().map(|letter| letter.id.sequence)));
            found.collect::<Vec<_>>()
        };
        let [index, mailer] = ["index", "mailer"].map(String::from);
        let mailers = [(mailer.clone(), Some(1)), (mailer.clone(), Some(2)), (mailer, None)];
        assert_eq!(found(Some("mailer"), 10), mailers);
        assert_eq!(found(None, 10), [&[(index.clone(), Some(9))], &mailers[..]].concat());
        assert_eq!(found(None, 1), [(index, Some(9))]);
        assert_eq!(found(Some("leader_follower"), 10), []);
    }

    #[test]
    fn rows_of_the_first_format_are_read_for_ever() {
        let letter = letter(2);
        let store = MemoryStore::new();
        let letters = DeadLetters::new(Arc::new(store.clone()), "mailer", "people", &Limits::default());
        letters.put(&letter).unwrap();
        let row = store.scan(Table::DeadLetters, Bound::Unbounded, Bound::Unbounded, 1).unwrap().remove(0);
        assert_eq!(&row.key[..], b"mailer/\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03us-east@0000000000000001");
        let frozen = &include_bytes!("../../tests/golden/dead-letter-v1.bin")[..];
        assert_eq!(row.value, frozen);
        let mut batch = Batch::new();
        batch.put(Table::DeadLetters, row.key, frozen);
        store.commit(batch, Durability::Memory).unwrap();
        assert_eq!(letters.list(None, 10).unwrap(), [letter]);
    }
}
