use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{History, KvOp, Operation, Outcome, Version, Violations};

/// A write in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Its index, which is the version that it gave its key.
    pub index: Version,
    /// Its key.
    pub key: String,
    /// Its value; none for a delete.
    pub value: Option<String>,
}

/// How the writes of a history ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Acknowledged {
    /// How many were acknowledged.
    pub acknowledged: usize,
    /// How many failed, were refused, or found another version than expected.
    pub without_effect: usize,
    /// How many nobody knows of.
    pub unknown: usize,
}

/// What is wrong with what became of the writes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AcknowledgedViolation {
    /// It was acknowledged, and the log does not have it.
    #[error("an acknowledged write is lost: {write}")]
    Lost {
        /// The write.
        write: String,
    },
    /// The log has it more than once.
    #[error("a write is applied more than once, at the indexes {indexes:?}: {write}")]
    Duplicated {
        /// The write.
        write: String,
        /// Where it is.
        indexes: Vec<Version>,
    },
    /// The log has it elsewhere than was acknowledged.
    #[error("a write is at the index {index}, and not where it was acknowledged: {write}")]
    Moved {
        /// The write.
        write: String,
        /// Where it is.
        index: Version,
    },
    /// It was said to have no effect, and the log has it.
    #[error("a write that failed is applied, at the index {index}: {write}")]
    FailedApplied {
        /// The write.
        write: String,
        /// Where it is.
        index: Version,
    },
    /// The log has what nobody has written.
    #[error("nobody has written {entry}")]
    Invented {
        /// The entry.
        entry: String,
    },
    /// An index is not greater than the one before it.
    #[error("the indexes of the log do not grow: {before} and then {after}")]
    IndexNotGrowing {
        /// An entry.
        before: String,
        /// The next one.
        after: String,
    },
    /// A write that was asked for after another one had been acknowledged comes before it.
    #[error("{later}: but its version must be greater than that of what had ended before: {earlier}")]
    OutOfOrder {
        /// What was acknowledged first.
        earlier: String,
        /// What was asked for after that.
        later: String,
    },
    /// A read, of whichever consistency, returned what the log does not have at that index.
    #[error("{read}: but the log has no such entry")]
    ReadOfNothing {
        /// The read.
        read: String,
    },
    /// Two writes of one value to one key cannot be told apart. The check says nothing of them.
    #[error("give each write a value of its own; these cannot be told apart: {one}; {other}")]
    Ambiguous {
        /// One of them.
        one: String,
        /// The other one.
        other: String,
    },
}

/// Whether the log, from its first entry to its last, has each acknowledged write once and at the acknowledged index,
/// each unknown one at most once, and nothing else; and whether everything that was read is in it.
///
/// Each write must have a value that no other write to its key has.
///
/// # Errors
/// Everything that is wrong.
pub fn check_acknowledged(
    history: &History,
    log: &[LogEntry],
) -> Result<Acknowledged, Violations<AcknowledgedViolation>> {
    let mut check = Check { found: Vec::new(), sum: Acknowledged::default() };
    for pair in log.windows(2) {
        if pair[1].index <= pair[0].index {
            let (before, after) = (pair[0].to_string(), pair[1].to_string());
            check.found.push(AcknowledgedViolation::IndexNotGrowing { before, after });
        }
    }
    let writes = || history.operations().iter().filter(|operation| operation.op.consistency().is_none());
    writes().for_each(|write| check.count(write));
    check.values(writes(), log);
    check.deletes(writes(), log);
    check.order(writes().filter(|write| write.written().is_some()).collect());
    check.reads(history, log);
    Violations::none_of(check.found, check.sum)
}

struct Check {
    found: Vec<AcknowledgedViolation>,
    sum: Acknowledged,
}

impl Check {
    fn count(&mut self, write: &Operation) {
        *match (&write.outcome, write.written()) {
            (Outcome::Unknown, _) => &mut self.sum.unknown,
            (_, Some(_)) => &mut self.sum.acknowledged,
            _ => &mut self.sum.without_effect,
        } += 1;
    }

