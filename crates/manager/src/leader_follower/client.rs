use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use archipelago_proto::EntityId;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Found, Health, NodeStatus, ReadConsistency, ReadRouter, RouteError, RoutedNode, SessionToken, Write,
    WriteError, WriteReceipt,
};

/// After a write that was not done, before it is tried again; doubled each time, up to the cap.
const RETRY_PAUSE_BASE: Duration = Duration::from_millis(10);
const RETRY_PAUSE_CAP: Duration = Duration::from_millis(250);
/// How much later than its deadline a node may say what became of a write.
const ANSWER_GRACE: Duration = Duration::from_millis(500);

/// One who reads what it wrote, and never less than it has read, whichever node answers (Terry et al., 1994: read your
/// writes, monotonic reads).
///
/// It keeps a [token](Self::token) of what it has written and read; each read shows at least that. The token can be handed
/// over, for instance in a header, and [resumed](Self::resume) elsewhere:
///
/// ```
/// use archipelago_manager::leader_follower::{
///     LeaderFollowerManager, ReadRouter, SessionClient, SessionToken, Write,
/// };
/// use archipelago_pipeline::MemoryBroker;
/// use archipelago_store::MemoryStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = MemoryBroker::default();
/// let mut nodes = Vec::new();
/// for name in ["paris", "tokyo"] {
///     let node = LeaderFollowerManager::builder()
///         .node_id(name)
///         .namespace("orders")
///         .store(MemoryStore::new())
///         .pipeline(broker.pipeline("orders"));
///     nodes.push(node.start().await?);
/// }
/// let router = ReadRouter::new(nodes);
///
/// let client = SessionClient::new(router.clone());
/// client.write(Write::create("order/7", "two lamps")).await?; // to whoever leads
/// let found = client.read::<String>("order/7").await?; // from whoever has it
/// assert_eq!(found.value.as_deref(), Some("two lamps"));
///
/// // The next request of the same user comes to another process.
/// let header = client.token().to_string();
/// let token: SessionToken = header.parse()?;
/// let client = SessionClient::new(router);
/// client.resume(token);
/// assert_eq!(client.read::<String>("order/7").await?.value.as_deref(), Some("two lamps"));
/// # Ok(())
/// # }
/// ```
///
/// What a read must show is what had been written and read when it began: of two reads at once either may be ahead.
///
/// A handle: clones are the same session. For another session over the same nodes, make one with a clone of the router.
#[derive(Clone, Debug)]
pub struct SessionClient {
    router: ReadRouter,
    seen: Arc<Mutex<SessionToken>>,
}

impl SessionClient {
    /// A new session, which has seen nothing.
    pub fn new(router: ReadRouter) -> Self {
        SessionClient { router, seen: Arc::default() }
    }

    /// What the session has written and read so far.
    pub fn token(&self) -> SessionToken {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session has seen this, too, beside what it has seen already.
    pub fn resume(&self, token: SessionToken) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = seen.max(token);
    }

    /// The router that it reads from.
    pub fn router(&self) -> &ReadRouter {
        &self.router
    }

    /// The value of a key, if it has one, with all that this session has written and read.
    ///
    /// # Errors
    /// [`RouteError`]. Nothing is shown that is older than what the session has seen.
    pub async fn read<T: DeserializeOwned>(&self, key: impl Into<EntityId>) -> Result<Found<T>, RouteError> {
        Ok(self.read_encoded(&key.into(), ReadConsistency::Session(self.token())).await?.decode()?)
    }

    /// The value of a key, if it has one, with all that anyone was told to be written, and all that this session has read.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn read_linearizable<T: DeserializeOwned>(
        &self,
        key: impl Into<EntityId>,
    ) -> Result<Found<T>, RouteError> {
        let (key, seen) = (key.into(), self.token());
        let found = self.read_encoded(&key, ReadConsistency::Linearizable).await?;
        if found.token.covers(seen) {
            return Ok(found.decode()?);
        }
        // The session has seen on a follower what the leader had not been told to be in the log. What has that has all
        // that was acknowledged before.
        Ok(self.read_encoded(&key, ReadConsistency::Session(seen)).await?.decode()?)
    }

    async fn read_encoded(
        &self,
        key: &EntityId,
        consistency: ReadConsistency,
    ) -> Result<Found<Bytes>, RouteError> {
        let found = self.router.read_encoded(key, consistency).await?;
        self.resume(found.token);
        Ok(found)
    }

    /// Writes one key, on whichever node leads, and tries again until the deadline of the write as long as it is certain
    /// that it was not done. What may have been done is never tried again.
    ///
    /// # Errors
    /// [`WriteError`], as of [`LeaderFollowerManager::write`](super::LeaderFollowerManager::write).
    /// [`WriteError::FollowerReadOnly`] at once if a node leads that the router does not have, and after the deadline if
    /// none does; nothing was written.
    pub async fn write(&self, write: Write) -> Result<WriteReceipt, WriteError> {
        let deadline = Instant::now() + write.deadline;
        let mut pause = RETRY_PAUSE_BASE;
        let mut named = None;
        loop {
            let node = named.take().or_else(|| self.writer());
            let error = match &node {
                Some(node) => match write_to(&**node, &write, deadline).await {
                    Ok(receipt) => {
                        self.resume(receipt.token);
                        return Ok(receipt);
                    }
                    Err(error) => error,
                },
                None => WriteError::FollowerReadOnly { leader: None },
            };
            match &error {
                WriteError::FollowerReadOnly { leader: Some(leader) } => {
                    let Some(leading) = self.router.node(&leader.id) else { return Err(error) };
                    let was_asked = node.is_some_and(|node| node.id() == leading.id());
                    named = (!was_asked).then_some(leading);
                }
                WriteError::FollowerReadOnly { leader: None }
                | WriteError::NotWritten { .. }
                | WriteError::Closed => {}
                _ => return Err(error),
            }
            // Also before the one that was named is asked: two nodes may each name the other for a while.
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_CAP);
        }
    }

    /// Whom to write to, as far as is known.
    fn writer(&self) -> Option<Arc<dyn RoutedNode>> {
        let members = self.router.members();
        let is_heard = |status: &NodeStatus| matches!(status.health, Health::Healthy | Health::Lagging);
        let leads = members.iter().filter(|(_, status)| status.is_leader);
        if let Some((node, _)) = leads.max_by_key(|(_, status)| (is_heard(status), status.term)) {
            return Some(node.clone());
        }
        let names = members.iter().filter(|(_, status)| status.leader.is_some());
        let (names, status) = names.max_by_key(|(_, status)| (is_heard(status), status.term))?;
        let named = status.leader.as_ref().and_then(|leader| self.router.node(&leader.id));
        // One that follows may pass it on, and otherwise says where the leader is.
        Some(named.unwrap_or_else(|| names.clone()))
    }
}

async fn write_to(
    node: &dyn RoutedNode,
    write: &Write,
    deadline: Instant,
) -> Result<WriteReceipt, WriteError> {
    let left = deadline.saturating_duration_since(Instant::now());
    let written = node.write(write.clone().within(left));
    match timeout_at(deadline + ANSWER_GRACE, written).await {
        Ok(Err(WriteError::OutcomeUnknown { .. })) | Err(_) => {
            Err(WriteError::OutcomeUnknown { deadline: write.deadline })
        }
        Ok(written) => written,
    }
}
