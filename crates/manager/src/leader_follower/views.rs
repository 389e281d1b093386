//! What a node tells of itself and of the others.

use std::time::Duration;

use archipelago_proto::NodeRole;
use serde::Serialize;
use tokio::time::Instant;

use super::{LeaderFollowerManager, LeaderInfo, Metrics, Role, shared::Shared};
use crate::LinkState;

/// How a node is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It has nearly all that the leader has.
    Healthy,
    /// It lacks more than `lag_warn` entries.
    Lagging,
    /// It lacks entries that the log no longer holds, and takes the state anew.
    Desynced,
    /// Nothing was heard of it, or by it, for the heartbeat timeout.
    Unknown,
}

/// What a leader knows of a follower.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FollowerView {
    /// The node.
    pub id: String,
    /// Where clients reach it, if it told.
    pub address: Option<String>,
    /// True if it counts for majorities.
    pub registered: bool,
    /// The last entry that it told to have applied.
    pub last_reported_sequence: Option<u64>,
    /// How long ago it was heard.
    pub last_heartbeat: Option<Duration>,
    /// How far it is behind.
    pub lag: Option<FollowerLag>,
    /// How it is.
    pub health: Health,
}

/// How far a follower is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FollowerLag {
    /// How many entries it lacks.
    pub entries: u64,
    /// For how long it has been lacking the first of them; as of its last heartbeat it may have less by now.
    pub time: Duration,
}

/// What a node has heard of another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct HeardNode {
    /// The node.
    pub id: String,
    /// Where clients reach it, if it told.
    pub address: Option<String>,
    /// What it said it is.
    pub role: NodeRole,
    /// The newest term that it knew of.
    pub term: u64,
    /// The last entry that it had applied.
    pub applied_sequence: u64,
    /// It took the state of another one.
    pub is_desynced: bool,
    /// How long ago it was heard.
    pub silent_for: Duration,
}

/// What a leader says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LeaderState {
    /// Its term.
    pub term: u64,
    /// The last entry that it has applied.
    pub current_sequence: u64,
    /// Those that follow, registered or heard.
    pub followers: Vec<FollowerView>,
}

/// What a follower says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FollowerState {
    /// Who leads.
    pub leader: Option<LeaderInfo>,
    /// The newest term that it knows of.
    pub term: u64,
    /// The last entry that it has applied.
    pub applied_sequence: u64,
    /// How long ago it was last known to have all that was acknowledged by then; `None` if it never was.
    pub staleness: Option<Duration>,
    /// How it is.
    pub health: Health,
    /// What keeps it from following, for a person to read.
    pub trouble: Option<String>,
}

impl LeaderFollowerManager {
    /// What this node is.
    pub fn role(&self) -> NodeRole {
        self.shared().standing.borrow().role
    }

    /// True if it leads, as far as it knows.
    pub fn is_leader(&self) -> bool {
        self.shared().is_leading()
    }

    /// Who leads, as far as this node knows.
    pub fn leader(&self) -> Option<LeaderInfo> {
        self.shared().leader()
    }

    /// The newest term that this node knows of.
    pub fn term(&self) -> u64 {
        self.shared().standing.borrow().term
    }

    /// The last entry that is applied and stored here.
    pub fn last_applied_sequence(&self) -> u64 {
        self.shared().index()
    }

    /// The digest of the state, with the sequence that it is of: nodes that have applied as much have the same one.
    pub fn digest(&self) -> (u64, u128) {
        let applied = *self.shared().applied.borrow();
        (applied.history.index, applied.digest)
    }

    /// The digest of the history: of every entry that was ever applied, in order.
    pub fn history_digest(&self) -> (u64, u128) {
        let history = self.shared().applied.borrow().history;
        (history.index, history.chain)
    }

    /// How many keys have a value here.
    pub fn key_count(&self) -> u64 {
        self.shared().applied.borrow().rows
    }

    /// How long ago this node was last known to have all that was acknowledged by then; `None` if it never was.
    pub fn staleness(&self) -> Option<Duration> {
        let shared = self.shared();
        match shared.leads_for_sure() {
            true => Some(Duration::ZERO),
            false => shared.fresh_at.borrow().map(|at| at.elapsed()),
        }
    }

    /// True if what this node shows may be older than `max_staleness`.
    pub fn is_stale(&self) -> bool {
        self.staleness().is_none_or(|staleness| staleness > self.shared().options.max_staleness)
    }

    /// True if this node leads for certain, or heard the leader within the heartbeat timeout.
    pub fn is_leader_healthy(&self) -> bool {
        let shared = self.shared();
        match shared.is_leading() {
            true => shared.lease.is_none() || shared.leads_for_sure(),
            false => shared.peers().leader(shared.options.heartbeat_timeout).is_some(),
        }
    }

    /// True if this node may be elected: its role is [`Role::Automatic`], it is eligible, there is an election at all, and
    /// it lacks nothing that the log no longer holds.
    pub fn can_participate_in_election(&self) -> bool {
        let shared = self.shared();
        shared.lease.is_some() && shared.options.role == Role::Automatic && shared.is_eligible()
    }

    /// What this node knows as the leader; `None` if it is not.
    pub fn leader_state(&self) -> Option<LeaderState> {
        let shared = self.shared();
        let standing = shared.standing.borrow().clone();
        if standing.role != NodeRole::Leader {
            return None;
        }
        let registered = shared.other_followers();
        let mut ids = registered.clone();
        ids.extend(shared.peers().iter().map(|peer| peer.beat.node.clone()));
        ids.sort();
        ids.dedup();
        let followers = ids.into_iter().map(|id| follower(shared, id, &registered)).collect();
        Some(LeaderState { term: standing.term, current_sequence: shared.index(), followers })
    }

