/// Why bytes could not be understood. Nothing was taken from them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are not an Archipelago envelope at all. Permanent.
    #[error("not an Archipelago envelope")]
    NotAnEnvelope,
    /// The envelope is of a version that this build does not know. A newer build may understand it.
    #[error(
        "envelope version {found} is newer than {supported}, the newest this build understands; upgrade it"
    )]
    UnsupportedVersion {
        /// The version of the envelope.
        found: u64,
        /// The newest version this build understands.
        supported: u64,
    },
    /// The envelope holds something that this build does not know. A newer build may understand it.
    #[error("unknown {what} {found}; a newer build may understand it")]
    Unknown {
        /// What kind of thing is unknown.
        what: &'static str,
        /// Its code.
        found: u64,
    },
    /// The checksum does not match: the bytes were damaged on their way. Permanent.
    #[error("the checksum does not match: the bytes were damaged")]
    Checksum,
    /// A limit is exceeded. Permanent under these limits.
    #[error("{found} is over the limit {limit} = {max}")]
    OverLimit {
        /// The name of the limit.
        limit: &'static str,
        /// What was found.
        found: u64,
        /// The limit.
        max: u64,
    },
    /// The MessagePack inside is broken or has another shape than expected. Permanent.
    #[error("malformed {what}: {reason}")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl DecodeError {
    /// True if a newer build may understand the same bytes: they must be kept, not skipped.
    pub fn is_from_the_future(&self) -> bool {
        matches!(self, DecodeError::UnsupportedVersion { .. } | DecodeError::Unknown { .. })
    }
}

/// Why something could not be encoded. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A limit is exceeded. Permanent under these limits.
    #[error("{found} is over the limit {limit} = {max}")]
    OverLimit {
        /// The name of the limit.
        limit: &'static str,
        /// What was found.
        found: u64,
        /// The limit.
        max: u64,
    },
    /// The value cannot be represented in MessagePack. Permanent for this value.
    #[error("the value cannot be encoded: {reason}")]
    Unrepresentable {
        /// What the serializer said.
        reason: String,
    },
}
