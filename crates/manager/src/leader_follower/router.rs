use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use archipelago_proto::{DecodeError, EntityId};
use bytes::Bytes;
use futures::{StreamExt, stream::FuturesUnordered};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep_until};

use super::{
    Found, NodeStatus, ReadConsistency, ReadError, RoutedNode,
    metrics::add,
    route::{Attempt, Candidate, route},
};

/// Which of the nodes that can answer a read is asked first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Routing {
    /// The one that was not asked for longest: each gets as many reads as the others.
    #[default]
    RoundRobin,
    /// The one that has applied most, as far as is known. Those that have applied as much take turns.
    LeastLag,
}

/// Which reads the leader answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LeaderReads {
    /// Those that no follower can answer at once.
    #[default]
    Fallback,
    /// As many as any follower.
    TakesPart,
}

/// Reads from several nodes: from one that has what a read asks for, and if that fails, from another one.
///
/// Each read first tries, without waiting, the nodes that should be able to answer at once: followers as the [`Routing`]
/// says, then the leader, then those that seem to be cut off. Only if none of them can it waits. A node that has not answered
/// after [a while](Self::hedge_after) is waited for on, while the next one is asked, too. What is shown is never
/// older than asked for: each node decides that itself.
///
/// ```
/// use archipelago_manager::leader_follower::{
///     LeaderFollowerManager, ReadConsistency, ReadRouter, Routing, Write,
/// };
/// use archipelago_pipeline::MemoryBroker;
/// use archipelago_store::MemoryStore;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = MemoryBroker::default();
/// let mut nodes = Vec::new();
/// for name in ["paris", "tokyo", "lima"] {
///     let node = LeaderFollowerManager::builder()
///         .node_id(name)
///         .namespace("orders")
///         .store(MemoryStore::new())
///         .pipeline(broker.pipeline("orders"));
///     nodes.push(node.start().await?);
/// }
/// nodes[0].promote().await?;
/// let router = ReadRouter::new(nodes.clone()).routing(Routing::LeastLag);
///
/// let receipt = nodes[0].write(Write::create("order/7", "two lamps")).await?;
/// let found = router.read::<String>("order/7", ReadConsistency::Session(receipt.token)).await?;
/// assert_eq!(found.value.as_deref(), Some("two lamps"));
///
/// nodes[1].close().await?;
/// router.remove("tokyo");
/// let found = router.read::<String>("order/7", ReadConsistency::Linearizable).await?;
/// assert_eq!(found.value.as_deref(), Some("two lamps"));
/// # Ok(())
/// # }
/// ```
///
/// A handle: clones have the same nodes and counts, and each its own options. It keeps its nodes running; to stop one,
/// [close](super::LeaderFollowerManager::close) it.
#[derive(Clone, Debug)]
pub struct ReadRouter {
    shared: Arc<Routes>,
    routing: Routing,
    leader_reads: LeaderReads,
    deadline: Duration,
    hedge_after: Duration,
}

#[derive(Debug, Default)]
struct Routes {
    /// Replaced as a whole, so that a read keeps those that it began with.
    nodes: RwLock<Arc<[Arc<Route>]>>,
    choices: AtomicU64,
    fallbacks: AtomicU64,
    passed_over: AtomicU64,
    failures: AtomicU64,
}

#[derive(Debug)]
struct Route {
    node: Arc<dyn RoutedNode>,
    chosen: AtomicU64,
    reads: AtomicU64,
}

/// What a router has done since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RouterMetrics {
    /// How many reads each node answered. A node that is removed takes its count with it.
    pub reads: BTreeMap<String, u64>,
    /// How many reads the leader answered because no follower could at once.
    pub fallbacks: u64,
    /// How often a node could not answer and another one was asked.
    pub passed_over: u64,
    /// Reads that nobody answered.
    pub failures: u64,
}

/// Why a read was answered by no node. Nothing was changed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The router has no nodes: add some.
    #[error("the router has no nodes; add one")]
    NoNodes,
    /// None of the nodes could answer in time. Worth trying again if that is so for one of them.
    #[error("no node could answer within {deadline:?}: {}", listed(.said))]
    NoneCould {
        /// What each of them said last.
        said: BTreeMap<String, ReadError>,
        /// How long a read may take.
        deadline: Duration,
    },
    /// The value is not of the type that was asked for.
    #[error(transparent)]
    Value(#[from] DecodeError),
}

