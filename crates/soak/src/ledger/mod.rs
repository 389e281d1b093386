//! What the masters acknowledged, kept outside of them, and what they must therefore hold.
//!
//! Everything is known by *epoch*: the load of each has entities of its own, so that what a later fault does cannot hide
//! what an earlier one did. The latest [`EPOCHS_MAX`] are remembered.

mod register;
mod tally;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use archipelago::clock::{Dot, ReplicaId, VersionVector};

pub(crate) use self::{register::Register, tally::Tally};
use crate::protocol::{Amounts, Op, Written};

/// How many epochs are remembered; what an older one wrote was checked when it ended, and is not looked at again.
pub(crate) const EPOCHS_MAX: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    epochs: VecDeque<Epoch>,
    pub(crate) counts: Counts,
}

/// What was asked of all masters.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) acknowledged: u64,
    /// The process was killed before it answered.
    pub(crate) unknown: u64,
    /// Nothing was written.
    pub(crate) refused: u64,
}

/// The writes between two checks.
#[derive(Debug, Default)]
pub(crate) struct Epoch {
    pub(crate) number: u64,
    pub(crate) registers: BTreeMap<String, Register>,
    pub(crate) tallies: BTreeMap<String, Tally>,
    /// Of each identity the last write that was acknowledged.
    vector: VersionVector,
    /// Identities that may have been in several hands: what was written under them may go by another name now.
    pub(crate) forked: BTreeSet<ReplicaId>,
}

/// What a check found wrong.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Findings {
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    /// A few of them, for a person to read.
    pub(crate) examples: Vec<String>,
}

/// How many findings are told in words.
const EXAMPLES_MAX: usize = 10;

impl Findings {
    pub(crate) fn lost(&mut self, example: impl FnOnce() -> String) {
        self.lost += 1;
        self.example(example);
    }

    pub(crate) fn duplicated(&mut self, example: impl FnOnce() -> String) {
        self.duplicated += 1;
        self.example(example);
    }

    fn example(&mut self, example: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example());
        }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicated == 0
    }
}

impl Ledger {
    /// What is written from now on belongs to a new epoch.
    pub(crate) fn begin_epoch(&mut self) -> u64 {
        let number = self.epochs.back().map_or(0, |epoch| epoch.number + 1);
        if self.epochs.len() == EPOCHS_MAX {
            self.epochs.pop_front();
        }
        self.epochs.push_back(Epoch { number, ..Epoch::default() });
        number
    }

    /// The epoch of the moment.
    pub(crate) fn current(&mut self) -> &mut Epoch {
        if self.epochs.is_empty() {
            self.begin_epoch();
        }
        self.epochs.back_mut().expect("there is one, or it was just begun")
    }

    /// What is remembered, to be judged without the lock; [`put_epochs`](Self::put_epochs) puts it back.
    pub(crate) fn take_epochs(&mut self) -> VecDeque<Epoch> {
        std::mem::take(&mut self.epochs)
    }

    pub(crate) fn put_epochs(&mut self, epochs: VecDeque<Epoch>) {
        self.epochs = epochs;
    }

    /// A write was acknowledged.
    pub(crate) fn acknowledge(&mut self, id: &str, op: &Op, written: &Written) {
        self.counts.acknowledged += 1;
        let epoch = self.current();
        epoch.vector.raise(written.dot.actor.clone(), written.dot.sequence);
        match op {
            Op::Put(number) => epoch.register(id).acknowledge(written.hlc, &written.dot, Some(*number)),
            Op::Delete => epoch.register(id).acknowledge(written.hlc, &written.dot, None),
            Op::Count { by, .. } => epoch.tally(id).count(*by),
            Op::Add { element, .. } => drop(epoch.tally(id).added.insert(*element)),
            Op::Take { element } if written.took_effect => drop(epoch.tally(id).taken.insert(*element)),
            Op::Take { .. } => {}
        }
    }

    /// A write may have happened, or not.
    pub(crate) fn doubt(&mut self, id: &str, op: &Op) {
        self.counts.unknown += 1;
        let epoch = self.current();
        match op {
            Op::Put(number) => epoch.register(id).doubt(Some(*number)),
            Op::Delete => epoch.register(id).doubt(None),
            Op::Count { by, .. } => epoch.tally(id).doubt(*by),
            Op::Add { element, .. } => drop(epoch.tally(id).maybe_added.insert(*element)),
            Op::Take { element } => drop(epoch.tally(id).maybe_taken.insert(*element)),
        }
    }
}

impl Epoch {
    fn register(&mut self, id: &str) -> &mut Register {
        self.registers.entry(id.to_owned()).or_default()
    }

    fn tally(&mut self, id: &str) -> &mut Tally {
        self.tallies.entry(id.to_owned()).or_default()
    }

    /// Every acknowledged write must be in the vector of every master, under the name that its receipt gave it.
    pub(crate) fn judge_vector(&self, vector: &VersionVector, master: &str, findings: &mut Findings) {
        for (replica, sequence) in self.vector.iter() {
            if vector.get(replica) < sequence && !self.forked.contains(replica) {
                let dot = Dot::new(replica.clone(), sequence);
                findings.lost(|| format!("{master} has not applied {dot}"));
            }
        }
    }
}

impl std::ops::AddAssign for Amounts {
    fn add_assign(&mut self, other: Amounts) {
        self.hits += other.hits;
        self.balance += other.balance;
    }
}
