use std::fmt;

use serde::{Deserialize, Serialize};

/// The index in the log of the last write to a key, from 1. A key that is missing has version 0.
pub type Version = u64;

/// An operation on a key-value store.
///
/// Values should be unique in a history: then each tells which write it came from, and the checkers are at their
/// strongest. [`check_acknowledged`](super::check_acknowledged) requires it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KvOp {
    /// Asks for the value and its version; answered with [`KvResult::Value`].
    Read {
        /// Of which key.
        key: String,
        /// How fresh the answer has to be.
        consistency: Consistency,
    },
    /// Writes whether the key exists or not.
    Upsert {
        /// The key.
        key: String,
        /// Its new value.
        value: String,
        /// The version that the key must have.
        expected: Option<Version>,
    },
    /// Writes a key that is missing; refused if it exists.
    Create {
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// Writes a key that exists; refused if it is missing.
    Update {
        /// The key.
        key: String,
        /// Its new value.
        value: String,
        /// The version that the key must have.
        expected: Option<Version>,
    },
    /// Removes a key that exists; refused if it is missing.
    Delete {
        /// The key.
        key: String,
        /// The version that the key must have.
        expected: Option<Version>,
    },
}

/// What a read asked for. Each checker looks at the reads that were promised what it checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consistency {
    /// Anything that was once true.
    Eventual,
    /// What was true at most this long before it was asked for, or later.
    BoundedStaleness {
        /// How old it may be.
        bound_ns: u64,
    },
    /// No older than what its process has written and read.
    Session,
    /// What is true at some moment between the question and the answer.
    Linearizable,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KvResult {
    /// To a read: the value and its version, or that the key is missing.
    Value(Option<(String, Version)>),
    /// To a write: it is done, and this is the version of the key now.
    Written(Version),
    /// To a create: the key exists. To an update or delete: it is missing. Nothing was changed.
    Refused,
    /// The key has another version than expected. Nothing was changed.
    Conflict,
}

impl KvOp {
    /// A linearizable read.
    pub fn read(key: impl Into<String>) -> Self {
        KvOp::read_at(Consistency::Linearizable, key)
    }

    /// A read with this promise.
    pub fn read_at(consistency: Consistency, key: impl Into<String>) -> Self {
        KvOp::Read { key: key.into(), consistency }
    }

    /// An upsert without expectations.
    pub fn upsert(key: impl Into<String>, value: impl Into<String>) -> Self {
        KvOp::Upsert { key: key.into(), value: value.into(), expected: None }
    }

    /// A create.
    pub fn create(key: impl Into<String>, value: impl Into<String>) -> Self {
        KvOp::Create { key: key.into(), value: value.into() }
    }

    /// An update without expectations.
    pub fn update(key: impl Into<String>, value: impl Into<String>) -> Self {
        KvOp::Update { key: key.into(), value: value.into(), expected: None }
    }

    /// A delete without expectations.
    pub fn delete(key: impl Into<String>) -> Self {
        KvOp::Delete { key: key.into(), expected: None }
    }

    /// The same, if the key has this version; 0 if it is missing.
    ///
    /// # Panics
    /// For a read or a create, which expect no version.
    #[must_use]
    pub fn expecting(mut self, version: Version) -> Self {
        match &mut self {
            KvOp::Upsert { expected, .. } | KvOp::Update { expected, .. } | KvOp::Delete { expected, .. } => {
                *expected = Some(version);
            }
            KvOp::Read { .. } | KvOp::Create { .. } => panic!("{self} expects no version"),
        }
        self
    }

    /// The key that it is about.
    pub fn key(&self) -> &str {
        match self {
            KvOp::Read { key, .. }
            | KvOp::Upsert { key, .. }
            | KvOp::Create { key, .. }
            | KvOp::Update { key, .. }
            | KvOp::Delete { key, .. } => key,
        }
    }

    /// The value that it writes.
    pub fn value(&self) -> Option<&str> {
        match self {
            KvOp::Upsert { value, .. } | KvOp::Create { value, .. } | KvOp::Update { value, .. } => {
                Some(value)
            }
            KvOp::Read { .. } | KvOp::Delete { .. } => None,
        }
    }

    /// The promise, if it is a read.
    pub fn consistency(&self) -> Option<Consistency> {
        match self {
            KvOp::Read { consistency, .. } => Some(*consistency),
            _ => None,
        }
    }

    /// The version that the key must have for it.
    pub fn expected(&self) -> Option<Version> {
        match self {
            KvOp::Upsert { expected, .. } | KvOp::Update { expected, .. } | KvOp::Delete { expected, .. } => {
                *expected
            }
            KvOp::Read { .. } | KvOp::Create { .. } => None,
        }
    }
}

impl fmt::Display for KvOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KvOp::Read { key, consistency: Consistency::Linearizable } => write!(f, "read {key}")?,
            KvOp::Read { key, consistency: Consistency::BoundedStaleness { bound_ns } } => {
                write!(f, "read {key} (at most {bound_ns} ns old)")?;
            }
            KvOp::Read { key, consistency: Consistency::Session } => write!(f, "read {key} (session)")?,
            KvOp::Read { key, consistency: Consistency::Eventual } => write!(f, "read {key} (eventual)")?,
            KvOp::Upsert { key, value, .. } => write!(f, "upsert {key} = {value:?}")?,
            KvOp::Create { key, value } => write!(f, "create {key} = {value:?}")?,
            KvOp::Update { key, value, .. } => write!(f, "update {key} = {value:?}")?,
            KvOp::Delete { key, .. } => write!(f, "delete {key}")?,
        }
        self.expected().map_or(Ok(()), |version| write!(f, " if at version {version}"))
    }
}

impl fmt::Display for KvResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KvResult::Value(Some((value, version))) => write!(f, "{value:?} at version {version}"),
            KvResult::Value(None) => f.write_str("missing"),
            KvResult::Written(version) => write!(f, "written as version {version}"),
            KvResult::Refused => f.write_str("refused"),
            KvResult::Conflict => f.write_str("conflict"),
        }
    }
}