impl RouteError {
    /// True if the same read may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            RouteError::NoneCould { said, .. } => said.values().any(ReadError::is_retryable),
            RouteError::NoNodes | RouteError::Value(_) => false,
        }
    }
}

fn listed(said: &BTreeMap<String, ReadError>) -> String {
    let mut text = String::new();
    for (node, error) in said {
        let comma = if text.is_empty() { "" } else { "; " };
        let _ = write!(text, "{comma}{node}: {error}");
    }
    text
}

impl ReadRouter {
    /// Reads from these nodes. Of several with the same name the last one counts.
    pub fn new(nodes: impl IntoIterator<Item = impl RoutedNode + 'static>) -> Self {
        let router = ReadRouter {
            shared: Arc::default(),
            routing: Routing::default(),
            leader_reads: LeaderReads::default(),
            deadline: Duration::from_secs(5),
            hedge_after: Duration::from_millis(100),
        };
        for node in nodes {
            router.add(node);
        }
        router
    }

    /// Who is asked first. Default [`Routing::RoundRobin`].
    #[must_use]
    pub fn routing(mut self, routing: Routing) -> Self {
        self.routing = routing;
        self
    }

    /// Which reads the leader answers. Default [`LeaderReads::Fallback`].
    #[must_use]
    pub fn leader_reads(mut self, leader_reads: LeaderReads) -> Self {
        self.leader_reads = leader_reads;
        self
    }

    /// How long a read may take, whoever answers it. Default 5 seconds.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// After how long without an answer another node is asked, too. Default 100 milliseconds.
    #[must_use]
    pub fn hedge_after(mut self, hedge_after: Duration) -> Self {
        self.hedge_after = hedge_after;
        self
    }

    /// Reads from this node, too, instead of one of the same name.
    pub fn add(&self, node: impl RoutedNode + 'static) {
        let route = Route { node: Arc::new(node), chosen: AtomicU64::new(0), reads: AtomicU64::new(0) };
        let route = Arc::new(route);
        let mut nodes = self.shared.nodes.write().unwrap_or_else(PoisonError::into_inner);
        let others = nodes.iter().filter(|other| other.node.id() != route.node.id()).cloned();
        *nodes = others.chain([route.clone()]).collect();
    }

    /// Reads from this node no more; what was asked of it is waited for. False if there was none of this name.
    pub fn remove(&self, id: &str) -> bool {
        let mut nodes = self.shared.nodes.write().unwrap_or_else(PoisonError::into_inner);
        let before = nodes.len();
        *nodes = nodes.iter().filter(|route| route.node.id() != id).cloned().collect();
        nodes.len() < before
    }

    /// The nodes, and how they are.
    pub fn nodes(&self) -> Vec<(String, NodeStatus)> {
        self.routes().iter().map(|route| (route.node.id().to_owned(), route.node.status())).collect()
    }

    /// What it has done so far.
    pub fn metrics(&self) -> RouterMetrics {
        let value = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let reads =
            self.routes().iter().map(|route| (route.node.id().to_owned(), value(&route.reads))).collect();
        RouterMetrics {
            reads,
            fallbacks: value(&self.shared.fallbacks),
            passed_over: value(&self.shared.passed_over),
            failures: value(&self.shared.failures),
        }
    }

    /// The value of a key, if it has one, from any node that can show it with the consistency that is asked for.
    ///
    /// # Errors
    /// [`RouteError`]. Nothing is shown that is older than what was asked for.
    pub async fn read<T: DeserializeOwned>(
        &self,
        key: impl Into<EntityId>,
        consistency: ReadConsistency,
    ) -> Result<Found<T>, RouteError> {
        Ok(self.read_encoded(&key.into(), consistency).await?.decode()?)
    }