    /// What this node knows as a follower; `None` if it leads.
    pub fn follower_state(&self) -> Option<FollowerState> {
        let shared = self.shared();
        let standing = shared.standing.borrow().clone();
        if standing.role == NodeRole::Leader {
            return None;
        }
        Some(FollowerState {
            leader: standing.leader,
            term: standing.term,
            applied_sequence: shared.index(),
            staleness: self.staleness(),
            health: self.health(),
            trouble: standing.trouble.or(standing.failed),
        })
    }

    /// The other nodes that were heard since the start, by name.
    pub fn heard_nodes(&self) -> Vec<HeardNode> {
        let peers = self.shared().peers();
        let heard = peers.iter().map(|peer| HeardNode {
            id: peer.beat.node.clone(),
            address: peer.beat.address.clone(),
            role: peer.beat.role,
            term: peer.beat.term,
            applied_sequence: peer.beat.index,
            is_desynced: peer.beat.is_desynced,
            silent_for: peer.heard_at.elapsed(),
        });
        heard.collect()
    }

    /// The nodes that count for majorities beside the leader, as of the last entry that is applied here.
    pub fn registered_followers(&self) -> Vec<String> {
        self.shared().standing.borrow().followers.clone()
    }

    /// How many entries this node lacks of those that the leader has told of; nothing on the leader. `None` if the leader
    /// was not heard within the heartbeat timeout.
    pub fn lag_entries(&self) -> Option<u64> {
        let shared = self.shared();
        if shared.is_leading() {
            return Some(0);
        }
        let head = shared.peers().leader(shared.options.heartbeat_timeout).map(|peer| peer.beat.index)?;
        Some(head.saturating_sub(shared.index()))
    }

    /// How this node stands with the broker.
    pub fn link_state(&self) -> LinkState {
        self.shared().pipeline.status().borrow().clone().into()
    }

    /// Why its store failed, if it did: it does nothing more until it is started again.
    pub fn failure(&self) -> Option<String> {
        self.shared().standing.borrow().failed.clone()
    }

    /// How this node is.
    pub fn health(&self) -> Health {
        let shared = self.shared();
        let standing = shared.standing.borrow().clone();
        if standing.is_desynced {
            return Health::Desynced;
        }
        if standing.failed.is_some() {
            return Health::Unknown;
        }
        if standing.role == NodeRole::Leader {
            return if self.is_leader_healthy() { Health::Healthy } else { Health::Unknown };
        }
        let head = shared.peers().leader(shared.options.heartbeat_timeout).map(|peer| peer.beat.index);
        match head {
            None => Health::Unknown,
            Some(head) if head.saturating_sub(shared.index()) > shared.options.lag_warn => Health::Lagging,
            Some(_) => Health::Healthy,
        }
    }

    /// How far a follower is behind, as the leader knows: `None` if this node does not lead, or has not heard of it.
    pub fn follower_lag(&self, id: &str) -> Option<FollowerLag> {
        match self.is_leader() {
            true => lag(self.shared(), id),
            false => None,
        }
    }

    /// The followers that were heard within the heartbeat timeout.
    pub fn connected_followers(&self) -> Vec<String> {
        let shared = self.shared();
        let alive = shared.peers().alive(shared.options.heartbeat_timeout);
        let mut nodes: Vec<String> = alive
            .into_iter()
            .filter(|peer| peer.beat.role == NodeRole::Follower)
            .map(|peer| peer.beat.node)
            .collect();
        nodes.sort();
        nodes
    }

    /// Counts since the start, and how it is now.
    pub fn metrics(&self) -> Metrics {
        let shared = self.shared();
        let applied = *shared.applied.borrow();
        Metrics {
            applied_sequence: applied.history.index,
            keys: applied.rows,
            term: shared.standing.borrow().term,
            staleness: self.staleness(),
            ..shared.counters.counts()
        }
    }
}

fn lag(shared: &Shared, id: &str) -> Option<FollowerLag> {
    let has = reported(shared, id)?;
    let time = shared.peers().lacking_for(has, Instant::now());
    Some(FollowerLag { entries: shared.index().saturating_sub(has), time })
}

fn reported(shared: &Shared, id: &str) -> Option<u64> {
    let beat = shared.peers().get(id).map(|peer| peer.beat.index)?;
    Some(beat.max(shared.reach.known(id).unwrap_or_default()))
}

fn follower(shared: &Shared, id: String, registered: &[String]) -> FollowerView {
    let peer = shared.peers().get(&id).cloned();
    let last_heartbeat = peer.as_ref().map(|peer| peer.heard_at.elapsed());
    let lag = lag(shared, &id);
    let health = match (&peer, lag) {
        (Some(peer), _) if peer.beat.is_desynced => Health::Desynced,
        (Some(peer), Some(lag)) if peer.heard_at.elapsed() <= shared.options.heartbeat_timeout => {
            if lag.entries > shared.options.lag_warn { Health::Lagging } else { Health::Healthy }
        }
        _ => Health::Unknown,
    };
    FollowerView {
        registered: registered.contains(&id),
        address: peer.as_ref().and_then(|peer| peer.beat.address.clone()),
        last_reported_sequence: reported(shared, &id),
        last_heartbeat,
        lag,
        health,
        id,
    }
}
