//! Conflicts, and why an entity is as it is.

use std::sync::Arc;

use archipelago::{ConflictReport, EntityView, Value, WriteOptions, manager::VersionContent};
use axum::{extract::State, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    InPath, InQuery,
    entities::EntityPath,
    listing::{NamespacePath, cursor, page_limit, parse_cursor},
};
use crate::{
    app::App,
    media::{Accepted, Body},
    problem::{Problem, ProblemBody},
    receipt::{Receipt, written},
    session,
    writing::MasterWriter,
};

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// Where the page before ended, as it said.
    cursor: Option<String>,
    /// The most on this page, up to `http.page_entities_max`. Default 100.
    #[param(minimum = 1)]
    limit: Option<usize>,
}

/// Entities that wait for someone to resolve a conflict, in the order of their ids.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConflictPage {
    conflicts: Vec<Siblings>,
    /// Where the next page begins; missing after the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// An entity with all that is live of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Siblings {
    id: String,
    /// Several concurrent values are kept.
    is_conflicted: bool,
    /// The value that is shown; missing if the entity is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    value: Option<Value>,
    /// What is live, in the order of the writes' names.
    versions: Vec<LiveVersion>,
    /// What was seen with this; a resolution sends it back.
    context: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct LiveVersion {
    /// The write.
    dot: String,
    /// When it was written.
    hlc: String,
    /// It is a removal.
    is_removal: bool,
    /// What it holds; of fields, those that it wins.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    value: Option<Value>,
}

/// Why an entity is as it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Why {
    entity: Siblings,
    /// The strategy that holds for it.
    strategy: String,
    /// What that strategy does, for a person to read.
    rule: String,
    /// The conflicts about it that are remembered, oldest first.
    conflicts: Vec<Past>,
}

/// The conflicts that are remembered, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PastConflicts {
    conflicts: Vec<Past>,
}

