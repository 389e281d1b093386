use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    io::{BufRead, Write},
    ops::RangeInclusive,
};

use serde::{Serialize, de::DeserializeOwned};

use super::{HistoryError, KvOp, KvResult, Operation, Outcome, json_lines};

/// What a number of clients asked for and were answered, in any order.
///
/// Recorded by a [`Recorder`](super::Recorder), or written by hand:
///
/// ```
/// use archipelago_testkit::history::{History, KvOp, KvResult, check_linearizable};
///
/// let history = History::new()
///     .ok(1, 0..=10, KvOp::upsert("x", "a"), KvResult::Written(1))
///     .unknown(2, 5, KvOp::upsert("x", "b"))
///     .ok(3, 20..=30, KvOp::read("x"), KvResult::Value(Some(("b".into(), 2))));
/// check_linearizable(&history).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History<O = KvOp, R = KvResult> {
    operations: Vec<Operation<O, R>>,
}

impl<O, R> Default for History<O, R> {
    fn default() -> Self {
        History { operations: Vec::new() }
    }
}

impl<O, R> History<O, R> {
    /// Nothing has happened.
    pub fn new() -> Self {
        Self::default()
    }

    /// What happened, in any order.
    pub fn operations(&self) -> &[Operation<O, R>] {
        &self.operations
    }

    /// And this operation was answered. The range is from its invocation to its completion, in nanoseconds.
    #[must_use]
    pub fn ok(self, process: u64, at_ns: RangeInclusive<u64>, op: O, result: R) -> Self {
        let completed_ns = *at_ns.end();
        self.and(process, *at_ns.start(), op, Outcome::Ok { result, completed_ns })
    }

    /// And this operation failed, without effect.
    #[must_use]
    pub fn failed(self, process: u64, at_ns: RangeInclusive<u64>, op: O) -> Self {
        let completed_ns = *at_ns.end();
        self.and(process, *at_ns.start(), op, Outcome::Failed { completed_ns })
    }

    /// And nobody knows what became of this operation.
    #[must_use]
    pub fn unknown(self, process: u64, invoked_ns: u64, op: O) -> Self {
        self.and(process, invoked_ns, op, Outcome::Unknown)
    }

    fn and(mut self, process: u64, invoked_ns: u64, op: O, outcome: Outcome<R>) -> Self {
        let id = self.operations.len() as u64;
        self.operations.push(Operation { process, id, op, invoked_ns, outcome });
        self
    }

    /// Both histories as one, as of two operating system processes. Their instants must be of one clock.
    ///
    /// # Errors
    /// [`HistoryError::Ambiguous`] if a client's number is used in both.
    pub fn merged(mut self, other: Self) -> Result<Self, HistoryError> {
        let ours: BTreeSet<u64> = self.operations.iter().map(|operation| operation.process).collect();
        if let Some(Operation { process, .. }) =
            other.operations.iter().find(|operation| ours.contains(&operation.process))
        {
            return Err(HistoryError::Ambiguous { process: *process });
        }
        self.operations.extend(other.operations);
        Ok(self)
    }

    /// As JSON Lines, an operation each.
    ///
    /// # Errors
    /// [`HistoryError::Io`]; some lines may have been written.
    pub fn write_to(&self, to: impl Write) -> Result<(), HistoryError>
    where
        O: Serialize,
        R: Serialize,
    {
        json_lines::write(to, &self.operations)
    }

    /// From JSON Lines, as [`write_to`](Self::write_to) or the journal of a recorder wrote them. Of an operation that
    /// is there as unknown and with its outcome the outcome counts; a last line that was not finished is left out.
    ///
    /// # Errors
    /// [`HistoryError`] if a line cannot be read or understood, or contradicts another.
    pub fn read_from(from: impl BufRead) -> Result<Self, HistoryError>
    where
        O: DeserializeOwned + PartialEq,
        R: DeserializeOwned,
    {
        joined(json_lines::read(from)?)
    }
}

impl<O, R> From<Vec<Operation<O, R>>> for History<O, R> {
    fn from(operations: Vec<Operation<O, R>>) -> Self {
        History { operations }
    }
}

fn joined<O: PartialEq, R>(lines: Vec<Operation<O, R>>) -> Result<History<O, R>, HistoryError> {
    let mut operations: Vec<Operation<O, R>> = Vec::new();
    let mut places = BTreeMap::new();
    for line in lines {
        let (process, id) = (line.process, line.id);
        if line.completed_ns().is_some_and(|completed| completed < line.invoked_ns) {
            return Err(HistoryError::Backwards { process, id });
        }
        match places.entry((process, id)) {
            Entry::Vacant(place) => {
                place.insert(operations.len());
                operations.push(line);
            }
            Entry::Occupied(place) => {
                let begun = &mut operations[*place.get()];
                let is_the_same = begun.op == line.op && begun.invoked_ns == line.invoked_ns;
                if !(begun.is_unknown() && is_the_same) {
                    return Err(HistoryError::Ambiguous { process });
                }
                *begun = line;
            }
        }
    }
    Ok(History { operations })
}
