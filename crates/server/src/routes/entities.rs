//! One entity: `/v1/namespaces/{namespace}/entities/{id}`.

use archipelago::{
    Value,
    leader_follower::{Found, ReadConsistency},
};
use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{InPath, InQuery};
use crate::{
    app::App,
    freshness::{ConsistencyName, Freshness},
    media::{Accepted, Body},
    namespace::Running,
    problem::{Problem, ProblemBody},
    receipt::{Receipt, written},
    session::{self, Consistency},
    writing::Writer,
};

/// Which entity.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct EntityPath {
    /// The namespace.
    pub(crate) namespace: String,
    /// The id of the entity; a slash in it is written `%2F`.
    pub(crate) id: String,
}

/// How CRDTs are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Form {
    /// As what they amount to: a counter as a number, a set as a list.
    #[default]
    Readable,
    /// As they are stored, so that nothing of them is lost.
    Stored,
}

/// How an entity is to be shown.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Showing {
    /// How long to wait until this node has applied what the session has seen, in milliseconds. Default 1000.
    wait_ms: Option<u64>,
    /// How new it must be. Default `session` with the header `Archipelago-Session`, or else `eventual`.
    #[param(inline)]
    consistency: Option<ConsistencyName>,
    /// With `bounded`: how old what is shown may be, in milliseconds.
    max_staleness_ms: Option<u64>,
    /// How CRDTs are shown: `readable` (default) or `stored`.
    #[serde(default)]
    #[param(inline)]
    form: Form,
}

impl Form {
    pub(crate) fn of(self, value: Value) -> Value {
        match self {
            Form::Readable => value.readable(),
            Form::Stored => value,
        }
    }
}

/// The value of an entity.
///
/// The header `ETag` names its state, and `Archipelago-Session` what the reader has seen with it.
#[utoipa::path(
    get, operation_id = "read_entity", path = "/v1/namespaces/{namespace}/entities/{id}", tag = "entities",
    params(EntityPath, Showing),
    responses(
        (status = 200, description = "The value", body = serde_json::Value),
        (status = 304, description = "It is still as `If-None-Match` says"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn get(
    State(app): State<App>,
    accepted: Accepted,
    headers: HeaderMap,
    InPath(path): InPath<EntityPath>,
    InQuery(showing): InQuery<Showing>,
) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let running = &app.namespace(&path.namespace)?.running;
    let Showing { wait_ms, consistency, max_staleness_ms, form } = showing;
    Freshness { wait_ms, consistency, max_staleness_ms }.settle(&headers, running, app.wait_max()).await?;
    let shown = show(running, &path.id).await?.ok_or_else(|| Problem::no_such_entity(&path.id))?;
    let mut response = if session::is_known(&headers, &shown.tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        format.response(&form.of(shown.value))
    };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, session::etag(&shown.tag));
    if let Ok(seen) = HeaderValue::try_from(shown.session) {
        headers.insert(session::SESSION_HEADER, seen);
    }
    Ok(response)
}

/// The value of an entity, as this node has it.
pub(crate) struct Shown {
    pub(crate) value: Value,
    pub(crate) tag: String,
    /// What was seen with it.
    session: String,
}

/// What this node has of an entity, if it has a value.
pub(crate) async fn show(running: &Running, id: &str) -> Result<Option<Shown>, Problem> {
    match running {
        Running::MultiMaster(master) => {
            let Some(mut entity) = master.entity(id).await? else { return Ok(None) };
            let Some(value) = entity.value.take() else { return Ok(None) };
            let (tag, session) = (entity.tag().to_string(), session::encoded(&entity.token));
            Ok(Some(Shown { value, tag, session }))
        }
        Running::LeaderFollower(node) => {
            let found: Found<Value> = node.read(id, ReadConsistency::Eventual).await?;
            let (tag, session) = (found.version.to_string(), found.token.to_string());
            Ok(found.value.map(|value| Shown { value, tag, session }))
        }
    }
}

/// Gives an entity a value.
///
/// A CRDT in it stays if its field has the value that reading gives, and is never replaced by a plain value.
#[utoipa::path(
    put, operation_id = "put_entity", path = "/v1/namespaces/{namespace}/entities/{id}", tag = "entities",
    params(EntityPath, Consistency),
    request_body = serde_json::Value,
    responses(
        (status = 200, description = "Written, and as far as was asked", body = Receipt),
        (status = 202, description = "Written, and not yet as far as was asked", body = Receipt),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn put(
    State(app): State<App>,
    accepted: Accepted,
    headers: HeaderMap,
    InPath(path): InPath<EntityPath>,
    InQuery(consistency): InQuery<Consistency>,
    body: Body,
) -> Result<Response, Problem> {
    let (format, value) = (accepted.format()?, body.value()?);
    let namespace = app.namespace(&path.namespace)?;
    let writer = Writer::prepare(&app, namespace, &headers, &consistency).await?;
    Ok(written(format, &writer.put(path.id, value).await?))
}

/// Sets the fields of an entity that the body has; the others stay.
#[utoipa::path(
    patch, operation_id = "patch_entity", path = "/v1/namespaces/{namespace}/entities/{id}", tag = "entities",
    params(EntityPath, Consistency),
    request_body = Object,
    responses(
        (status = 200, description = "Written, and as far as was asked", body = Receipt),
        (status = 202, description = "Written, and not yet as far as was asked", body = Receipt),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn patch(
    State(app): State<App>,
    accepted: Accepted,
    headers: HeaderMap,
    InPath(path): InPath<EntityPath>,
    InQuery(consistency): InQuery<Consistency>,
    body: Body,
) -> Result<Response, Problem> {
    let (format, value) = (accepted.format()?, body.value()?);
    let namespace = app.namespace(&path.namespace)?;
    let writer = Writer::prepare(&app, namespace, &headers, &consistency).await?;
    Ok(written(format, &writer.patch(path.id, value).await?))
}

/// Removes an entity. If there is none, that is no error in multi-master mode, and 404 in leader-follower mode.
#[utoipa::path(
    delete, operation_id = "delete_entity", path = "/v1/namespaces/{namespace}/entities/{id}", tag = "entities",
    params(EntityPath, Consistency),
    responses(
        (status = 200, description = "Removed, and as far as was asked", body = Receipt),
        (status = 202, description = "Removed, and not yet as far as was asked", body = Receipt),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn delete(
    State(app): State<App>,
    accepted: Accepted,
    headers: HeaderMap,
    InPath(path): InPath<EntityPath>,
    InQuery(consistency): InQuery<Consistency>,
) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let namespace = app.namespace(&path.namespace)?;
    let writer = Writer::prepare(&app, namespace, &headers, &consistency).await?;
    Ok(written(format, &writer.delete(path.id).await?))
}