/// Writes that did not know of each other.
#[derive(Debug, Serialize, ToSchema)]
struct Past {
    id: String,
    strategy: String,
    /// The write that revealed it.
    dot: String,
    clashes: Vec<Clash>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Clash {
    /// The field; missing if it is about the entity as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    winner: Side,
    loser: Side,
    /// Why the winner won, for a person to read.
    reason: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct Side {
    dot: String,
    hlc: String,
    /// What it wrote; missing if it removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    value: Option<Value>,
}

/// How a conflict is resolved.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resolution {
    /// What was seen: the `context` of the conflict. What was written since then stays.
    context: String,
    /// What becomes of the entity; missing to remove it.
    #[schema(value_type = Option<serde_json::Value>)]
    value: Option<Value>,
}

impl From<EntityView> for Siblings {
    fn from(entity: EntityView) -> Self {
        let versions = entity.versions.into_iter().map(|version| {
            let value = match version.content {
                VersionContent::Removed => None,
                VersionContent::Whole(value) => Some(value.readable()),
                VersionContent::Fields(fields) => {
                    let shown = |value: Option<Value>| value.map_or(Value::Null, |value| value.readable());
                    Some(Value::Map(fields.into_iter().map(|(name, value)| (name, shown(value))).collect()))
                }
            };
            LiveVersion {
                dot: version.dot.to_string(),
                hlc: version.hlc.to_string(),
                is_removal: value.is_none(),
                value,
            }
        });
        Siblings {
            id: entity.id.to_string(),
            is_conflicted: entity.conflicted,
            versions: versions.collect(),
            value: entity.value.map(|value| value.readable()),
            context: session::encoded(&entity.token),
        }
    }
}

impl From<&ConflictReport> for Past {
    fn from(report: &ConflictReport) -> Self {
        let side = |side: &archipelago::manager::ClashSide| Side {
            dot: side.dot.to_string(),
            hlc: side.hlc.to_string(),
            value: side.value.as_ref().map(Value::readable),
        };
        let clashes = report.clashes.iter().map(|clash| Clash {
            field: clash.field.clone(),
            winner: side(&clash.winner),
            loser: side(&clash.loser),
            reason: clash.reason.clone(),
        });
        Past {
            id: report.entity_id.to_string(),
            strategy: report.strategy.clone(),
            dot: report.dot.to_string(),
            clashes: clashes.collect(),
        }
    }
}

/// Entities that wait for someone to resolve a conflict.
#[utoipa::path(
    get, operation_id = "list_conflicts", path = "/v1/namespaces/{namespace}/conflicts", tag = "conflicts",
    params(NamespacePath, Paging),
    responses(
        (status = 200, body = ConflictPage),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn pending(
    State(app): State<App>,
    accepted: Accepted,
    InPath(path): InPath<NamespacePath>,
    InQuery(paging): InQuery<Paging>,
) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let master = app.namespace(&path.namespace)?.master("conflicts")?;
    let limit = page_limit(&app, paging.limit)?;
    let after = paging.cursor.as_deref().map(parse_cursor).transpose()?;
    let mut pending = master.pending_conflicts(after.as_deref(), limit + 1).await?;
    let has_more = pending.len() > limit;
    pending.truncate(limit);
    let next_cursor = pending.last().filter(|_| has_more).map(|last| cursor(&last.id));
    let conflicts = pending.into_iter().map(Siblings::from).collect();
    Ok(format.response(&ConflictPage { conflicts, next_cursor }))
}

/// The conflicts that this node remembers, with the values that lost.
#[utoipa::path(
    get, operation_id = "list_past_conflicts", path = "/v1/namespaces/{namespace}/conflicts/past", tag = "conflicts",
    params(NamespacePath),
    responses(
        (status = 200, body = PastConflicts),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn past(
    State(app): State<App>,
    accepted: Accepted,
    InPath(path): InPath<NamespacePath>,
) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let master = app.namespace(&path.namespace)?.master("conflicts")?;
    let reports: Vec<Arc<ConflictReport>> = master.conflicts();
    Ok(format
        .response(&PastConflicts { conflicts: reports.iter().map(|report| Past::from(&**report)).collect() }))
}

/// An entity with all that is live of it.
#[utoipa::path(
    get, operation_id = "show_versions", path = "/v1/namespaces/{namespace}/entities/{id}/versions", tag = "conflicts",
    params(EntityPath),
    responses(
        (status = 200, body = Siblings),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn show(
    State(app): State<App>,
    accepted: Accepted,
    InPath(path): InPath<EntityPath>,
) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let master = app.namespace(&path.namespace)?.master("conflicts")?;
    let entity = master.entity(&path.id).await?.ok_or_else(|| Problem::no_such_entity(&path.id))?;
    Ok(format.response(&Siblings::from(entity)))
}

/// Resolves a conflict: the value takes the place of exactly what was seen.
#[utoipa::path(
    post, operation_id = "resolve_conflict", path = "/v1/namespaces/{namespace}/entities/{id}/resolve", tag = "conflicts",
    params(EntityPath),
    request_body = Resolution,
    responses(
        (status = 200, body = Receipt),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn resolve(
    State(app): State<App>,
    accepted: Accepted,
    InPath(path): InPath<EntityPath>,
    body: Body,
) -> Result<Response, Problem> {
    let (format, resolution) = (accepted.format()?, body.parse::<Resolution>()?);
    let namespace = app.namespace(&path.namespace)?;
    let master = namespace.master("conflicts")?;
    let seen = session::decoded(&resolution.context, "context")?;
    let writer = MasterWriter { namespace, master, options: WriteOptions::default().seen(seen) };
    let receipt = match resolution.value {
        Some(value) => writer.put(path.id, value).await?,
        None => writer.delete(path.id).await?,
    };
    Ok(written(format, &receipt))
}

/// Why an entity has the value that it has: what is live, the rule, and what lost.
#[utoipa::path(
    get, operation_id = "explain_entity", path = "/v1/namespaces/{namespace}/entities/{id}/explain", tag = "conflicts",
    params(EntityPath),
    responses(
        (status = 200, body = Why),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn explain(
    State(app): State<App>,
    accepted: Accepted,
    InPath(path): InPath<EntityPath>,
) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let master = app.namespace(&path.namespace)?.master("conflicts")?;
    let explained = master.explain(&path.id).await?.ok_or_else(|| Problem::no_such_entity(&path.id))?;
    Ok(format.response(&Why {
        entity: Siblings::from(explained.entity),
        strategy: explained.strategy,
        rule: explained.rule,
        conflicts: explained.conflicts.iter().map(Past::from).collect(),
    }))
}
