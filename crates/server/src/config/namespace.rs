use std::collections::BTreeMap;

use archipelago::Strategy;
use serde::{Deserialize, Serialize};

use super::section::{Kind, Setting, section, settings};

section! {
    /// A namespace: one data set, with its own log and members. Its name is 1 to 64 of A-Z a-z 0-9 _ -.
    NamespaceSection {
        /// How it is replicated: "multi-master", every node writes.
        mode: Mode = Mode::MultiMaster, "\"multi-master\"";
        /// How conflicts are resolved, the same on every node: "lww", "field-merge", "crdt-merge",
        /// "version-vector", "manual" or "detect".
        strategy: ConflictStrategyName = ConflictStrategyName::Lww, "\"field-merge\"";
        /// Other strategies for entities whose id begins so; the longest prefix decides.
        prefix_strategies: BTreeMap<String, ConflictStrategyName> = BTreeMap::new(), "{ \"counter/\" = \"crdt-merge\" }";
        /// How often the node tells the others how far it is.
        heartbeat_interval_ms: u64 = 1_000, "500";
        /// How far ahead of this node's clock a write of another one may be before it must wait.
        max_drift_ms: u64 = 60_000, "10000";
        /// The most writes that may wait for the broker before further ones are refused.
        outbox_events_max: u64 = 1_000_000, "100000";
        /// The most events that wait for what they depend on.
        event_buffer_events_max: usize = 1_000, "10000";
        /// The most bytes that one repair may fetch.
        repair_bytes_max: usize = 1_073_741_824, "268435456";
        /// How many entities are read again at each heartbeat, to find damage; 0 for none.
        scrub_entities_per_beat: usize = 1_000, "0";
        /// How many conflicts are remembered.
        conflict_journal_max: u64 = 10_000, "1000";
    }
}

/// How a namespace is replicated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Mode {
    /// Every node writes.
    MultiMaster,
}

/// How conflicts are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ConflictStrategyName {
    /// The greatest stamp wins, as a whole.
    Lww,
    /// Each field by its own stamp.
    FieldMerge,
    /// Fields that are CRDTs join, the others are as under field merge.
    CrdtMerge,
    /// Siblings are kept, and the greatest stamp is shown.
    VersionVector,
    /// The same, until someone resolves them.
    Manual,
    /// The same, and they are only reported.
    Detect,
}
settings! { Text: Mode, ConflictStrategyName; }

impl From<ConflictStrategyName> for Strategy {
    fn from(name: ConflictStrategyName) -> Self {
        match name {
            ConflictStrategyName::Lww => Strategy::Lww,
            ConflictStrategyName::FieldMerge => Strategy::FieldMerge,
            ConflictStrategyName::CrdtMerge => Strategy::CrdtMerge,
            ConflictStrategyName::VersionVector => Strategy::VersionVector,
            ConflictStrategyName::Manual => Strategy::Manual,
            ConflictStrategyName::Detect => Strategy::Detect,
        }
    }
}

impl NamespaceSection {
    /// The strategy that holds for an entity.
    pub fn strategy_of(&self, entity: &str) -> ConflictStrategyName {
        let matching =
            self.prefix_strategies.iter().filter(|(prefix, _)| entity.starts_with(prefix.as_str()));
        matching.max_by_key(|(prefix, _)| prefix.len()).map_or(self.strategy, |(_, strategy)| *strategy)
    }
}
