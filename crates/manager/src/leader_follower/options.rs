use std::time::Duration;

use archipelago_proto::Limits;
use archipelago_store::Durability;
use serde::{Deserialize, Serialize};

/// How a node comes to lead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// By election: of all nodes with this role that are eligible one holds the lease of the namespace, and leads.
    #[default]
    Automatic,
    /// It leads as soon as it is started, without an election: for those who elect elsewhere. Whoever led before is
    /// deposed.
    Leader,
    /// It follows, until it is [promoted](crate::leader_follower::LeaderFollowerManager::promote).
    Follower,
}

/// What a follower does with a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFollower {
    /// It refuses, and says who leads.
    #[default]
    Refuse,
    /// It passes the write on to the leader, and gives back what the leader says.
    Forward,
}

/// What a node is to be and do. Set by the [builder](crate::leader_follower::LeaderFollowerBuilder).
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) role: Role,
    pub(crate) leader_id: Option<String>,
    pub(crate) address: Option<String>,
    pub(crate) on_follower: OnFollower,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) heartbeat_timeout: Duration,
    pub(crate) max_staleness: Duration,
    pub(crate) lease: Duration,
    pub(crate) promotion_eligible: bool,
    pub(crate) priority: u8,
    pub(crate) last_applied_sequence: u64,
    pub(crate) lag_warn: u64,
    pub(crate) resync_threshold: u64,
    pub(crate) snapshot_timeout: Duration,
    pub(crate) reconnect_base: Duration,
    pub(crate) reconnect_cap: Duration,
    pub(crate) read_timeout: Duration,
    pub(crate) durability: Durability,
    pub(crate) writes_waiting_max: usize,
    pub(crate) requests_max: usize,
    pub(crate) in_flight_max: usize,
    pub(crate) tail_entries_max: u64,
    pub(crate) log_entries_max: u64,
    pub(crate) page_bytes: u64,
    pub(crate) limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            role: Role::Automatic,
            leader_id: None,
            address: None,
            on_follower: OnFollower::Refuse,
            heartbeat_interval: Duration::from_secs(1),
            heartbeat_timeout: Duration::from_secs(5),
            max_staleness: Duration::from_secs(30),
            lease: Duration::from_secs(3),
            promotion_eligible: true,
            priority: super::PRIORITY_MAX,
            last_applied_sequence: 0,
            lag_warn: 100,
            resync_threshold: 1_000,
            snapshot_timeout: Duration::from_secs(60),
            reconnect_base: Duration::from_secs(2),
            reconnect_cap: Duration::from_secs(60),
            read_timeout: Duration::from_secs(5),
            durability: Durability::Fsync,
            writes_waiting_max: 1_024,
            requests_max: 1_024,
            in_flight_max: 1,
            tail_entries_max: 100_000,
            log_entries_max: 1_000_000,
            page_bytes: 512 * 1024,
            limits: Limits::default(),
        }
    }
}
