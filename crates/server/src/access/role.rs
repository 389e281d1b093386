use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::{Kind, Setting};

/// What the holder of a token may do; each role may do what the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Look.
    Read,
    /// Write data.
    Write,
    /// Change who belongs to the namespace, and whatever else operators do.
    Admin,
}

impl Role {
    /// All of them, each with what the ones before it may.
    pub const ALL: [Role; 3] = [Role::Read, Role::Write, Role::Admin];

    /// The role as a word.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Write => "write",
            Role::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Setting for Role {
    const KIND: Kind = Kind::Text;
}
