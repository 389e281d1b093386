use std::collections::HashMap;

use archipelago_proto::{EntityId, Entry, EntryBatch, EntryBatchBuilder, Limits, Operation, PutKind};
use bytes::Bytes;

use super::History;
use crate::mutated;

/// What is demanded of a key for a write to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// The version that the key must have; `Some(0)`: there must be none.
    pub version: Option<u64>,
}

/// A write that is proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proposal {
    /// Give the key a value.
    Put {
        /// The key.
        key: EntityId,
        /// The value, encoded.
        value: Bytes,
        /// Whether there must be one already, or must not.
        kind: PutKind,
    },
    /// Take the key's value away; there must be one.
    Delete {
        /// The key.
        key: EntityId,
    },
}

/// Why a write is not done. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It was to be created, and exists.
    Exists {
        /// Its version.
        version: u64,
    },
    /// It was to be updated or deleted, and does not exist.
    Missing,
    /// It has another version.
    Version {
        /// The one that it has; `None` if it does not exist.
        found: Option<u64>,
    },
}

/// The writes that a leader takes: each gets its index at once, and is judged by all that stands before it, be it stored,
/// on its way to the log, or not sent yet.
#[derive(Debug)]
pub struct Proposer {
    namespace: String,
    limits: Limits,
    /// With all that was taken, sealed or not.
    head: History,
    open: EntryBatchBuilder,
    /// The index and the digest before the open batch.
    sealed: History,
    /// The version that each key will have once all that was taken is applied; `None`: it will be gone.
    drafted: HashMap<EntityId, (u64, Option<u64>)>,
}

impl Proposer {
    /// That of a leader who has applied this history, whose `term` is the one to lead in: what is taken first is to start
    /// that term.
    pub fn new(namespace: impl Into<String>, limits: Limits, history: History) -> Proposer {
        Proposer {
            namespace: namespace.into(),
            limits,
            head: history,
            open: EntryBatchBuilder::default(),
            sealed: history,
            drafted: HashMap::new(),
        }
    }

    /// The index of the last entry that was taken.
    pub fn index(&self) -> u64 {
        self.head.index
    }

    /// True if nothing waits to be sealed.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// True if the open batch is to be sealed before more is taken.
    pub fn is_full(&self) -> bool {
        self.open.is_full(&self.limits)
    }

    /// Takes a write; gives its index. `stored` gives the stored version of the key.
    ///
    /// # Errors
    /// What `stored` says, or inside a [`Refusal`]; nothing was taken.
    pub fn propose<E>(
        &mut self,
        proposal: Proposal,
        demand: Demand,
        stored: impl FnOnce(&EntityId) -> Result<Option<u64>, E>,
    ) -> Result<Result<u64, Refusal>, E> {
        let (Proposal::Put { key, .. } | Proposal::Delete { key }) = &proposal;
        let found = match self.drafted.get(key).filter(|_| !mutated!(DemandOnStored)) {
            Some((_, version)) => *version,
            None => stored(key)?,
        };
        if let Err(refusal) = check(&proposal, demand, found) {
            return Ok(Err(refusal));
        }
        let index = self.head.index + 1;
        let (key, version, operation) = match proposal {
            Proposal::Put { key, value, kind } => {
                (key.clone(), Some(index), Operation::Put { key, value, kind })
            }
            Proposal::Delete { key } => (key.clone(), None, Operation::Delete { key }),
        };
        self.drafted.insert(key, (index, version));
        Ok(Ok(self.push(operation)))
    }

    /// Takes an entry that is about no key; gives its index.
    pub fn push(&mut self, operation: Operation) -> u64 {
        let entry = Entry::new(operation);
        self.head.index += 1;
        self.head.chain = archipelago_proto::chain(self.head.chain, self.head.term, self.head.index, &entry);
        self.open.push(entry);
        self.head.index
    }

    /// The open batch, and begins another one; `None` if nothing waits.
    pub fn seal(&mut self, now_unix_ms: u64) -> Option<EntryBatch> {
        if self.open.is_empty() {
            return None;
        }
        let batch = EntryBatch {
            namespace: self.namespace.clone(),
            term: self.head.term,
            first_index: self.sealed.index + 1,
            before: self.sealed.chain,
            written_unix_ms: now_unix_ms,
            entries: self.open.take(),
        };
        self.sealed = self.head;
        Some(batch)
    }

    /// The entries of a batch are stored by now, so that what is stored speaks for them.
    pub fn stored(&mut self, batch: &EntryBatch) {
        for (index, entry) in (batch.first_index..).zip(&batch.entries) {
            if let Operation::Put { key, .. } | Operation::Delete { key } = &entry.operation
                && self.drafted.get(key).is_some_and(|(drafted, _)| *drafted <= index)
            {
                self.drafted.remove(key);
            }
        }
    }
}

fn check(proposal: &Proposal, demand: Demand, found: Option<u64>) -> Result<(), Refusal> {
    if let Some(wanted) = demand.version
        && found.unwrap_or(0) != wanted
    {
        return Err(Refusal::Version { found });
    }
    match (proposal, found) {
        (Proposal::Put { kind: PutKind::Create, .. }, Some(version)) => Err(Refusal::Exists { version }),
        (Proposal::Put { kind: PutKind::Update, .. } | Proposal::Delete { .. }, None) => {
            Err(Refusal::Missing)
        }
        _ => Ok(()),
    }
}
