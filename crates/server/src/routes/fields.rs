//! Counters and sets within an entity, under CRDT merge.

use archipelago::{
    UpdateError, Value,
    crdt::{Kind, OrSet, PnCounter, dynamic::DynamicCrdt},
};
use axum::{extract::State, http::HeaderMap, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{InPath, InQuery};
use crate::{
    app::App,
    config::ConflictStrategyName,
    media::{Accepted, Body},
    namespace::Namespace,
    problem::{Problem, ProblemBody, ProblemType},
    receipt::{Receipt, written},
    session::{self, Consistency, WAIT_DEFAULT},
    writing::receipt,
};

/// Which field of which entity.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct FieldPath {
    /// The namespace.
    namespace: String,
    /// The id of the entity; a slash in it is written `%2F`.
    id: String,
    /// The field at the top of the entity.
    field: String,
}

/// By how much a counter is to change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CounterChange {
    /// Added; may be negative.
    by: i64,
}

/// How a set is to change.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetChange {
    /// Elements to add.
    #[serde(default)]
    #[schema(value_type = Vec<serde_json::Value>)]
    add: Vec<Value>,
    /// Elements to remove, as far as this node has seen them added; one that is added elsewhere meanwhile stays.
    #[serde(default)]
    #[schema(value_type = Vec<serde_json::Value>)]
    remove: Vec<Value>,
}

/// What a counter or a set amounts to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FieldValue {
    /// A number, or a list.
    #[schema(value_type = serde_json::Value)]
    value: Value,
}

