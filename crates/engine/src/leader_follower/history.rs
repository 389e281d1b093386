use archipelago_proto::{EntryBatch, Operation};
use serde::{Deserialize, Serialize};

use crate::mutated;

/// The entries that a node has applied, as the last of them and a digest of them all.
///
/// As in Raft (Ongaro and Ousterhout, 2014, section 5.3) an entry is applied only on top of what stood before it where it
/// was written; here a digest of the whole history takes the place of the previous entry's term, so that a difference
/// anywhere before shows as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The index of the last entry; 0 if there is none.
    pub index: u64,
    /// The newest term; 0 if there is none.
    pub term: u64,
    /// The [digest](archipelago_proto::chain) of all entries; 0 if there is none.
    pub chain: u128,
}

/// What is to be done with a message of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Apply its entries but the first `known`.
    New {
        /// How many of them were applied before.
        known: usize,
    },
    /// Its indexes were applied before.
    Known,
    /// It is of a leader that was deposed: it does not count, for anyone.
    Stale,
    /// Entries before it are missing here.
    Gap {
        /// The first that is missing.
        from: u64,
        /// The last that is missing.
        to: u64,
    },
    /// It was written on another history than the one that was applied here: this node has entries that the log lost and
    /// that others never saw.
    Diverged,
    /// No leader writes that.
    Unsound {
        /// What is wrong with it, for a person to read.
        reason: &'static str,
    },
}

impl History {
    /// What is to be done with a message of the log. Nothing changes.
    pub fn judge(&self, batch: &EntryBatch) -> Verdict {
        let (first, last) = (batch.first_index, batch.last_index());
        let starts =
            |entry: &archipelago_proto::Entry| matches!(entry.operation, Operation::TermStart { .. });
        let is_forked = |before: u128| before != self.chain && !mutated!(IgnoreChain);
        if batch.entries[1..].iter().any(starts) {
            return Verdict::Unsound { reason: "a term starts amid its entries" };
        }
        let fits = (first..=last).contains(&(self.index + 1));
        if mutated!(IgnoreTerm) && batch.term < self.term && fits {
            return Verdict::New { known: usize::try_from(self.index + 1 - first).unwrap_or_default() };
        }
        if batch.term < self.term {
            return if last <= self.index { Verdict::Known } else { Verdict::Stale };
        }
        if first > self.index + 1 {
            if mutated!(EntriesPastGap) {
                return Verdict::New { known: 0 };
            }
            return Verdict::Gap { from: self.index + 1, to: first - 1 };
        }
        if batch.term > self.term {
            return match () {
                // What was applied here under an older term is another entry in the log.
                () if is_forked(batch.before) || first <= self.index && !mutated!(IgnoreChain) => {
                    Verdict::Diverged
                }
                () if !starts(&batch.entries[0]) => {
                    Verdict::Unsound { reason: "the first entry of a term does not start it" }
                }
                () => Verdict::New { known: 0 },
            };
        }
        if last < self.index {
            return Verdict::Known;
        }
        let known = usize::try_from(self.index + 1 - first).expect("less than the entries of a batch");
        let digest = match known {
            0 => batch.before,
            known => batch.chained().nth(known - 1).expect("there are more").2,
        };
        match () {
            () if is_forked(digest) => Verdict::Diverged,
            () if last == self.index => Verdict::Known,
            () if starts(&batch.entries[known]) => {
                Verdict::Unsound { reason: "a term starts that had begun already" }
            }
            () => Verdict::New { known },
        }
    }

    /// The history with the entries of a batch that was judged [`New`](Verdict::New).
    #[must_use]
    pub fn with(&self, batch: &EntryBatch) -> History {
        let (index, _, chain) = batch.chained().last().expect("a batch has an entry");
        History { index, term: batch.term, chain }
    }
}
