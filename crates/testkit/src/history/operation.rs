use std::fmt;

use serde::{Deserialize, Serialize};

use super::{KvOp, KvResult, Version};

/// One call of a client: who asked for what, when, and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation<O = KvOp, R = KvResult> {
    /// Who asked. No two clients of a history share a number, not even in different operating system processes.
    pub process: u64,
    /// Tells the operations of one process apart.
    pub id: u64,
    /// What was asked for.
    pub op: O,
    /// No later than the moment at which it was asked for.
    pub invoked_ns: u64,
    /// What became of it.
    pub outcome: Outcome<R>,
}

/// What became of an operation, as far as its client knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome<R = KvResult> {
    /// It was answered. A refusal is an answer, too: it tells something of the state.
    Ok {
        /// The answer.
        result: R,
        /// No earlier than the moment of the answer.
        completed_ns: u64,
    },
    /// It had no effect and never will, and nothing is known of the state.
    Failed {
        /// No earlier than the moment at which that was known.
        completed_ns: u64,
    },
    /// It may have an effect once, at any moment after it was asked for, also long after; or never.
    Unknown,
}

impl<O, R> Operation<O, R> {
    /// The answer, if there was one.
    pub fn result(&self) -> Option<&R> {
        match &self.outcome {
            Outcome::Ok { result, .. } => Some(result),
            _ => None,
        }
    }

    /// When it was answered or known to have failed; an unknown one never ends.
    pub fn completed_ns(&self) -> Option<u64> {
        match self.outcome {
            Outcome::Ok { completed_ns, .. } | Outcome::Failed { completed_ns } => Some(completed_ns),
            Outcome::Unknown => None,
        }
    }

    /// Whether it may still have an effect.
    pub fn is_unknown(&self) -> bool {
        matches!(self.outcome, Outcome::Unknown)
    }
}

impl<O: fmt::Display, R: fmt::Display> fmt::Display for Operation<O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Operation { process, op, invoked_ns, .. } = self;
        write!(f, "process {process}: {op} -> ")?;
        match &self.outcome {
            Outcome::Ok { result, completed_ns } => write!(f, "{result} ({invoked_ns} to {completed_ns} ns)"),
            Outcome::Failed { completed_ns } => write!(f, "failed ({invoked_ns} to {completed_ns} ns)"),
            Outcome::Unknown => write!(f, "unknown (from {invoked_ns} ns)"),
        }
    }
}

impl Operation {
    /// The version that it gave its key, if it is an acknowledged write.
    pub(super) fn written(&self) -> Option<Version> {
        match self.result() {
            Some(KvResult::Written(version)) => Some(*version),
            _ => None,
        }
    }

    /// What it read, if it is an answered read.
    pub(super) fn read(&self) -> Option<Option<(&str, Version)>> {
        match self.result() {
            Some(KvResult::Value(value)) => {
                Some(value.as_ref().map(|(value, version)| (value.as_str(), *version)))
            }
            _ => None,
        }
    }
}
