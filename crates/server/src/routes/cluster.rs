//! How the nodes stand with one another.

use std::{collections::BTreeMap, time::Duration};

use archipelago::{LeaderFollowerManager, Metrics, PeerView, clock::VersionVector, leader_follower};
use axum::{extract::State, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    config::Mode,
    media::Accepted,
    namespace::Running,
    problem::{Problem, ProblemBody},
    routes::{health::unready, leadership::Leadership},
};

/// How this node is, namespace by namespace.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Status {
    /// The name of the node.
    node: String,
    /// The version of the program.
    version: &'static str,
    /// Whether requests should come here.
    is_ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    namespaces: BTreeMap<String, NamespaceStatus>,
}

#[derive(Debug, Serialize, ToSchema)]
struct NamespaceStatus {
    #[schema(value_type = String, example = "multi-master")]
    mode: Mode,
    /// The name and the incarnation of this master; in multi-master mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    master: Option<String>,
    /// How it stands in leader-follower mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    leadership: Option<Leadership>,
    /// How it stands with the broker: `up`, `down`, `lost`, or `absent` if there is none.
    link: &'static str,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    link_reason: Option<String>,
    /// Why it takes no more writes until the node is started again.
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// What was seen of another process that uses the identity of this master.
    #[serde(skip_serializing_if = "Option::is_none")]
    fenced: Option<String>,
    /// Whether it has caught up since the node was started.
    is_caught_up: bool,
    /// How often the masters tell one another how far they are, by the configuration.
    heartbeat_interval_ms: u64,
    /// How far ahead a clock may be before its writes wait, by the configuration.
    max_drift_ms: u64,
    /// The most writes that may wait for the broker, by the configuration.
    outbox_events_max: u64,
    /// Of each master, up to which write everything is here; in multi-master mode.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    vector: BTreeMap<String, u64>,
    /// Counts since the start, and gauges.
    #[schema(value_type = BTreeMap<String, u64>)]
    metrics: Counts,
    /// The entities over which there were most conflicts since the start, the one with the most first; in multi-master mode.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hottest: Vec<Hot>,
}

/// An entity that many write at once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Hot {
    id: String,
    conflicts: u64,
}

/// How many of them are told.
const HOTTEST_MAX: usize = 10;

/// What is counted, by mode.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Counts {
    MultiMaster(Metrics),
    LeaderFollower(leader_follower::Metrics),
}

/// The other nodes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Nodes {
    nodes: Vec<NodeView>,
}

#[derive(Debug, Serialize, ToSchema)]
struct NodeView {
    /// Its name.
    node: String,
    /// This node itself.
    is_self: bool,
    /// In which namespaces it was heard.
    namespaces: Vec<String>,
    /// When it was heard last, in milliseconds before now; 0 for this node.
    silent_ms: u64,
    /// Where clients reach it, if it told: nodes of leader-follower namespaces do.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// The leader-follower namespaces that it leads.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    leads: Vec<String>,
}

/// How far the nodes are from one another, namespace by namespace.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Sync {
    namespaces: BTreeMap<String, Vec<PeerSync>>,
}

#[derive(Debug, Serialize, ToSchema)]
struct PeerSync {
    /// The name of the other node, and in multi-master mode the incarnation.
    peer: String,
    /// `in-sync`, `lagging` (one of the two lacks writes of the other), `diverged` or `strategy-mismatch`; in leader-follower
    /// mode also `desynced` (it takes the state anew) or `silent`.
    health: &'static str,
    /// How long ago it was heard.
    silent_ms: u64,
    /// How many writes it had that are lacking here.
    ahead_events: u64,
    /// How many writes are here that it lacked.
    behind_events: u64,
    /// The last write of its own that it told of; in leader-follower mode the last that it had applied.
    last_sequence: u64,
    /// Of each master, up to which write it had everything; in multi-master mode.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    vector: BTreeMap<String, u64>,
    /// By how much its clock is ahead; in multi-master mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    clock_ahead_ms: Option<i64>,
    /// For how long it has been lacking something, as the leader knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_ms: Option<u64>,
}

fn by_name(vector: &VersionVector) -> BTreeMap<String, u64> {
    vector.iter().map(|(replica, sequence)| (replica.to_string(), sequence)).collect()
}

