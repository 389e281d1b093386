use std::collections::{BTreeMap, BTreeSet};

use archipelago_clock::{Dot, Incarnation, ReplicaId, VersionVector};
use archipelago_conflict::StrategyTable;
use archipelago_proto::{Event, EventBatch, Limits, Op, Slot, decode_value};
use archipelago_store::{Store, Table};
use bytes::Bytes;

use super::{
    anew::{self, Anew},
    platter::{Platter, Stored},
};
use crate::{
    StoredMaster,
    simulation::{
        Deed, Fate, Ledger,
        ledger::{Entry, NewEntry},
    },
};

/// The field by which an update of a CRDT is known again.
pub(super) const TAG: &str = "by";
/// The removal of a field that there is not.
const NOTHING: Deed = Deed::RemoveField(u8::MAX);
/// How many things that do not hold are told of.
const VIOLATIONS_MAX: usize = 8;

/// What is known of all writes, by what reaches the disks and the log.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) ledger: Ledger,
    /// What clients meant to do, by the number that they wrote.
    deeds: Vec<Deed>,
    /// The name that each write was stored under first, on each line of copies.
    numbers: BTreeMap<(u64, Dot), u64>,
    /// What the log had, if only once.
    in_log: BTreeSet<Dot>,
    strategies: StrategyTable,
    pub(super) violations: Vec<String>,
    /// Who became whom since it was last asked.
    pub(super) renamed: Vec<(ReplicaId, u64)>,
}

impl Book {
    pub(super) fn new(strategies: StrategyTable) -> Book {
        Book { strategies, ..Book::default() }
    }

    /// A number that no other write has.
    pub(super) fn number(&mut self, deed: Deed) -> u64 {
        self.deeds.push(deed);
        self.deeds.len() as u64 - 1
    }

    pub(super) fn violates(&mut self, checker: &str, detail: impl Into<String>) {
        let violation = format!("{checker}: {}", detail.into());
        if self.violations.len() < VIOLATIONS_MAX && !self.violations.contains(&violation) {
            self.violations.push(violation);
        }
    }

    /// A batch was stored.
    pub(super) fn stored(&mut self, host: usize, stored: &Stored<'_>) {
        let Stored { batch, replaced, platter, lineage } = stored;
        let of_outbox = || batch.changes().iter().filter(|change| change.table == Table::Outbox);
        for message in of_outbox().filter_map(|change| change.value.clone()) {
            let batch = EventBatch::decode(message, &Limits::default());
            for event in batch.expect("a master stores what it can read").events {
                self.wrote(host, *lineage, &event);
            }
        }
        let before = identity(replaced.get(&Table::Meta).and_then(|rows| rows.get(&b"identity"[..])));
        let now = identity(platter.get(Table::Meta, b"identity").ok().flatten().as_ref());
        let renamed = before.zip(now.clone()).filter(|(before, now)| before != now);
        if let Some((old, new)) = &renamed {
            let fork = self.master(platter).map_or(0, |master| master.vector.get(old));
            self.ledger.renamed(*lineage, old, fork, new);
            self.renamed.push((old.clone(), fork));
        } else {
            for change in of_outbox().filter(|change| change.value.is_none()) {
                self.left_outbox(*lineage, &change.key, platter);
            }
        }
        if let Some(own) = now {
            self.wrote_anew(&own, stored);
        }
    }

    fn wrote(&mut self, host: usize, lineage: u64, event: &Event) {
        let key = (lineage, event.dot.clone());
        if self.numbers.contains_key(&key) {
            return;
        }
        let (deed, value) = self.deed(event);
        let entry = NewEntry {
            island: host,
            lineage,
            is_shared: false,
            entity: event.entity.clone(),
            deed,
            value,
            dot: event.dot.clone(),
            hlc: event.hlc,
            deps: event.deps.as_ref().clone(),
            context: event.context.as_ref().map(|context| context.as_ref().clone()),
        };
        let number = self.ledger.write(entry);
        self.numbers.insert(key, number);
    }