    /// As [`read`](Self::read), with the value as it was encoded.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn read_encoded(
        &self,
        key: &EntityId,
        consistency: ReadConsistency,
    ) -> Result<Found<Bytes>, RouteError> {
        let deadline = Instant::now() + self.deadline;
        let routes = self.routes();
        if routes.is_empty() {
            return Err(RouteError::NoNodes);
        }
        let found = self.ask_in_turn(&routes, key, consistency, deadline).await;
        if found.is_err() {
            add(&self.shared.failures, 1);
        }
        found
    }

    async fn ask_in_turn(
        &self,
        routes: &[Arc<Route>],
        key: &EntityId,
        consistency: ReadConsistency,
        deadline: Instant,
    ) -> Result<Found<Bytes>, RouteError> {
        let mut attempts = self.attempts(routes, consistency).into_iter().peekable();
        let mut said = BTreeMap::new();
        let mut asked = FuturesUnordered::new();
        let mut next_at = Instant::now();
        loop {
            let is_time = asked.is_empty() || Instant::now() >= next_at;
            if let Some(attempt) = attempts.next_if(|_| is_time) {
                let route = &*routes[attempt.at];
                route.chosen.store(add_one(&self.shared.choices), Ordering::Relaxed);
                next_at = Instant::now() + self.hedge_after;
                asked.push(async move { (attempt, ask(route, key, consistency, attempt, deadline).await) });
            }
            tokio::select! {
                biased;
                Some((attempt, answer)) = asked.next() => {
                    let route = &routes[attempt.at];
                    match answer {
                        Ok(found) => {
                            add(&route.reads, 1);
                            add(&self.shared.fallbacks, u64::from(attempt.is_fallback));
                            return Ok(found);
                        }
                        Err(ReadError::Value(error)) => return Err(RouteError::Value(error)),
                        Err(error) => {
                            add(&self.shared.passed_over, 1);
                            said.insert(route.node.id().to_owned(), error);
                            next_at = Instant::now();
                        }
                    }
                    if asked.is_empty() && attempts.peek().is_none() {
                        return Err(RouteError::NoneCould { said, deadline: self.deadline });
                    }
                }
                () = sleep_until(next_at), if attempts.peek().is_some() => {}
            }
        }
    }

    fn attempts(&self, routes: &[Arc<Route>], consistency: ReadConsistency) -> Vec<Attempt> {
        let candidate = |route: &Arc<Route>| Candidate {
            status: route.node.status(),
            chosen: route.chosen.load(Ordering::Relaxed),
        };
        let candidates: Vec<Candidate> = routes.iter().map(candidate).collect();
        route(&candidates, consistency, self.routing, self.leader_reads)
    }

    fn routes(&self) -> Arc<[Arc<Route>]> {
        self.shared.nodes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The node of this name.
    pub(super) fn node(&self, id: &str) -> Option<Arc<dyn RoutedNode>> {
        self.routes().iter().find(|route| route.node.id() == id).map(|route| route.node.clone())
    }

    /// All nodes, and how they are.
    pub(super) fn members(&self) -> Vec<(Arc<dyn RoutedNode>, NodeStatus)> {
        self.routes().iter().map(|route| (route.node.clone(), route.node.status())).collect()
    }
}

fn add_one(counter: &AtomicU64) -> u64 {
    counter.fetch_add(1, Ordering::Relaxed) + 1
}

/// Asks one node. An answer that is not what was asked for is none.
async fn ask(
    route: &Route,
    key: &EntityId,
    consistency: ReadConsistency,
    attempt: Attempt,
    deadline: Instant,
) -> Result<Found<Bytes>, ReadError> {
    let left = deadline.saturating_duration_since(Instant::now());
    let patience = if attempt.waits { left } else { Duration::ZERO };
    let answer = tokio::time::timeout(left, route.node.read_encoded(key, consistency, patience));
    let found = answer.await.unwrap_or_else(|_| {
        Err(ReadError::Unreachable { reason: "it did not answer before the read had to end".to_owned() })
    })?;
    match consistency {
        ReadConsistency::Session(token) if !found.token.covers(token) => {
            Err(ReadError::Behind { index: found.token.index, wanted: token.index })
        }
        _ => Ok(found),
    }
}