    fn values<'a>(&mut self, writes: impl Iterator<Item = &'a Operation>, log: &'a [LogEntry]) {
        let mut places = BTreeMap::<(&str, &str), Vec<&LogEntry>>::new();
        for entry in log {
            if let Some(value) = &entry.value {
                places.entry((&entry.key, value)).or_default().push(entry);
            }
        }
        let mut names: HashMap<(&str, &str), &Operation> = HashMap::new();
        for write in writes {
            let Some(value) = write.op.value() else { continue };
            if let Some(one) = names.insert((write.op.key(), value), write) {
                let (one, other) = (one.to_string(), write.to_string());
                self.found.push(AcknowledgedViolation::Ambiguous { one, other });
                continue;
            }
            let entries = places.remove(&(write.op.key(), value)).unwrap_or_default();
            self.value(write, &entries);
        }
        let invented = places.into_values().flatten().filter(|entry| {
            let name = entry.value.as_deref().map(|value| (entry.key.as_str(), value));
            name.is_some_and(|name| !names.contains_key(&name))
        });
        let invented = invented.map(|entry| AcknowledgedViolation::Invented { entry: entry.to_string() });
        self.found.extend(invented);
    }

    fn value(&mut self, write: &Operation, entries: &[&LogEntry]) {
        let text = || write.to_string();
        let violation = match (entries, write.written()) {
            ([], Some(_)) => AcknowledgedViolation::Lost { write: text() },
            ([_, _, ..], _) => {
                let indexes = entries.iter().map(|entry| entry.index).collect();
                AcknowledgedViolation::Duplicated { write: text(), indexes }
            }
            ([entry], Some(version)) if entry.index != version => {
                AcknowledgedViolation::Moved { write: text(), index: entry.index }
            }
            ([entry], None) if !write.is_unknown() => {
                AcknowledgedViolation::FailedApplied { write: text(), index: entry.index }
            }
            ([], None) | ([_], _) => return,
        };
        self.found.push(violation);
    }

    /// Deletes have no value to tell them apart: those acknowledged have their index, and of the others there can be no
    /// more than are unknown.
    fn deletes<'a>(&mut self, writes: impl Iterator<Item = &'a Operation>, log: &'a [LogEntry]) {
        let entries = log.iter().filter(|entry| entry.value.is_none());
        let mut entries: BTreeMap<(&str, Version), &LogEntry> =
            entries.map(|entry| ((entry.key.as_str(), entry.index), entry)).collect();
        let mut unknown: HashMap<&str, usize> = HashMap::new();
        for delete in writes.filter(|write| matches!(write.op, KvOp::Delete { .. })) {
            if let Some(version) = delete.written() {
                if entries.remove(&(delete.op.key(), version)).is_none() {
                    self.found.push(AcknowledgedViolation::Lost { write: delete.to_string() });
                }
            } else if delete.is_unknown() {
                *unknown.entry(delete.op.key()).or_default() += 1;
            }
        }
        for ((key, _), entry) in entries {
            match unknown.get_mut(key) {
                Some(left) if *left > 0 => *left -= 1,
                _ => self.found.push(AcknowledgedViolation::Invented { entry: entry.to_string() }),
            }
        }
    }

    /// Of all keys together: they share the log.
    fn order(&mut self, mut writes: Vec<&Operation>) {
        let mut ended = writes.clone();
        ended.sort_by_key(|write| write.completed_ns());
        writes.sort_by_key(|write| write.invoked_ns);
        let (mut ended, mut greatest) = (ended.into_iter().peekable(), None::<&Operation>);
        for later in writes {
            while let Some(earlier) = ended.next_if(|write| write.completed_ns() < Some(later.invoked_ns)) {
                if greatest.is_none_or(|greatest| greatest.written() < earlier.written()) {
                    greatest = Some(earlier);
                }
            }
            if let Some(earlier) = greatest.filter(|earlier| earlier.written() >= later.written()) {
                let (earlier, later) = (earlier.to_string(), later.to_string());
                self.found.push(AcknowledgedViolation::OutOfOrder { earlier, later });
            }
        }
    }

    fn reads(&mut self, history: &History, log: &[LogEntry]) {
        let entries: HashMap<Version, &LogEntry> = log.iter().map(|entry| (entry.index, entry)).collect();
        for read in history.operations() {
            let Some(Some((value, version))) = read.read() else { continue };
            let is_there = entries
                .get(&version)
                .is_some_and(|entry| entry.key == read.op.key() && entry.value.as_deref() == Some(value));
            if !is_there {
                self.found.push(AcknowledgedViolation::ReadOfNothing { read: read.to_string() });
            }
        }
    }
}

impl fmt::Display for LogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LogEntry { index, key, value } = self;
        match value {
            Some(value) => write!(f, "{key} = {value:?} at the index {index}"),
            None => write!(f, "delete {key} at the index {index}"),
        }
    }
}
