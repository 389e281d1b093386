use std::path::PathBuf;

use archipelago::Durability;
use serde::{Deserialize, Serialize};

use super::section::{Kind, Setting, section, settings};

section! {
    /// Who this node is, and where it keeps its data.
    NodeSection {
        /// The name of this node, unique among the nodes: 1 to 64 of A-Z a-z 0-9 _ -. Required.
        name: Option<String> = None, "\"us-east\"";
        /// The folder of the data; each namespace has a folder of its own in it.
        data: PathBuf = "data".into(), "\"/var/lib/archipelago\"";
        /// The crash that an acknowledged write survives: "fsync" (power loss), "os" (the death of the process) or
        /// "memory" (none).
        durability: DurabilityName = DurabilityName::Fsync, "\"os\"";
        /// How long requests under way may take once the node was told to end.
        drain_timeout_ms: u64 = 10_000, "30000";
    }
}

/// The crash that an acknowledged write survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DurabilityName {
    /// None.
    Memory,
    /// The death of the process.
    Os,
    /// Power loss.
    Fsync,
}
settings! { Text: DurabilityName; }

impl From<DurabilityName> for Durability {
    fn from(name: DurabilityName) -> Self {
        match name {
            DurabilityName::Memory => Durability::Memory,
            DurabilityName::Os => Durability::Os,
            DurabilityName::Fsync => Durability::Fsync,
        }
    }
}
