use std::collections::BTreeMap;

use archipelago::{Strategy, leader_follower};
use serde::{Deserialize, Serialize};
use toml::Table;

use super::section::{Kind, Setting, section, settings};

section! {
    /// A namespace: one data set, with its own log and members. Its name is 1 to 64 of A-Z a-z 0-9 _ -. It is of one mode for
    /// ever; options that say so are for that mode only.
    NamespaceSection {
        /// How it is replicated: "multi-master", every node writes; or "leader-follower", one node at a time writes, and another
        /// one takes over when it is gone. The latter needs nats.servers.
        mode: Mode = Mode::MultiMaster, "\"multi-master\"";
        /// How often the node tells the others how far it is.
        heartbeat_interval_ms: u64 = 1_000, "500";
        /// Multi-master: how conflicts are resolved, the same on every node: "lww", "field-merge", "crdt-merge",
        /// "version-vector", "manual" or "detect".
        strategy: ConflictStrategyName = ConflictStrategyName::Lww, "\"field-merge\"";
        /// Multi-master: other strategies for entities whose id begins so; the longest prefix decides.
        prefix_strategies: BTreeMap<String, ConflictStrategyName> = BTreeMap::new(), "{ \"counter/\" = \"crdt-merge\" }";
        /// Multi-master: how far ahead of this node's clock a write of another one may be before it must wait.
        max_drift_ms: u64 = 60_000, "10000";
        /// Multi-master: the most writes that may wait for the broker before further ones are refused.
        outbox_events_max: u64 = 1_000_000, "100000";
        /// Multi-master: the most events that wait for what they depend on.
        event_buffer_events_max: usize = 1_000, "10000";
        /// Multi-master: the most bytes that one repair may fetch.
        repair_bytes_max: usize = 1_073_741_824, "268435456";
        /// Multi-master: how many entities are read again at each heartbeat, to find damage; 0 for none.
        scrub_entities_per_beat: usize = 1_000, "0";
        /// Multi-master: how many conflicts are remembered.
        conflict_journal_max: u64 = 10_000, "1000";
        /// Leader-follower: how the node comes to lead: "automatic", by election; "follower", only if it is promoted; "leader",
        /// at once and without an election, for those who elect elsewhere. All nodes elect, or none.
        role: RoleName = RoleName::Automatic, "\"follower\"";
        /// Leader-follower: who leads at the start, if there is no election; with role = "follower".
        leader: Option<String> = None, "\"us-east\"";
        /// Leader-follower: whether a follower passes writes on to the leader. If not, it refuses them and names the leader.
        forward_writes: bool = false, "true";
        /// Leader-follower: how far a write must have come that does not say so: "pipeline", the broker and the leader have it;
        /// or "majority", more than half of the nodes have it, too.
        ack: LeaderAckName = LeaderAckName::Pipeline, "\"majority\"";
        /// Leader-follower: how long a leader that is gone keeps others from leading; the same on all nodes.
        lease_ms: u64 = 3_000, "1000";
        /// Leader-follower: after how long without a heartbeat another node counts as gone.
        heartbeat_timeout_ms: u64 = 5_000, "3000";
        /// Leader-follower: whether the node may lead at all.
        promotion_eligible: bool = true, "false";
        /// Leader-follower: 0 to 100; each point that the node lacks lets others go first for another 10 ms.
        priority: u16 = 100, "50";
        /// Leader-follower: from when on a node counts as stale that was not known to have everything.
        max_staleness_ms: u64 = 30_000, "5000";
        /// Leader-follower: a follower that lacks more entries is lagging.
        lag_warn_entries: u64 = 100, "1000";
        /// Leader-follower: a follower that lacks more entries that the log no longer holds takes the whole state of another
        /// node.
        resync_threshold_entries: u64 = 1_000, "10000";
        /// Leader-follower: how long that may last before it is begun anew.
        resync_timeout_ms: u64 = 60_000, "600000";
        /// Leader-follower: how many of the newest entries the node keeps beside its state, for others, for a log that lost
        /// them, and for streams of changes that go on.
        tail_entries_max: u64 = 100_000, "1000000";
        /// Leader-follower: how many entries the log keeps; the leader trims what is older.
        log_entries_max: u64 = 1_000_000, "10000000";
        /// Leader-follower: how many writes may be under way before further ones wait.
        writes_waiting_max: usize = 1_024, "4096";
        /// Leader-follower: how many requests of other nodes may be under way, such as writes that they pass on.
        requests_max: usize = 1_024, "4096";
        /// Leader-follower: how many messages may be on their way to the log; more help if the broker is far away.
        in_flight_max: usize = 1, "4";
    }
}

/// How a namespace is replicated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Mode {
    /// Every node writes.
    MultiMaster,
    /// One node at a time writes.
    LeaderFollower,
}

/// How a node comes to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RoleName {
    /// By election.
    Automatic,
    /// Only if it is promoted.
    Follower,
    /// At once, without an election.
    Leader,
}

/// How far a write must have come in leader-follower mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaderAckName {
    /// The broker and the leader have it.
    Pipeline,
    /// More than half of the nodes have it, too.
    Majority,
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
settings! { Text: Mode, ConflictStrategyName, RoleName, LeaderAckName; }

impl From<RoleName> for leader_follower::Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Automatic => leader_follower::Role::Automatic,
            RoleName::Follower => leader_follower::Role::Follower,
            RoleName::Leader => leader_follower::Role::Leader,
        }
    }
}

impl From<LeaderAckName> for leader_follower::Ack {
    fn from(name: LeaderAckName) -> Self {
        match name {
            LeaderAckName::Pipeline => leader_follower::Ack::Log,
            LeaderAckName::Majority => leader_follower::Ack::Majority,
        }
    }
}

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

impl Mode {
    /// The mode as a word.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::MultiMaster => "multi-master",
            Mode::LeaderFollower => "leader-follower",
        }
    }
}

impl NamespaceSection {
    /// The options that are for the other mode and not as they are by default.
    pub(super) fn of_other_mode(&self) -> Vec<&'static str> {
        let foreign = match self.mode {
            Mode::MultiMaster => "Leader-follower:",
            Mode::LeaderFollower => "Multi-master:",
        };
        let (Ok(mine), Ok(default)) = (Table::try_from(self), Table::try_from(NamespaceSection::default()))
        else {
            return Vec::new();
        };
        let others = Self::OPTIONS.iter().filter(|option| option.doc[0].trim_start().starts_with(foreign));
        others.map(|option| option.name).filter(|name| mine.get(*name) != default.get(*name)).collect()
    }

    /// The strategy that holds for an entity.
    pub fn strategy_of(&self, entity: &str) -> ConflictStrategyName {
        let matching =
            self.prefix_strategies.iter().filter(|(prefix, _)| entity.starts_with(prefix.as_str()));
        matching.max_by_key(|(prefix, _)| prefix.len()).map_or(self.strategy, |(_, strategy)| *strategy)
    }
}
