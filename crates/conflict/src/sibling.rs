use archipelago_crdt::Value;
use serde::{Deserialize, Serialize};

use crate::Stamp;

/// One of several concurrent live versions of an entity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sibling {
    /// Which write it is, and when it was made.
    pub stamp: Stamp,
    /// What it wrote; `None` if it removed the entity.
    pub value: Option<Value>,
}

/// What a reader sees of concurrent siblings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The sibling with the greatest stamp.
    Greatest,
    /// The sibling with the greatest stamp, and all the others beside it.
    All,
    /// A value computed from them; `None` if the entity is removed.
    Computed(Option<Value>),
}
