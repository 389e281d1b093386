use std::collections::BTreeMap;

use archipelago_clock::{Dot, VersionVector};
use archipelago_manager::WriteReceipt;

use super::plan::{FIELDS, REGISTERS};

/// All writes, in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: Vec<Entry>,
}

/// A write.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) receipt: WriteReceipt,
    pub(crate) what: What,
    /// What its author had seen.
    context: VersionVector,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Register { register: usize, value: Option<u16> },
    Field { field: usize, value: u16 },
    Count { by: u8 },
}

/// What a master must show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) registers: BTreeMap<&'static str, u16>,
    /// The live writes of each register of which one at least is no removal: those that are removed may be forgotten.
    pub(crate) live: BTreeMap<&'static str, Vec<Dot>>,
    pub(crate) fields: BTreeMap<&'static str, u16>,
    pub(crate) count: i128,
}

impl Entry {
    /// What its author had seen, itself included.
    pub(crate) fn context(&self) -> &VersionVector {
        &self.context
    }
}

impl Ledger {
    pub(crate) fn note(&mut self, receipt: WriteReceipt, what: What, context: Option<VersionVector>) {
        let own = receipt.token.vector().clone();
        for cause in self.entries.iter().filter(|entry| own.contains(&entry.receipt.dot)) {
            let (cause, effect) = (&cause.receipt, &receipt);
            assert!(cause.hlc < effect.hlc, "{} has a lesser stamp than its cause {}", effect.dot, cause.dot);
        }
        self.entries.push(Entry { context: context.unwrap_or(own), receipt, what });
    }

    pub(crate) fn entry(&self, write: usize) -> &Entry {
        &self.entries[write]
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What a master shows that has applied what `vector` covers; of a register the last write counts, or all that no author
    /// of another one had seen.
    pub(crate) fn shown(&self, vector: &VersionVector, keeps_siblings: bool) -> Shown {
        let mut shown = Shown::default();
        let mut registers: BTreeMap<&'static str, Vec<(&Entry, Option<u16>)>> = BTreeMap::new();
        let mut applied: Vec<&Entry> =
            self.entries.iter().filter(|entry| vector.contains(&entry.receipt.dot)).collect();
        // A cause stands before its effect.
        applied.sort_by_key(|entry| (entry.receipt.hlc, &entry.receipt.dot));
        for entry in applied {
            match entry.what {
                What::Register { register, value } => {
                    let live = registers.entry(REGISTERS[register]).or_default();
                    live.retain(|(other, value)| {
                        let dot = &other.receipt.dot;
                        let is_seen = entry.context.contains(dot);
                        let is_buried = value.is_none() && entry.receipt.token.vector().contains(dot);
                        keeps_siblings && !is_seen && !is_buried
                    });
                    live.push((entry, value));
                }
                What::Field { field, value } => {
                    shown.fields.insert(FIELDS[field], value);
                }
                What::Count { by } => shown.count += i128::from(by),
            }
        }
        for (register, live) in registers {
            if live.iter().all(|(_, value)| value.is_none()) {
                continue;
            }
            if let Some((_, Some(value))) = live.last() {
                shown.registers.insert(register, *value);
            }
            let mut dots: Vec<Dot> = live.iter().map(|(entry, _)| entry.receipt.dot.clone()).collect();
            dots.sort();
            shown.live.insert(register, dots);
        }
        shown
    }
}
