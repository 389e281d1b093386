use std::collections::BTreeMap;

use archipelago::clock::{Dot, Hlc, VersionVector};

use super::protocol::Written;

/// What the masters acknowledged, kept outside of them: the proof compares it with what they hold in the end.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    acknowledged: Vec<Acknowledged>,
    /// Per master.
    pub(crate) counts: Vec<Counts>,
}

/// One acknowledged write.
#[derive(Debug)]
pub(crate) struct Acknowledged {
    /// Which record, by its place in the list of records.
    pub(crate) record: usize,
    pub(crate) dot: Dot,
    pub(crate) hlc: Hlc,
    /// What it wrote, each with the fingerprint of its value.
    pub(crate) fields: BTreeMap<String, u64>,
}

/// What one master was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Records loaded and acknowledged.
    pub(crate) loads: u64,
    /// Edits acknowledged.
    pub(crate) edits: u64,
    /// Of both, those acknowledged while the pipeline was away.
    pub(crate) queued: u64,
    /// Writes that were under way when the master was killed: they may be there or not. They were made again.
    pub(crate) unacknowledged: u64,
}

/// Why a write is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Load,
    Edit,
}

impl Ledger {
    pub(crate) fn new(masters: usize) -> Ledger {
        Ledger { acknowledged: Vec::new(), counts: vec![Counts::default(); masters] }
    }

    pub(crate) fn acknowledge(
        &mut self,
        master: usize,
        purpose: Purpose,
        record: usize,
        fields: BTreeMap<String, u64>,
        written: Written,
    ) {
        let counts = &mut self.counts[master];
        match purpose {
            Purpose::Load => counts.loads += 1,
            Purpose::Edit => counts.edits += 1,
        }
        counts.queued += u64::from(written.queued);
        self.acknowledged.push(Acknowledged { record, dot: written.dot, hlc: written.hlc, fields });
    }

    pub(crate) fn all(&self) -> &[Acknowledged] {
        &self.acknowledged
    }

    /// The vector that covers all acknowledged writes.
    pub(crate) fn vector(&self) -> VersionVector {
        self.acknowledged.iter().map(|write| (write.dot.actor.clone(), write.dot.sequence)).collect()
    }

    pub(crate) fn total(&self, count: impl Fn(&Counts) -> u64) -> u64 {
        self.counts.iter().map(count).sum()
    }
}
