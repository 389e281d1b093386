use thiserror::Error;

use crate::{Kind, extension::ExtensionError};

/// Two CRDTs are of different kinds, so that neither can be joined to the other. Both are unchanged. Permanent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("a CRDT of kind {theirs} cannot be joined to one of kind {ours}")]
pub struct KindMismatch {
    /// The kind of the CRDT that was to change, or was asked.
    pub ours: Kind,
    /// The kind of the other.
    pub theirs: Kind,
}

/// Why bytes could not be understood as a CRDT, or two of them not be joined. Nothing has changed. Permanent, except
/// that a later release may know a kind or version that this one does not.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DynamicError {
    /// The bytes are not one whole MessagePack extension of the type [`EXTENSION_TYPE`](crate::EXTENSION_TYPE).
    #[error("not a CRDT: the bytes are not one whole extension of its type")]
    NotACrdt,
    /// The version of the format is unknown to this release.
    #[error("a CRDT in version {version} of the format, which is unknown to this release")]
    UnknownVersion {
        /// The version.
        version: u8,
    },
    /// The kind is unknown to this release.
    #[error("a CRDT of kind {code}, which is unknown to this release")]
    UnknownKind {
        /// The code of the kind.
        code: u8,
    },
    /// The CRDT nests too deep.
    #[error("a CRDT nests too deep")]
    TooDeep,
    /// The CRDT is longer than a MessagePack extension can be.
    #[error("a CRDT of more than 4 GiB")]
    TooLong,
    /// The bytes are not a state of their kind with a `ReplicaId` as the actor and a `Value` as everything else.
    #[error("not a state of kind {kind}: {reason}")]
    Malformed {
        /// The kind, as far as it is known.
        kind: String,
        /// What is wrong.
        reason: String,
    },
    /// The two are of different kinds.
    #[error(transparent)]
    KindMismatch(#[from] KindMismatch),
}

impl From<ExtensionError> for DynamicError {
    fn from(error: ExtensionError) -> Self {
        match error {
            ExtensionError::Malformed(reason) => {
                DynamicError::Malformed { kind: "unknown".to_owned(), reason: reason.to_owned() }
            }
            ExtensionError::UnknownVersion(version) => DynamicError::UnknownVersion { version },
            ExtensionError::UnknownKind(code) => DynamicError::UnknownKind { code },
            ExtensionError::TooDeep => DynamicError::TooDeep,
            ExtensionError::TooLong => DynamicError::TooLong,
        }
    }
}
