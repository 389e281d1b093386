use std::{fmt::Debug, sync::Arc, time::Duration};

use archipelago_proto::EntityId;
use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;

use super::{
    Found, Health, LeaderFollowerManager, LeaderInfo, ReadConsistency, ReadError, Write, WriteError,
    WriteReceipt,
};

/// A node that a [`ReadRouter`](super::ReadRouter) reads from and a [`SessionClient`](super::SessionClient) writes to: a
/// [`LeaderFollowerManager`] of this process, or one that is reached some other way.
#[async_trait]
pub trait RoutedNode: Debug + Send + Sync {
    /// The name of the node, which no other node of the router has.
    fn id(&self) -> &str;

    /// How the node is, as far as that is known without asking it: this is called for each read. It decides who is tried
    /// first; what is read is decided by the node.
    fn status(&self) -> NodeStatus;

    /// Reads a key, and waits for so long at most until the node has what it takes. The value is given as it was encoded.
    ///
    /// # Errors
    /// [`ReadError`]: nothing may be shown that is older than what was asked for.
    async fn read_encoded(
        &self,
        key: &EntityId,
        consistency: ReadConsistency,
        patience: Duration,
    ) -> Result<Found<Bytes>, ReadError>;

    /// Writes, as [`LeaderFollowerManager::write`] does.
    ///
    /// # Errors
    /// [`WriteError`]. Only where it is certain that nothing was or will be written it may say so; if the node was asked
    /// and did not answer it is [`WriteError::OutcomeUnknown`].
    async fn write(&self, write: Write) -> Result<WriteReceipt, WriteError>;
}

/// What a router knows of a node. By default nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeStatus {
    /// How it is. [`Health::Unknown`] as well for one that is closed or does not answer.
    pub health: Health,
    /// True if it leads, as far as it knows.
    pub is_leader: bool,
    /// The newest term that it knows of.
    pub term: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<LeaderInfo>,
    /// The last entry that it has applied, or an earlier one.
    pub applied_sequence: u64,
    /// How long ago it was last known to have all that was acknowledged by then; `None` if it never was.
    pub staleness: Option<Duration>,
}

impl Default for NodeStatus {
    fn default() -> Self {
        NodeStatus {
            health: Health::Unknown,
            is_leader: false,
            term: 0,
            leader: None,
            applied_sequence: 0,
            staleness: None,
        }
    }
}

impl NodeStatus {
    /// True if the node should be able to answer such a read without waiting.
    pub(super) fn has(&self, consistency: ReadConsistency) -> bool {
        match consistency {
            ReadConsistency::Eventual => true,
            ReadConsistency::Session(token) => self.applied_sequence >= token.index,
            ReadConsistency::BoundedStaleness(bound) => self.staleness.is_some_and(|it| it <= bound),
            // Somebody is asked in any case.
            ReadConsistency::Linearizable => false,
        }
    }
}

#[async_trait]
impl RoutedNode for LeaderFollowerManager {
    fn id(&self) -> &str {
        self.node_id()
    }

    fn status(&self) -> NodeStatus {
        NodeStatus {
            health: if self.is_closed() { Health::Unknown } else { self.health() },
            is_leader: self.is_leader(),
            term: self.term(),
            leader: self.leader(),
            applied_sequence: self.last_applied_sequence(),
            staleness: self.staleness(),
        }
    }

    async fn read_encoded(
        &self,
        key: &EntityId,
        consistency: ReadConsistency,
        patience: Duration,
    ) -> Result<Found<Bytes>, ReadError> {
        LeaderFollowerManager::read_encoded(self, key, consistency, patience).await
    }

    async fn write(&self, write: Write) -> Result<WriteReceipt, WriteError> {
        LeaderFollowerManager::write(self, write).await
    }
}

/// So that one router can have nodes of several kinds.
#[async_trait]
impl<N: RoutedNode + ?Sized> RoutedNode for Arc<N> {
    fn id(&self) -> &str {
        (**self).id()
    }

    fn status(&self) -> NodeStatus {
        (**self).status()
    }

    async fn read_encoded(
        &self,
        key: &EntityId,
        consistency: ReadConsistency,
        patience: Duration,
    ) -> Result<Found<Bytes>, ReadError> {
        (**self).read_encoded(key, consistency, patience).await
    }

    async fn write(&self, write: Write) -> Result<WriteReceipt, WriteError> {
        (**self).write(write).await
    }
}
