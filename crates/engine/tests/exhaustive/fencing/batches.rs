use std::collections::HashMap;

use archipelago_proto::{EntryBatch, Operation};
use bytes::Bytes;

/// A batch that somebody made, by its number.
pub(crate) type BatchId = u16;

/// A batch, and what is known of how it came to be.
#[derive(Clone, Debug)]
pub(crate) struct Authored {
    pub(crate) batch: EntryBatch,
    pub(crate) node: usize,
    /// The version that its author demanded of the key.
    pub(crate) demanded: Option<u64>,
}

impl Authored {
    pub(crate) fn starts_a_term(&self) -> bool {
        matches!(self.batch.entries[0].operation, Operation::TermStart { .. })
    }
}

/// All batches that were made in any run, so that a state holds numbers only.
#[derive(Debug, Default)]
pub(crate) struct Batches {
    all: Vec<Authored>,
    numbers: HashMap<(Bytes, usize, Option<u64>), BatchId>,
}

impl Batches {
    pub(crate) fn number(&mut self, authored: Authored) -> BatchId {
        let next = BatchId::try_from(self.all.len()).expect("few batches");
        let same = (authored.batch.encode(), authored.node, authored.demanded);
        let number = *self.numbers.entry(same).or_insert(next);
        if number == next {
            self.all.push(authored);
        }
        number
    }

    pub(crate) fn of(&self, number: BatchId) -> &Authored {
        &self.all[usize::from(number)]
    }
}
