//! Whether the node lives, and whether it is ready. No token is needed.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Json, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::InQuery;
use crate::{
    app::App,
    namespace::Running,
    problem::{Problem, ProblemBody},
};

/// How the node is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// Whether it is as asked.
    is_ok: bool,
    /// Why not, for a person to read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

impl Health {
    fn response(reasons: Vec<String>) -> Response {
        let is_ok = reasons.is_empty();
        let status = if is_ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, Json(Health { is_ok, reasons })).into_response()
    }
}

/// How far behind a node may be.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LagMax {
    /// How many writes of others it may lack. Default 0.
    #[serde(default)]
    max_lag: u64,
}

/// What is to be led.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Led {
    /// The namespace. Default all of the mode leader-follower.
    namespace: Option<String>,
}

/// Whether the process answers.
#[utoipa::path(
    get, operation_id = "health_live", path = "/health/live", tag = "health",
    responses((status = 200, body = Health)),
)]
pub(crate) async fn live() -> Response {
    Health::response(Vec::new())
}

/// Whether requests should come here: every namespace has caught up with the others since the node was started, takes
/// writes, and the node is not ending.
#[utoipa::path(
    get, operation_id = "health_ready", path = "/health/ready", tag = "health",
    responses((status = 200, body = Health), (status = 503, body = Health)),
)]
pub(crate) async fn ready(State(app): State<App>) -> Response {
    Health::response(unready(&app))
}

/// Whether this node is at most `max_lag` writes behind every other one that it hears, or behind the leader, and ready.
#[utoipa::path(
    get, operation_id = "health_replica", path = "/health/replica", tag = "health", params(LagMax),
    responses((status = 200, body = Health), (status = 503, body = Health),
        (status = 400, body = ProblemBody, content_type = "application/problem+json")),
)]
pub(crate) async fn replica(
    State(app): State<App>,
    InQuery(lag): InQuery<LagMax>,
) -> Result<Response, Problem> {
    let mut reasons = unready(&app);
    for (name, namespace) in app.namespaces() {
        match &namespace.running {
            Running::MultiMaster(master) => {
                for peer in master.peers().await.unwrap_or_default() {
                    if peer.ahead_events > lag.max_lag {
                        let (peer, behind) = (peer.master_id.name().to_owned(), peer.ahead_events);
                        reasons.push(format!("the namespace {name} is {behind} writes behind {peer}"));
                    }
                }
            }
            Running::LeaderFollower(node) => match node.lag_entries() {
                None => reasons.push(format!("the namespace {name} hears no leader")),
                Some(behind) if behind > lag.max_lag => {
                    reasons.push(format!("the namespace {name} is {behind} writes behind the leader"));
                }
                Some(_) => {}
            },
        }
        if let (state @ ("down" | "lost"), _) = namespace.link() {
            reasons
                .push(format!("the broker of the namespace {name} is {state}: how far behind is not known"));
        }
    }
    Ok(Health::response(reasons))
}

/// Whether this node leads, and can show it: by its own clock, no other one can lead yet. For load balancers that send writes.
#[utoipa::path(
    get, operation_id = "health_leader", path = "/health/leader", tag = "health", params(Led),
    responses((status = 200, body = Health), (status = 503, body = Health),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json")),
)]
pub(crate) async fn leader(State(app): State<App>, InQuery(led): InQuery<Led>) -> Result<Response, Problem> {
    let mut reasons = Vec::new();
    if app.is_draining() {
        reasons.push("the node is ending".to_owned());
    }
    let one = led.namespace.as_deref().map(|name| app.namespace(name)).transpose()?;
    let mut is_any = false;
    for (name, namespace) in app.namespaces() {
        if one.is_some_and(|one| !std::ptr::eq(one, namespace)) {
            continue;
        }
        // At a master there is nobody to be led by.
        let Running::LeaderFollower(node) = &namespace.running else { continue };
        is_any = true;
        if !node.is_leader() {
            reasons.push(match node.leader() {
                Some(leader) => format!("the namespace {name} is led by {leader}"),
                None => format!("nobody leads the namespace {name}"),
            });
        } else if !node.is_leader_healthy() {
            reasons.push(format!("this node cannot show that it still leads the namespace {name}"));
        }
    }
    if !is_any {
        reasons.push("no namespace here is of the mode leader-follower".to_owned());
    }
    Ok(Health::response(reasons))
}

/// Why the node is not ready.
pub(crate) fn unready(app: &App) -> Vec<String> {
    let mut reasons = Vec::new();
    if app.is_draining() {
        reasons.push("the node is ending".to_owned());
    }
    for (name, namespace) in app.namespaces() {
        if !namespace.is_caught_up() {
            reasons.push(format!("the namespace {name} has not caught up yet"));
        }
        if namespace.is_resyncing() {
            reasons.push(format!("the namespace {name} takes the state of another node"));
        }
        if let Some(reason) = namespace.failure() {
            reasons.push(format!("the namespace {name} takes no more writes: {reason}"));
        }
    }
    reasons
}
