//! Who leads a leader-follower namespace, and how that is changed by hand.

use archipelago::{LeaderFollowerManager, leader_follower::Health};
use axum::{extract::State, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{InPath, cluster::millis, listing::NamespacePath, members::role_name};
use crate::{
    app::App,
    media::Accepted,
    problem::{Leader, Problem, ProblemBody},
};

/// How a node stands in a leader-follower namespace.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Leadership {
    /// `leader`, `follower` or `candidate`.
    role: &'static str,
    /// The newest term that it knows of.
    term: u64,
    /// Who leads, as far as it knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<Leader>,
    /// The last entry that it has applied.
    applied_sequence: u64,
    /// How many entries it lacks of those that the leader has told of; missing if the leader is not heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    lag_entries: Option<u64>,
    /// How long ago it was last known to have all that was acknowledged by then; missing if it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    staleness_ms: Option<u64>,
    /// `healthy`, `lagging`, `desynced` (it takes the state of another node) or `unknown` (no leader is heard).
    health: &'static str,
    /// What keeps it from following, for a person to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
}

impl Leadership {
    pub(crate) fn of(node: &LeaderFollowerManager) -> Leadership {
        Leadership {
            role: role_name(node.role()),
            term: node.term(),
            leader: node.leader().map(Leader::from),
            applied_sequence: node.last_applied_sequence(),
            lag_entries: node.lag_entries(),
            staleness_ms: node.staleness().map(millis),
            health: match node.health() {
                Health::Healthy => "healthy",
                Health::Lagging => "lagging",
                Health::Desynced => "desynced",
                Health::Unknown => "unknown",
            },
            trouble: node.follower_state().and_then(|state| state.trouble),
        }
    }
}

/// Makes this node lead: whoever leads hands over, or is deposed if it does not answer. Answered once it leads.
#[utoipa::path(
    post, operation_id = "promote_node", path = "/v1/namespaces/{namespace}/promote", tag = "leadership",
    params(NamespacePath),
    responses(
        (status = 200, body = Leadership),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn promote(
    State(app): State<App>,
    accepted: Accepted,
    InPath(path): InPath<NamespacePath>,
) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let node = app.namespace(&path.namespace)?.node("leader")?;
    node.promote().await?;
    Ok(format.response(&Leadership::of(node)))
}

/// Makes this node follow: what is on its way is finished, and others are elected.
#[utoipa::path(
    post, operation_id = "demote_node", path = "/v1/namespaces/{namespace}/demote", tag = "leadership",
    params(NamespacePath),
    responses(
        (status = 200, body = Leadership),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn demote(
    State(app): State<App>,
    accepted: Accepted,
    InPath(path): InPath<NamespacePath>,
) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let node = app.namespace(&path.namespace)?.node("leader")?;
    node.demote().await?;
    Ok(format.response(&Leadership::of(node)))
}
