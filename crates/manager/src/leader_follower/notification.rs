use archipelago_proto::EntityId;
use serde::Serialize;
use tokio::sync::broadcast;

use super::{LeaderInfo, write::Operation};

/// What happens to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Notification {
    /// Nothing was heard of the leader for the heartbeat timeout, or its lease ran out.
    LeaderFailed {
        /// The leader that was.
        leader: LeaderInfo,
    },
    /// Somebody leads, in a new term.
    LeaderElected {
        /// Who.
        leader: LeaderInfo,
        /// The term.
        term: u64,
    },
    /// This node leads from now on.
    Promoted {
        /// The term.
        term: u64,
    },
    /// This node led, and does not any more.
    Demoted {
        /// The term in which it led.
        term: u64,
        /// Why, for a person to read.
        reason: String,
    },
    /// An entry was applied and stored.
    EventApplied {
        /// Its index.
        sequence: u64,
        /// The term that it is of.
        term: u64,
        /// The key.
        key: EntityId,
        /// What was done.
        operation: Operation,
    },
    /// This node lacks entries that the log no longer holds.
    FollowerDesynced {
        /// The last entry that it has.
        sequence: u64,
        /// Why, for a person to read.
        reason: String,
    },
    /// A state is being taken: told after each page.
    ResyncProgress {
        /// Whose.
        from: String,
        /// How many rows were taken.
        rows: u64,
        /// How many there are.
        rows_total: u64,
    },
    /// This node took the state of another one, and has caught up.
    Resynced {
        /// Whose.
        from: String,
        /// The last entry that it has now.
        sequence: u64,
        /// How many rows were taken.
        rows: u64,
    },
    /// A state could not be taken; it is tried again.
    ResyncFailed {
        /// Why, for a person to read.
        reason: String,
    },
    /// The log had lost entries, and this node, which leads, put them back.
    LogMended {
        /// The first entry that was put back.
        from: u64,
        /// The last.
        to: u64,
    },
    /// The log cannot be used by this node; it goes on trying.
    LogUnusable {
        /// Why, for a person to read.
        reason: String,
    },
    /// Another node had told that it has entries that neither the log holds nor any node that can be asked: the new
    /// leader goes on without them. Should that node come back, they are kept there for a person to look at.
    EntriesMissing {
        /// The last entry that is there.
        have: u64,
        /// The last entry that was told of.
        told: u64,
    },
    /// This node had applied entries that the log lost and that no later leader knew. They do not count any more; they are
    /// kept: see [`orphans`](super::LeaderFollowerManager::orphans).
    EntriesOrphaned {
        /// The first of them.
        from: u64,
        /// The last.
        to: u64,
    },
    /// A follower was registered, or is not any more.
    FollowersChanged {
        /// All that are registered.
        followers: Vec<String>,
    },
    /// The store failed; the node does nothing more until it is started again.
    StoreFailed {
        /// What the store said.
        reason: String,
    },
    /// The listener was too slow for so many notifications; they are gone. State is not affected.
    Missed(u64),
}

/// A stream of what happens to a node, from the moment of the subscription on. Up to
/// [`NOTIFICATIONS_MAX`](crate::NOTIFICATIONS_MAX) wait for a slow listener; beyond that the oldest are dropped and
/// [`Notification::Missed`] tells how many.
#[derive(Debug)]
pub struct Notifications(pub(super) broadcast::Receiver<Notification>);

impl Notifications {
    /// The next notification; `None` once the manager is closed. Cancel safe.
    pub async fn next(&mut self) -> Option<Notification> {
        match self.0.recv().await {
            Ok(notification) => Some(notification),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Notification::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