impl From<PeerView> for PeerSync {
    fn from(peer: PeerView) -> Self {
        let health = match () {
            () if peer.diverged => "diverged",
            () if !peer.same_strategies => "strategy-mismatch",
            () if peer.ahead_events > 0 || peer.behind_events > 0 => "lagging",
            () => "in-sync",
        };
        PeerSync {
            health,
            silent_ms: millis(peer.silent_for),
            ahead_events: peer.ahead_events,
            behind_events: peer.behind_events,
            last_sequence: peer.vector.get(&peer.master_id),
            vector: by_name(&peer.vector),
            clock_ahead_ms: Some(peer.clock_ahead_ms),
            lag_ms: None,
            peer: peer.master_id.to_string(),
        }
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The nodes that were heard, as this one stands to them.
fn heard(node: &LeaderFollowerManager, silent_max: Duration) -> Vec<PeerSync> {
    let own = node.last_applied_sequence();
    let peers = node.heard_nodes().into_iter().map(|heard| {
        let (ahead_events, behind_events) =
            (heard.applied_sequence.saturating_sub(own), own.saturating_sub(heard.applied_sequence));
        let health = match () {
            () if heard.is_desynced => "desynced",
            () if heard.silent_for > silent_max => "silent",
            () if ahead_events > 0 || behind_events > 0 => "lagging",
            () => "in-sync",
        };
        PeerSync {
            health,
            silent_ms: millis(heard.silent_for),
            ahead_events,
            behind_events,
            last_sequence: heard.applied_sequence,
            vector: BTreeMap::new(),
            clock_ahead_ms: None,
            lag_ms: node.follower_lag(&heard.id).map(|lag| millis(lag.time)),
            peer: heard.id,
        }
    });
    peers.collect()
}

/// How this node is.
#[utoipa::path(
    get, operation_id = "cluster_status", path = "/cluster/status", tag = "operations",
    responses((status = 200, body = Status), (status = "4XX", body = ProblemBody, content_type = "application/problem+json")),
)]
pub(crate) async fn status(State(app): State<App>, accepted: Accepted) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let mut namespaces = BTreeMap::new();
    for (name, namespace) in app.namespaces() {
        let (link, link_reason) = namespace.link();
        let mut hottest = Vec::new();
        let (master, leadership, vector, metrics) = match &namespace.running {
            Running::MultiMaster(master) => {
                let vector = by_name(&master.vector_clock());
                let metrics = Counts::MultiMaster(master.metrics());
                let hot = master.hottest_entities(HOTTEST_MAX).into_iter();
                hottest
                    .extend(hot.map(|hot| Hot { id: hot.entity_id.to_string(), conflicts: hot.conflicts }));
                (Some(master.master_id().to_string()), None, vector, metrics)
            }
            Running::LeaderFollower(node) => {
                let metrics = Counts::LeaderFollower(node.metrics());
                (None, Some(Leadership::of(node)), BTreeMap::new(), metrics)
            }
        };
        let status = NamespaceStatus {
            mode: namespace.options.mode,
            master,
            leadership,
            link,
            link_reason,
            failure: namespace.failure(),
            fenced: namespace.fenced(),
            is_caught_up: namespace.is_caught_up(),
            heartbeat_interval_ms: namespace.options.heartbeat_interval_ms,
            max_drift_ms: namespace.options.max_drift_ms,
            outbox_events_max: namespace.options.outbox_events_max,
            vector,
            metrics,
            hottest,
        };
        namespaces.insert(name.clone(), status);
    }
    let reasons = unready(&app);
    let (node, version) = (app.name().to_owned(), env!("CARGO_PKG_VERSION"));
    Ok(format.response(&Status { node, version, is_ready: reasons.is_empty(), reasons, namespaces }))
}

/// The nodes that this one hears, itself included.
#[utoipa::path(
    get, operation_id = "cluster_nodes", path = "/cluster/nodes", tag = "operations",
    responses((status = 200, body = Nodes), (status = "4XX", body = ProblemBody, content_type = "application/problem+json")),
)]
pub(crate) async fn nodes(State(app): State<App>, accepted: Accepted) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let mut nodes = BTreeMap::new();
    let own: &mut NodeView = view(&mut nodes, app.name(), app.name());
    own.silent_ms = 0;
    own.namespaces = app.namespaces().keys().cloned().collect();
    own.address = app.address().map(str::to_owned);
    for (name, namespace) in app.namespaces() {
        match &namespace.running {
            Running::MultiMaster(master) => {
                for peer in master.peers().await? {
                    view(&mut nodes, peer.master_id.name(), app.name()).hear(name, peer.silent_for);
                }
            }
            Running::LeaderFollower(node) => {
                for heard in node.heard_nodes() {
                    let view = view(&mut nodes, &heard.id, app.name());
                    view.hear(name, heard.silent_for);
                    view.address = heard.address.or(view.address.take());
                }
                let leader = node.leader();
                if let Some(leader) = leader.and_then(|leader| nodes.get_mut(&leader.id)) {
                    leader.leads.push(name.clone());
                }
            }
        }
    }
    Ok(format.response(&Nodes { nodes: nodes.into_values().collect() }))
}

/// What is known of a node so far.
fn view<'a>(nodes: &'a mut BTreeMap<String, NodeView>, node: &str, own: &str) -> &'a mut NodeView {
    nodes.entry(node.to_owned()).or_insert_with(|| NodeView {
        node: node.to_owned(),
        is_self: node == own,
        namespaces: Vec::new(),
        silent_ms: u64::MAX,
        address: None,
        leads: Vec::new(),
    })
}

impl NodeView {
    fn hear(&mut self, namespace: &str, silent_for: Duration) {
        // Of two incarnations the one that is heard counts.
        if self.namespaces.last().is_none_or(|last| last != namespace) {
            self.namespaces.push(namespace.to_owned());
        }
        self.silent_ms = self.silent_ms.min(millis(silent_for));
    }
}

/// How far each other node is, as its latest heartbeat told.
#[utoipa::path(
    get, operation_id = "cluster_sync", path = "/cluster/sync", tag = "operations",
    responses((status = 200, body = Sync), (status = "4XX", body = ProblemBody, content_type = "application/problem+json")),
)]
pub(crate) async fn sync(State(app): State<App>, accepted: Accepted) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let mut namespaces = BTreeMap::new();
    for (name, namespace) in app.namespaces() {
        let peers = match &namespace.running {
            Running::MultiMaster(master) => master.peers().await?.into_iter().map(PeerSync::from).collect(),
            Running::LeaderFollower(node) => {
                heard(node, Duration::from_millis(namespace.options.heartbeat_timeout_ms))
            }
        };
        namespaces.insert(name.clone(), peers);
    }
    Ok(format.response(&Sync { namespaces }))
}
