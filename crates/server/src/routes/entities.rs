//! One entity: `/v1/namespaces/{namespace}/entities/{id}`.

use archipelago::{UpdateError, Value, WriteOptions, WriteReceipt};
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{InPath, InQuery};
use crate::{
    app::App,
    config::ConflictStrategyName,
    crdts,
    media::{Accepted, Body},
    namespace::{Namespace, Running},
    problem::{Problem, ProblemBody},
    receipt::{Receipt, written},
    session::{self, Consistency},
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
    get, path = "/v1/namespaces/{namespace}/entities/{id}", tag = "entities", params(EntityPath, Showing),
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
    let Running::MultiMaster(master) = &app.namespace(&path.namespace)?.running;
    let consistency = Consistency { wait_ms: showing.wait_ms, ack: None };
    consistency.settle(&headers, master, app.wait_max()).await?;
    let entity = master.entity(&path.id).await?;
    let Some((entity, value)) = entity.and_then(|mut entity| {
        let value = entity.value.take()?;
        Some((entity, value))
    }) else {
        return Err(Problem::no_such_entity(&path.id));
    };
    let mut response = if session::is_known(&headers, entity.tag()) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        format.response(&showing.form.of(value))
    };
    let headers = response.headers_mut();
    headers.insert(axum::http::header::ETAG, session::etag(entity.tag()));
    headers.insert(session::SESSION_HEADER, session::header_value(&entity.token));
    Ok(response)
}

/// Gives an entity a value.
///
/// A CRDT in it stays if its field has the value that reading gives, and is never replaced by a plain value.
#[utoipa::path(
    put, path = "/v1/namespaces/{namespace}/entities/{id}", tag = "entities", params(EntityPath, Consistency),
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
    let options = prepare(&app, namespace, &headers, &consistency).await?;
    let receipt = put_value(namespace, path.id, value, options).await?;
    Ok(written(format, &receipt))
}

/// Sets the fields of an entity that the body has; the others stay.
#[utoipa::path(
    patch, path = "/v1/namespaces/{namespace}/entities/{id}", tag = "entities", params(EntityPath, Consistency),
    request_body = serde_json::Value,
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
    let options = prepare(&app, namespace, &headers, &consistency).await?;
    let receipt = patch_value(namespace, path.id, value, options).await?;
    Ok(written(format, &receipt))
}

/// Removes an entity. No error if there is none.
#[utoipa::path(
    delete, path = "/v1/namespaces/{namespace}/entities/{id}", tag = "entities", params(EntityPath, Consistency),
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
    let options = prepare(&app, namespace, &headers, &consistency).await?;
    let receipt = delete_entity(namespace, path.id, options).await?;
    Ok(written(format, &receipt))
}

/// Waits for what the session has seen, and reads what else the request asks for.
pub(crate) async fn prepare(
    app: &App,
    namespace: &Namespace,
    headers: &HeaderMap,
    consistency: &Consistency,
) -> Result<WriteOptions, Problem> {
    let Running::MultiMaster(master) = &namespace.running;
    let options = consistency.options(headers, app.wait_max())?;
    consistency.settle(headers, master, app.wait_max()).await?;
    Ok(options)
}

pub(crate) async fn put_value(
    namespace: &Namespace,
    id: String,
    value: Value,
    options: WriteOptions,
) -> Result<WriteReceipt, Problem> {
    let Running::MultiMaster(master) = &namespace.running;
    if namespace.options.strategy_of(&id) != ConflictStrategyName::CrdtMerge {
        return Ok(master.write_with(id, &value, options).await?);
    }
    let put = move |standing: &mut Value| {
        *standing = crdts::kept(standing, value)?;
        Ok(())
    };
    let updated: Result<_, UpdateError<Problem>> = master.update_with(id, options, put).await;
    Ok(updated?)
}

pub(crate) async fn patch_value(
    namespace: &Namespace,
    id: String,
    fields: Value,
    options: WriteOptions,
) -> Result<WriteReceipt, Problem> {
    let Running::MultiMaster(master) = &namespace.running;
    if namespace.options.strategy_of(&id) != ConflictStrategyName::CrdtMerge {
        return Ok(master.patch_with(id, &fields, options).await?);
    }
    let Value::Map(fields) = fields else {
        return Err(Problem::invalid("a patch is a map from names of fields to values"));
    };
    let patch = move |standing: &mut Value| {
        let mut whole = standing.as_map().cloned().unwrap_or_default();
        for (name, value) in fields {
            let stands = whole.get(&name).cloned().unwrap_or_default();
            whole.insert(name, crdts::kept(&stands, value)?);
        }
        *standing = Value::Map(whole);
        Ok(())
    };
    let updated: Result<_, UpdateError<Problem>> = master.update_with(id, options, patch).await;
    Ok(updated?)
}

pub(crate) async fn delete_entity(
    namespace: &Namespace,
    id: String,
    options: WriteOptions,
) -> Result<WriteReceipt, Problem> {
    let Running::MultiMaster(master) = &namespace.running;
    Ok(master.delete_with(id, options).await?)
}
