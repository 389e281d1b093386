//! How the nodes stand with one another.

use std::collections::BTreeMap;

use archipelago::{Metrics, PeerView};
use axum::{extract::State, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    config::Mode,
    media::Accepted,
    namespace::Running,
    problem::{Problem, ProblemBody},
    routes::health::unready,
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
    /// The name and the incarnation of this master.
    master: String,
    /// How it stands with the broker: `up`, `down`, `lost`, or `absent` if there is none.
    link: &'static str,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    link_reason: Option<String>,
    /// Whether it has caught up since the node was started.
    is_caught_up: bool,
    /// Of each master, up to which write everything is here.
    vector: BTreeMap<String, u64>,
    /// Counts since the start, and gauges.
    #[schema(value_type = BTreeMap<String, u64>)]
    metrics: Metrics,
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
}

/// How far the nodes are from one another, namespace by namespace.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Sync {
    namespaces: BTreeMap<String, Vec<PeerSync>>,
}

#[derive(Debug, Serialize, ToSchema)]
struct PeerSync {
    /// The name and the incarnation of the other master.
    peer: String,
    /// `in-sync`, `lagging` (one of the two lacks writes of the other), `diverged` or `strategy-mismatch`.
    health: &'static str,
    /// How long ago it was heard.
    silent_ms: u64,
    /// How many writes it had that are lacking here.
    ahead_events: u64,
    /// How many writes are here that it lacked.
    behind_events: u64,
    /// The last write of its own that it told of.
    last_sequence: u64,
    /// By how much its clock is ahead.
    clock_ahead_ms: i64,
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
            silent_ms: silent_ms(&peer),
            ahead_events: peer.ahead_events,
            behind_events: peer.behind_events,
            last_sequence: peer.vector.get(&peer.master_id),
            clock_ahead_ms: peer.clock_ahead_ms,
            peer: peer.master_id.to_string(),
        }
    }
}

fn silent_ms(peer: &PeerView) -> u64 {
    u64::try_from(peer.silent_for.as_millis()).unwrap_or(u64::MAX)
}

/// How this node is.
#[utoipa::path(
    get, path = "/cluster/status", tag = "operations",
    responses((status = 200, body = Status), (status = "4XX", body = ProblemBody, content_type = "application/problem+json")),
)]
pub(crate) async fn status(State(app): State<App>, accepted: Accepted) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let mut namespaces = BTreeMap::new();
    for (name, namespace) in app.namespaces() {
        let Running::MultiMaster(master) = &namespace.running;
        let (link, link_reason) = namespace.link();
        let vector = master.vector_clock();
        let status = NamespaceStatus {
            mode: namespace.options.mode,
            master: master.master_id().to_string(),
            link,
            link_reason,
            is_caught_up: namespace.is_caught_up(),
            vector: vector.iter().map(|(replica, sequence)| (replica.to_string(), sequence)).collect(),
            metrics: master.metrics(),
        };
        namespaces.insert(name.clone(), status);
    }
    let reasons = unready(&app);
    let (node, version) = (app.name().to_owned(), env!("CARGO_PKG_VERSION"));
    Ok(format.response(&Status { node, version, is_ready: reasons.is_empty(), reasons, namespaces }))
}

/// The nodes that this one hears, itself included.
#[utoipa::path(
    get, path = "/cluster/nodes", tag = "operations",
    responses((status = 200, body = Nodes), (status = "4XX", body = ProblemBody, content_type = "application/problem+json")),
)]
pub(crate) async fn nodes(State(app): State<App>, accepted: Accepted) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let own = app.namespaces().keys().cloned().collect();
    let mut nodes = BTreeMap::from([(app.name().to_owned(), (own, 0))]);
    for (name, namespace) in app.namespaces() {
        let Running::MultiMaster(master) = &namespace.running;
        for peer in master.peers().await? {
            let heard: &mut (Vec<String>, u64) =
                nodes.entry(peer.master_id.name().to_owned()).or_insert((Vec::new(), u64::MAX));
            // Of two incarnations the one that is heard counts.
            if heard.0.last() != Some(name) {
                heard.0.push(name.clone());
            }
            heard.1 = heard.1.min(silent_ms(&peer));
        }
    }
    let views = nodes.into_iter().map(|(node, (namespaces, silent_ms))| {
        let is_self = node == app.name();
        NodeView { node, is_self, namespaces, silent_ms }
    });
    Ok(format.response(&Nodes { nodes: views.collect() }))
}

/// How far each other node is, as its latest heartbeat told.
#[utoipa::path(
    get, path = "/cluster/sync", tag = "operations",
    responses((status = 200, body = Sync), (status = "4XX", body = ProblemBody, content_type = "application/problem+json")),
)]
pub(crate) async fn sync(State(app): State<App>, accepted: Accepted) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let mut namespaces = BTreeMap::new();
    for (name, namespace) in app.namespaces() {
        let Running::MultiMaster(master) = &namespace.running;
        let peers = master.peers().await?.into_iter().map(PeerSync::from).collect();
        namespaces.insert(name.clone(), peers);
    }
    Ok(format.response(&Sync { namespaces }))
}
