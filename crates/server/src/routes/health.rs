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

/// Whether the process answers.
#[utoipa::path(get, path = "/health/live", tag = "health", responses((status = 200, body = Health)))]
pub(crate) async fn live() -> Response {
    Health::response(Vec::new())
}

/// Whether requests should come here: every namespace has caught up with the others since the node was started, takes
/// writes, and the node is not ending.
#[utoipa::path(
    get, path = "/health/ready", tag = "health",
    responses((status = 200, body = Health), (status = 503, body = Health)),
)]
pub(crate) async fn ready(State(app): State<App>) -> Response {
    Health::response(unready(&app))
}

/// Whether this node is at most `max_lag` writes behind every other one that it hears, and ready.
#[utoipa::path(
    get, path = "/health/replica", tag = "health", params(LagMax),
    responses((status = 200, body = Health), (status = 503, body = Health),
        (status = 400, body = ProblemBody, content_type = "application/problem+json")),
)]
pub(crate) async fn replica(
    State(app): State<App>,
    InQuery(lag): InQuery<LagMax>,
) -> Result<Response, Problem> {
    let mut reasons = unready(&app);
    for (name, namespace) in app.namespaces() {
        let Running::MultiMaster(master) = &namespace.running;
        for peer in master.peers().await.unwrap_or_default() {
            if peer.ahead_events > lag.max_lag {
                let (peer, behind) = (peer.master_id.name().to_owned(), peer.ahead_events);
                reasons.push(format!("the namespace {name} is {behind} writes behind {peer}"));
            }
        }
        if let (state @ ("down" | "lost"), _) = namespace.link() {
            reasons
                .push(format!("the broker of the namespace {name} is {state}: how far behind is not known"));
        }
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
        if let Some(reason) = namespace.failure() {
            reasons.push(format!("the namespace {name} takes no more writes: {reason}"));
        }
    }
    reasons
}
