use archipelago_clock::NAME_BYTES_MAX;
use bytes::Bytes;

use crate::{
    DecodeError, EncodeError, Entry, Limits,
    envelope::{self, EnvelopeKind},
    leader::entry::chain,
    reader::{Reader, malformed, within},
    writer::Writer,
};

const ELEMENTS: usize = 6;

/// A message of the log of a leader–follower namespace: entries of one term with consecutive indexes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryBatch {
    /// The namespace.
    pub namespace: String,
    /// The term in which they were written. Greater than 0.
    pub term: u64,
    /// The index of the first entry. Indexes count entries, from 1, without a gap over the life of the namespace.
    pub first_index: u64,
    /// The [digest](chain) of the history before the first entry; 0 if there is none before it.
    pub before: u128,
    /// When they were written, in milliseconds since the Unix epoch by the clock of whoever led then.
    pub written_unix_ms: u64,
    /// The entries, at least one.
    pub entries: Vec<Entry>,
}

impl EntryBatch {
    /// The index of the last entry.
    pub fn last_index(&self) -> u64 {
        self.first_index + self.entries.len() as u64 - 1
    }

    /// Each entry with its index and the digest of the history that ends with it.
    pub fn chained(&self) -> impl Iterator<Item = (u64, &Entry, u128)> {
        let mut digest = self.before;
        (self.first_index..).zip(&self.entries).map(move |(index, entry)| {
            digest = chain(digest, self.term, index, entry);
            (index, entry, digest)
        })
    }

    /// The message.
    pub fn encode(&self) -> Bytes {
        let bytes: usize = self.entries.iter().map(|entry| entry.encoded().len()).sum();
        let mut body = Writer::with_capacity(bytes + 96);
        body.array(ELEMENTS);
        body.text(&self.namespace);
        body.unsigned(self.term);
        body.unsigned(self.first_index);
        body.binary(&self.before.to_be_bytes());
        body.unsigned(self.written_unix_ms);
        body.array(self.entries.len());
        for entry in &self.entries {
            body.raw(entry.encoded());
        }
        envelope::seal(EnvelopeKind::Entries, &body.into_vec())
    }

    /// Reads a message that came from outside: nothing about it is trusted.
    ///
    /// # Errors
    /// Every [`DecodeError`].
    pub fn decode(message: Bytes, limits: &Limits) -> Result<EntryBatch, DecodeError> {
        let body = envelope::open_as(EnvelopeKind::Entries, message, limits.batch_bytes_max)?;
        let mut reader = Reader::new(body);
        let elements = reader.array_of_at_least("entries", ELEMENTS)?;
        let mut batch = EntryBatch {
            namespace: reader.text("namespace", "namespace bytes", NAME_BYTES_MAX)?.to_string(),
            term: reader.unsigned("term")?,
            first_index: reader.unsigned("first index")?,
            before: reader.u128("digest before")?,
            written_unix_ms: reader.unsigned("written_unix_ms")?,
            entries: Vec::new(),
        };
        let len = reader.array("entries")?;
        within("batch_events_max", len, limits.batch_events_max)?;
        if len == 0 || batch.term == 0 || batch.first_index == 0 {
            return Err(malformed("entries", "no entry, or a term or an index of 0"));
        }
        if batch.first_index.checked_add(len as u64).is_none() {
            return Err(malformed("entries", "indexes beyond 64 bits"));
        }
        for _ in 0..len {
            batch.entries.push(Entry::read(&mut reader, limits)?);
        }
        reader.end("entries", elements - ELEMENTS)?;
        Ok(batch)
    }

    /// True if the message is of a multi-master namespace: the log is not one that a leader writes.
    pub fn is_of_masters(message: &Bytes) -> bool {
        matches!(envelope::kind(message), Some(EnvelopeKind::Events | EnvelopeKind::Floor))
    }
}

/// Collects entries until a batch is full.
#[derive(Debug, Default)]
pub struct EntryBatchBuilder {
    entries: Vec<Entry>,
    bytes: usize,
}

impl EntryBatchBuilder {
    /// True if there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// True if no other entry is to be added.
    pub fn is_full(&self, limits: &Limits) -> bool {
        self.entries.len() >= limits.batch_events_max || self.bytes >= limits.batch_bytes_target
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: Entry) {
        self.bytes += entry.encoded().len();
        self.entries.push(entry);
    }

    /// The entries so far, and begins anew.
    pub fn take(&mut self) -> Vec<Entry> {
        self.bytes = 0;
        std::mem::take(&mut self.entries)
    }

    /// Whether an entry fits into a batch at all.
    ///
    /// # Errors
    /// [`EncodeError::OverLimit`].
    pub fn check(entry: &Entry, limits: &Limits) -> Result<(), EncodeError> {
        // The rest of a batch: its envelope, a namespace, and the entries that came before this one was too much.
        let room = limits.batch_bytes_max.saturating_sub(limits.batch_bytes_target + 256);
        let found = entry.encoded().len();
        if found > room {
            return Err(EncodeError::OverLimit {
                limit: "batch_bytes_max",
                found: found as u64,
                max: room as u64,
            });
        }
        Ok(())
    }
}
