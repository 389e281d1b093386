//! What these tests share.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use archipelago_manager::leader_follower::{
    LeaderFollowerBuilder, LeaderFollowerManager, Notification, Notifications,
};
use archipelago_pipeline::{MemoryBroker, Switch};
use archipelago_store::MemoryStore;
use archipelago_testkit::history::Recorder;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio_util::sync::CancellationToken;

/// How long anything that must happen is waited for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) const NAMESPACE: &str = "orders";

pub(crate) fn builder(broker: &MemoryBroker, name: &str) -> LeaderFollowerBuilder {
    LeaderFollowerManager::builder()
        .node_id(name)
        .namespace(NAMESPACE)
        .store(MemoryStore::new())
        .pipeline(broker.pipeline(NAMESPACE))
        .address(format!("http://{name}"))
        .reconnect_backoff(Duration::from_millis(50), Duration::from_secs(1))
}

pub(crate) async fn node(broker: &MemoryBroker, name: &str) -> LeaderFollowerManager {
    builder(broker, name).start().await.expect("a node")
}

/// A node that can be cut off.
pub(crate) async fn switched(broker: &MemoryBroker, name: &str) -> (LeaderFollowerManager, Switch) {
    let switch = Switch::new(std::sync::Arc::new(broker.pipeline(NAMESPACE)));
    let node = builder(broker, name).pipeline(switch.clone()).start().await.expect("a node");
    (node, switch)
}

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("did not happen within {DEADLINE:?}: {what}"),
    }
}

/// The one that leads, once exactly one does and all others know it.
pub(crate) async fn leader_of(nodes: &[LeaderFollowerManager]) -> usize {
    within("one leads and all know it", async {
        loop {
            let leading: Vec<usize> = (0..nodes.len()).filter(|at| nodes[*at].is_leader()).collect();
            if let [at] = leading[..] {
                let id = nodes[at].node_id();
                if nodes.iter().all(|node| node.leader().is_some_and(|leader| leader.id == id)) {
                    return at;
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

pub(crate) async fn until(what: &str, mut met: impl FnMut() -> bool) {
    within(what, async {
        while !met() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Waits until all have applied as much, and checks that they have the same.
pub(crate) async fn expect_equal(nodes: &[LeaderFollowerManager]) {
    let furthest = nodes.iter().map(LeaderFollowerManager::last_applied_sequence).max().unwrap_or_default();
    for node in nodes {
        assert!(node.wait_for_sequence(furthest, DEADLINE).await, "{} lags behind", node.node_id());
    }
    until("all have applied as much", || {
        let first = nodes[0].last_applied_sequence();
        nodes.iter().all(|node| node.last_applied_sequence() == first)
    })
    .await;
    for node in &nodes[1..] {
        assert_eq!(node.digest(), nodes[0].digest(), "{} and {}", node.node_id(), nodes[0].node_id());
        assert_eq!(node.history_digest(), nodes[0].history_digest());
        assert_eq!(node.key_count(), nodes[0].key_count());
    }
}

pub(crate) async fn heard(
    notifications: &mut Notifications,
    what: &str,
    mut is_it: impl FnMut(&Notification) -> bool,
) -> Notification {
    within(what, async {
        loop {
            match notifications.next().await {
                Some(notification) if is_it(&notification) => return notification,
                Some(_) => {}
                None => panic!("closed before: {what}"),
            }
        }
    })
    .await
}

/// Three nodes that can be cut off, and which of them leads.
pub(crate) async fn three_switched(
    broker: &MemoryBroker,
) -> (Vec<LeaderFollowerManager>, Vec<Switch>, usize) {
    let (mut nodes, mut switches) = (Vec::new(), Vec::new());
    for name in ["a", "b", "c"] {
        let (node, switch) = switched(broker, name).await;
        nodes.push(node);
        switches.push(switch);
    }
    let leader = leader_of(&nodes).await;
    (nodes, switches, leader)
}

/// Notes what clients do, by the clock of the runtime, and never two things at once.
pub(crate) fn recorder() -> Recorder {
    let (began, last) = (tokio::time::Instant::now(), AtomicU64::new(0));
    Recorder::with_clock(move || {
        let now = u64::try_from(began.elapsed().as_nanos()).expect("a test is short");
        let before = last.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |last| Some(now.max(last + 1)));
        now.max(before.expect("it is never refused") + 1)
    })
}

/// Cuts nodes off, mends that, and has others lead, until told to stop. Then all are connected again.
pub(crate) async fn make_trouble(
    nodes: Vec<LeaderFollowerManager>,
    switches: Vec<Switch>,
    seed: u64,
    stop: CancellationToken,
) {
    let mut random = StdRng::seed_from_u64(seed);
    while !stop.is_cancelled() {
        let at = random.random_range(0..nodes.len());
        match random.random_range(0..6) {
            0 | 1 => switches[at].cut(),
            2 | 3 => switches.iter().for_each(Switch::heal),
            // Whether or not it can be done just now.
            4 => drop(tokio::time::timeout(Duration::from_secs(1), nodes[at].promote()).await),
            _ => drop(nodes[at].demote().await),
        }
        let pause = Duration::from_millis(random.random_range(10..2_000));
        let _ = tokio::time::timeout(pause, stop.cancelled()).await;
    }
    switches.iter().for_each(Switch::heal);
}