    /// What a client did, as the event tells, and the number that it wrote.
    fn deed(&self, event: &Event) -> (Deed, Option<u64>) {
        let number = |value: &Bytes| decode_value::<u64>(value, &Limits::default()).ok();
        match &event.op {
            Op::Delete => (Deed::Delete, None),
            Op::Put(value) => (Deed::Put, number(value)),
            Op::Patch(fields) => {
                let named = |name: &str| {
                    let found = fields.iter().find(|(slot, _)| *slot == Slot::Field(name.into()));
                    found.map(|(_, value)| value.as_ref())
                };
                if let Some(Some(value)) = named(TAG) {
                    let number = number(value).expect("clients write numbers");
                    let place = usize::try_from(number).expect("it was an index");
                    return (self.deeds[place], Some(number));
                }
                for field in 0..FIELDS_MAX {
                    match named(&format!("f{field}")) {
                        Some(Some(value)) => return (Deed::SetField(field), number(value)),
                        Some(None) => return (Deed::RemoveField(field), None),
                        None => {}
                    }
                }
                (NOTHING, None)
            }
        }
    }

    /// What the broker has may leave the outbox, and nothing else.
    fn left_outbox(&mut self, lineage: u64, key: &[u8], platter: &Platter) {
        let words: Vec<u64> =
            key.chunks(8).filter_map(|word| Some(u64::from_be_bytes(word.try_into().ok()?))).collect();
        let [incarnation, first, last] = words[..] else { return };
        let row = platter.get(Table::Meta, b"identity").ok().flatten();
        let Some(name) = identity(row.as_ref()) else { return };
        let incarnation = Incarnation::from_bits(incarnation);
        let origin = ReplicaId::new(name.name(), incarnation).expect("it has this name");
        for sequence in first..=last {
            let dot = Dot::new(origin.clone(), sequence);
            if !self.in_log.contains(&dot) {
                self.violates(
                    "outbox",
                    format!("{dot} left the outbox, and the log never had it ({lineage})"),
                );
            }
        }
    }

    /// What a master wrote anew goes by another name from now on.
    fn wrote_anew(&mut self, own: &ReplicaId, stored: &Stored<'_>) {
        for Anew { entity, hlc, former, dot } in anew::in_commit(own, stored) {
            let of_then = |write: &&Entry| write.hlc == hlc;
            let written: Vec<&Entry> = self.ledger.of(&entity).filter(of_then).collect();
            if written.iter().any(|write| write.has_name(&dot)) {
                continue;
            }
            // What came and was written anew in one commit was never stored under its name before.
            let former = former.or_else(|| written.first().map(|write| write.dot.clone()));
            if let Some(former) = former {
                self.ledger.rewritten(stored.lineage, &former, &dot);
            }
        }
    }

    fn master(&mut self, platter: &Platter) -> Option<StoredMaster> {
        match StoredMaster::read(platter, &self.strategies) {
            Ok(master) => master,
            Err(error) => {
                self.violates("store", error.to_string());
                None
            }
        }
    }

    /// What is on a disk of this lineage is a copy of what was on one of the lineage `of`.
    pub(super) fn copied(&mut self, lineage: u64, of: u64, platter: &Platter) {
        match StoredMaster::read(platter, &self.strategies) {
            Ok(master) => {
                let own = master.map_or(0, |master| master.vector.get(&master.replica));
                self.ledger.copied(lineage, of, own);
            }
            Err(error) => self.violates("store", error.to_string()),
        }
    }

    /// A message is known to be in the log.
    pub(super) fn published(&mut self, payload: &Bytes) {
        if let Ok(batch) = EventBatch::decode(payload.clone(), &Limits::default()) {
            self.in_log.extend(batch.events.into_iter().map(|event| event.dot));
        }
    }

    pub(super) fn log_had(&self, dot: &Dot) -> bool {
        self.in_log.contains(dot)
    }

    /// A client was told that its write is stored on a disk of this lineage.
    pub(super) fn acknowledged(&mut self, lineage: u64, dot: &Dot) {
        match self.numbers.get(&(lineage, dot.clone())) {
            Some(number) => self.ledger.acknowledged(*number),
            None => self.violates("acknowledged", format!("{dot} was acknowledged before it was stored")),
        }
    }

    /// What no disk has any more was promised to nobody; what was stored under the lineage `but` was.
    pub(super) fn excuse_what_is_gone(&mut self, disks: &[VersionVector], but: Option<u64>) -> usize {
        let lost = self.ledger.writes().iter().filter(|write| {
            write.fate == Fate::Acknowledged
                && but != Some(write.lineage)
                && !disks.iter().any(|vector| write.is_in(vector))
        });
        let lost: Vec<u64> = lost.map(|write| write.number).collect();
        for number in &lost {
            self.ledger.excused(*number);
        }
        lost.len()
    }
}

fn identity(row: Option<&Bytes>) -> Option<ReplicaId> {
    std::str::from_utf8(row?).ok()?.parse().ok()
}

/// How many fields there are at most.
const FIELDS_MAX: u8 = 4;