/// The value of a counter.
#[utoipa::path(
    get, operation_id = "read_counter", path = "/v1/namespaces/{namespace}/entities/{id}/counters/{field}", tag = "counters and sets",
    params(FieldPath),
    responses(
        (status = 200, body = FieldValue),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn counter(
    State(app): State<App>,
    accepted: Accepted,
    InPath(path): InPath<FieldPath>,
) -> Result<Response, Problem> {
    show(&app, accepted, &path, Kind::PnCounter).await
}

/// The elements of a set.
#[utoipa::path(
    get, operation_id = "read_set", path = "/v1/namespaces/{namespace}/entities/{id}/sets/{field}", tag = "counters and sets",
    params(FieldPath),
    responses(
        (status = 200, body = FieldValue),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn set(
    State(app): State<App>,
    accepted: Accepted,
    InPath(path): InPath<FieldPath>,
) -> Result<Response, Problem> {
    show(&app, accepted, &path, Kind::OrSet).await
}

async fn show(app: &App, accepted: Accepted, path: &FieldPath, kind: Kind) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let master = app.namespace(&path.namespace)?.master("counters and sets")?;
    let entity = master.entity(&path.id).await?.and_then(|entity| entity.value);
    let entity = entity.ok_or_else(|| Problem::no_such_entity(&path.id))?;
    let field = entity.get(&path.field).ok_or_else(|| {
        Problem::new(ProblemType::NoSuchField, format!("{:?} has no field {:?}", path.id, path.field))
    })?;
    match field {
        Value::Crdt(crdt) if crdt.kind() == kind => Ok(format.response(&FieldValue { value: crdt.value() })),
        other => Err(another_kind(other, kind)),
    }
}

/// Counts up or down. Counts of several nodes at the same time add up. A counter that is not there begins at 0.
#[utoipa::path(
    post, operation_id = "change_counter", path = "/v1/namespaces/{namespace}/entities/{id}/counters/{field}", tag = "counters and sets",
    params(FieldPath, Consistency), request_body = CounterChange,
    responses(
        (status = 200, body = Receipt),
        (status = 202, body = Receipt),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn count(
    State(app): State<App>,
    accepted: Accepted,
    headers: HeaderMap,
    InPath(path): InPath<FieldPath>,
    InQuery(consistency): InQuery<Consistency>,
    body: Body,
) -> Result<Response, Problem> {
    let (format, change) = (accepted.format()?, body.parse::<CounterChange>()?);
    let namespace = app.namespace(&path.namespace)?;
    let master = namespace.master("counters and sets")?;
    let me = master.master_id();
    let change = move |standing: Option<&DynamicCrdt>| {
        let mut counter: PnCounter = typed(standing, Kind::PnCounter)?;
        let counted = match change.by {
            by @ 0.. => counter.increment(me, by.unsigned_abs()),
            by => counter.decrement(me, by.unsigned_abs()),
        };
        counted.map_err(|error| Problem::new(ProblemType::InvalidValue, error.to_string()))?;
        dynamic(DynamicCrdt::from_typed(&counter))
    };
    let receipt = update(&app, namespace, &headers, &consistency, path, change).await?;
    Ok(written(format, &receipt))
}

/// Adds elements to a set and removes others. What is added at one node and removed at another at the same time stays. A set
/// that is not there begins empty.
#[utoipa::path(
    post, operation_id = "change_set", path = "/v1/namespaces/{namespace}/entities/{id}/sets/{field}", tag = "counters and sets",
    params(FieldPath, Consistency), request_body = SetChange,
    responses(
        (status = 200, body = Receipt),
        (status = 202, body = Receipt),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn change_set(
    State(app): State<App>,
    accepted: Accepted,
    headers: HeaderMap,
    InPath(path): InPath<FieldPath>,
    InQuery(consistency): InQuery<Consistency>,
    body: Body,
) -> Result<Response, Problem> {
    let (format, change) = (accepted.format()?, body.parse::<SetChange>()?);
    let namespace = app.namespace(&path.namespace)?;
    let master = namespace.master("counters and sets")?;
    let me = master.master_id();
    let change = move |standing: Option<&DynamicCrdt>| {
        let mut set: OrSet<Value> = typed(standing, Kind::OrSet)?;
        for element in &change.remove {
            set.remove_in_place(element);
        }
        for element in change.add {
            let added = set.insert_in_place(me.clone(), element);
            added.map_err(|error| Problem::new(ProblemType::InvalidValue, error.to_string()))?;
        }
        dynamic(DynamicCrdt::from_typed(&set))
    };
    let receipt = update(&app, namespace, &headers, &consistency, path, change).await?;
    Ok(written(format, &receipt))
}

/// Changes a field where no other write of this node comes between.
async fn update(
    app: &App,
    namespace: &Namespace,
    headers: &HeaderMap,
    consistency: &Consistency,
    path: FieldPath,
    change: impl FnOnce(Option<&DynamicCrdt>) -> Result<DynamicCrdt, Problem> + Send + 'static,
) -> Result<Receipt, Problem> {
    let master = namespace.master("counters and sets")?;
    if namespace.options.strategy_of(&path.id) != ConflictStrategyName::CrdtMerge {
        let detail =
            format!("counters and sets need the strategy crdt-merge, which {:?} does not have", path.id);
        return Err(Problem::new(ProblemType::WrongStrategy, detail));
    }
    let options = consistency.options(headers, app.wait_max())?;
    let wait = session::wait(consistency.wait_ms, WAIT_DEFAULT, app.wait_max())?;
    session::settle(headers, master, wait).await?;
    let FieldPath { id, field, .. } = path;
    let change = move |entity: &mut Value| {
        if entity.is_null() {
            *entity = Value::Map(std::collections::BTreeMap::new());
        }
        let Value::Map(fields) = entity else {
            return Err(Problem::new(ProblemType::CrdtField, "the entity is no map, and has no fields"));
        };
        let changed = match fields.get(&field) {
            None => change(None)?,
            Some(Value::Crdt(crdt)) => change(Some(crdt))?,
            Some(_) => {
                let detail = format!("the field {field:?} is a plain value: remove it first");
                return Err(Problem::new(ProblemType::CrdtField, detail));
            }
        };
        fields.insert(field, Value::Crdt(Box::new(changed)));
        Ok(())
    };
    let updated: Result<_, UpdateError<Problem>> = master.update_with(id, options, change).await;
    receipt(master, &updated?).await
}

/// The CRDT that stands, or an empty one.
fn typed<C>(standing: Option<&DynamicCrdt>, kind: Kind) -> Result<C, Problem>
where
    C: archipelago::crdt::Crdt + serde::de::DeserializeOwned + Default,
{
    let Some(standing) = standing else { return Ok(C::default()) };
    standing.to_typed().map_err(|_| another_kind(&Value::Crdt(Box::new(standing.clone())), kind))
}

fn dynamic<E: std::fmt::Display>(crdt: Result<DynamicCrdt, E>) -> Result<DynamicCrdt, Problem> {
    crdt.map_err(|error| Problem::new(ProblemType::InvalidValue, error.to_string()))
}

fn another_kind(found: &Value, wanted: Kind) -> Problem {
    let detail = format!("the field is a {}, not a {}", found.kind(), wanted.name());
    Problem::new(ProblemType::CrdtField, detail)
}
