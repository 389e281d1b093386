use archipelago_clock::VectorClock;
use archipelago_crdt::Value;
use serde::{Deserialize, Serialize};

use crate::StampedRecord;

/// The stamp of a [`Candidate`]: the greater timestamp wins, and of equal ones the greater node id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CandidateStamp {
    // The order of the fields is the order of stamps.
    /// As in [`Candidate::timestamp`].
    pub timestamp: u64,
    /// As in [`Candidate::node_id`].
    pub node_id: String,
}

/// One of two versions of a record that a [`ConflictResolver`](crate::ConflictResolver) chooses from or merges.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// The record.
    pub value: Value,
    /// When it was written, in any unit that all candidates share: milliseconds, or [`Hlc::bits`].
    ///
    /// [`Hlc::bits`]: archipelago_clock::Hlc::bits
    pub timestamp: u64,
    /// Who wrote it.
    pub node_id: String,
    /// What its writer had seen, itself included; if known, it tells an ordinary update from a conflict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector_clock: Option<VectorClock<String>>,
    /// The record with a stamp for each field, which field merge goes by in place of `value` if it is there.
    /// Without it, every field has the stamp of the candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<StampedRecord<CandidateStamp>>,
}

impl Candidate {
    /// A version written at `timestamp` by `node_id`.
    pub fn new(value: impl Into<Value>, timestamp: u64, node_id: impl Into<String>) -> Self {
        Candidate {
            value: value.into(),
            timestamp,
            node_id: node_id.into(),
            vector_clock: None,
            record: None,
        }
    }

    /// The same, whose writer had seen `clock`, its own write included.
    #[must_use]
    pub fn with_vector_clock(self, clock: VectorClock<String>) -> Self {
        Candidate { vector_clock: Some(clock), ..self }
    }

    /// The same, with the value of `record` and a stamp for each field.
    ///
    /// A deleted record has the value [`Value::Null`], one that was never written an empty map.
    #[must_use]
    pub fn with_record(self, record: StampedRecord<CandidateStamp>) -> Self {
        Candidate { value: shown(&record), record: Some(record), ..self }
    }

    /// The stamp of the whole.
    pub fn stamp(&self) -> CandidateStamp {
        CandidateStamp { timestamp: self.timestamp, node_id: self.node_id.clone() }
    }

    /// The record with a stamp for each field.
    pub(crate) fn stamped(&self) -> StampedRecord<CandidateStamp> {
        match &self.record {
            Some(record) => record.clone(),
            None => StampedRecord::from_value(self.value.clone(), self.stamp()),
        }
    }

    /// What decides between whole candidates: the stamp, and the value where two writes share a stamp.
    pub(crate) fn rank(&self) -> (u64, &str, &Value) {
        (self.timestamp, &self.node_id, &self.value)
    }
}

/// The value of a record that a candidate or an outcome stands for, which exists even if the record does not.
pub(crate) fn shown(record: &StampedRecord<CandidateStamp>) -> Value {
    let absent = if record.is_empty() { Value::Map(Default::default()) } else { Value::Null };
    record.value().unwrap_or(absent)
}
