use archipelago_clock::VersionVector;
use archipelago_proto::TraceId;

use crate::Expected;

/// What the author of a write says beside it.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    /// What the author had seen; `None` for all that this master has.
    pub(crate) context: Option<VersionVector>,
    /// What the entity must be for the write to happen.
    pub(crate) expected: Expected,
    /// What the write is a part of.
    pub(crate) trace: Option<TraceId>,
}

impl Default for Intent {
    fn default() -> Self {
        Intent { context: None, expected: Expected::Anything, trace: None }
    }
}
