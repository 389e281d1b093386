use archipelago_crdt::Value;
use serde::{Deserialize, Serialize};

/// What a write says about a field or a whole record: a value, or that there is none any more.
///
/// A removal is kept, with its stamp, so that it wins over older writes that arrive later. It is less than any
/// value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// There is none any more.
    Removed,
    /// The value.
    Set(Value),
}

impl Content {
    /// The value, unless it was removed.
    pub const fn value(&self) -> Option<&Value> {
        match self {
            Content::Removed => None,
            Content::Set(value) => Some(value),
        }
    }
}
