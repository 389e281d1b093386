//! Many entities: `/v1/namespaces/{namespace}/entities`, and the namespaces themselves.

use archipelago::{Value, leader_follower::ReadConsistency};
use axum::{extract::State, http::HeaderMap, response::Response};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    InPath, InQuery,
    entities::{Form, show},
};
use crate::{
    app::App,
    freshness::{ConsistencyName, Freshness},
    media::Accepted,
    namespace::Running,
    problem::{Problem, ProblemBody},
};

/// How many entities a page has unless the request says so.
const PAGE_DEFAULT: usize = 100;

/// A page with values ends once it has this many bytes; one more entity may be over it.
const PAGE_BYTES_TARGET: usize = 4 * 1024 * 1024;

/// Which namespace.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct NamespacePath {
    /// The namespace.
    pub(crate) namespace: String,
}

/// Which entities.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Listing {
    /// Those whose id begins so. Default all.
    #[serde(default)]
    prefix: String,
    /// Where the page before ended, as it said.
    cursor: Option<String>,
    /// The most on this page, up to `http.page_entities_max`. Default 100.
    #[param(minimum = 1)]
    limit: Option<usize>,
    /// With their values. Default without.
    #[serde(default)]
    values: bool,
    /// How CRDTs are shown: `readable` (default) or `stored`.
    #[serde(default)]
    #[param(inline)]
    form: Form,
    /// How long to wait until this node has applied what the session has seen, in milliseconds. Default 1000.
    wait_ms: Option<u64>,
    /// How new it must be. Default `session` with the header `Archipelago-Session`, or else `eventual`.
    #[param(inline)]
    consistency: Option<ConsistencyName>,
    /// With `bounded`: how old what is shown may be, in milliseconds.
    max_staleness_ms: Option<u64>,
}

/// A page of entities, in the order of their ids.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EntityPage {
    entities: Vec<ListedEntity>,
    /// Where the next page begins; missing after the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct ListedEntity {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    value: Option<Value>,
    /// The state of the entity, as in the header `ETag`.
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
}

/// The names of the namespaces of this node.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NamespaceNames {
    namespaces: Vec<String>,
}

/// The namespaces of this node.
#[utoipa::path(
    get, operation_id = "list_namespaces", path = "/v1/namespaces", tag = "entities",
    responses((status = 200, body = NamespaceNames), (status = "4XX", body = ProblemBody, content_type = "application/problem+json")),
)]
pub(crate) async fn namespaces(State(app): State<App>, accepted: Accepted) -> Result<Response, Problem> {
    let names = NamespaceNames { namespaces: app.namespaces().keys().cloned().collect() };
    Ok(accepted.format()?.response(&names))
}

/// Entities in the order of their ids, page by page.
#[utoipa::path(
    get, operation_id = "list_entities", path = "/v1/namespaces/{namespace}/entities", tag = "entities",
    params(NamespacePath, Listing),
    responses(
        (status = 200, body = EntityPage),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list(
    State(app): State<App>,
    accepted: Accepted,
    headers: HeaderMap,
    InPath(path): InPath<NamespacePath>,
    InQuery(listing): InQuery<Listing>,
) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let running = &app.namespace(&path.namespace)?.running;
    let limit = page_limit(&app, listing.limit)?;
    let after = listing.cursor.as_deref().map(parse_cursor).transpose()?;
    let Listing { wait_ms, consistency, max_staleness_ms, .. } = listing;
    Freshness { wait_ms, consistency, max_staleness_ms }.settle(&headers, running, app.wait_max()).await?;
    let mut ids = match running {
        Running::MultiMaster(master) => {
            master.entity_ids(&listing.prefix, after.as_deref(), limit + 1).await?
        }
        Running::LeaderFollower(node) => {
            let consistency = ReadConsistency::Eventual;
            node.keys(&listing.prefix, after.as_deref(), limit + 1, consistency).await?
        }
    };
    let mut has_more = ids.len() > limit;
    ids.truncate(limit);
    let (mut entities, mut last, mut bytes) = (Vec::with_capacity(ids.len()), None, 0);
    for id in ids {
        if bytes > PAGE_BYTES_TARGET {
            has_more = true;
            break;
        }
        last = Some(id.clone());
        if !listing.values {
            entities.push(ListedEntity { id: id.to_string(), value: None, etag: None });
            continue;
        }
        // What was removed in between is not listed.
        let Some(shown) = show(running, &id).await? else { continue };
        let value = listing.form.of(shown.value);
        bytes += rmp_serde::to_vec(&value).map_or(0, |encoded| encoded.len());
        entities.push(ListedEntity { id: id.to_string(), value: Some(value), etag: Some(shown.tag) });
    }
    let next_cursor = last.filter(|_| has_more).map(|last| cursor(&last));
    Ok(format.response(&EntityPage { entities, next_cursor }))
}

/// # Errors
/// [`ProblemType::InvalidRequest`](crate::problem::ProblemType).
pub(crate) fn page_limit(app: &App, wanted: Option<usize>) -> Result<usize, Problem> {
    let max = app.limits().page_entities_max;
    let limit = wanted.unwrap_or(PAGE_DEFAULT.min(max));
    if limit == 0 || limit > max {
        return Err(Problem::invalid(format!("limit is 1 to {max}, http.page_entities_max")));
    }
    Ok(limit)
}

/// An id as a cursor: a text without meaning to clients.
pub(crate) fn cursor(id: &str) -> String {
    URL_SAFE_NO_PAD.encode(id)
}

/// # Errors
/// [`ProblemType::InvalidRequest`](crate::problem::ProblemType).
pub(crate) fn parse_cursor(cursor: &str) -> Result<String, Problem> {
    let id = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    id.ok_or_else(|| Problem::invalid("cursor is what a page before gave as next_cursor"))
}
