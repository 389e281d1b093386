//! Many writes in one request: `/v1/namespaces/{namespace}/batch`.

use std::collections::BTreeSet;

use archipelago::Value;
use axum::{extract::State, http::HeaderMap, response::Response};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{InPath, InQuery, listing::NamespacePath};
use crate::{
    app::App,
    media::{Accepted, Body},
    problem::{Problem, ProblemBody},
    receipt::Receipt,
    session::Consistency,
    writing::Writer,
};

/// Writes of different entities. Each happens by itself, or does not: a batch is no transaction.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    operations: Vec<Operation>,
}

/// One write.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Operation {
    /// Gives the entity a value.
    Put {
        id: String,
        #[schema(value_type = serde_json::Value)]
        value: Value,
        /// The state that it must be in, as in the header `ETag` without quotes.
        if_match: Option<String>,
    },
    /// Sets some of its fields.
    Patch {
        id: String,
        #[schema(value_type = serde_json::Value)]
        value: Value,
        /// The state that it must be in, as in the header `ETag` without quotes.
        if_match: Option<String>,
    },
    /// Removes it.
    Delete {
        id: String,
        /// The state that it must be in, as in the header `ETag` without quotes.
        if_match: Option<String>,
    },
}

/// What became of each operation, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchResult {
    results: Vec<OperationResult>,
}

/// What became of an operation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OperationResult {
    /// The status that it would have had by itself.
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<ProblemBody>,
}

impl Operation {
    fn id(&self) -> &str {
        match self {
            Operation::Put { id, .. } | Operation::Patch { id, .. } | Operation::Delete { id, .. } => id,
        }
    }

    async fn perform(self, writer: Writer<'_>) -> Result<Receipt, Problem> {
        let expecting = |if_match: Option<String>| match if_match {
            Some(tag) => writer.expecting(&tag),
            None => writer,
        };
        match self {
            Operation::Put { id, value, if_match } => expecting(if_match).put(id, value).await,
            Operation::Patch { id, value, if_match } => expecting(if_match).patch(id, value).await,
            Operation::Delete { id, if_match } => expecting(if_match).delete(id).await,
        }
    }
}

impl From<Result<Receipt, Problem>> for OperationResult {
    fn from(outcome: Result<Receipt, Problem>) -> Self {
        match outcome {
            Ok(receipt) => {
                OperationResult { status: receipt.status().as_u16(), receipt: Some(receipt), problem: None }
            }
            Err(problem) => OperationResult {
                status: problem.kind.status().as_u16(),
                receipt: None,
                problem: Some(problem.body()),
            },
        }
    }
}

/// Many writes at once, of different entities. They share what one write costs; each succeeds or fails by itself.
#[utoipa::path(
    post, operation_id = "write_batch", path = "/v1/namespaces/{namespace}/batch", tag = "entities",
    params(NamespacePath, Consistency),
    request_body = Batch,
    responses(
        (status = 200, body = BatchResult),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn write(
    State(app): State<App>,
    accepted: Accepted,
    headers: HeaderMap,
    InPath(path): InPath<NamespacePath>,
    InQuery(consistency): InQuery<Consistency>,
    body: Body,
) -> Result<Response, Problem> {
    let (format, batch) = (accepted.format()?, body.parse::<Batch>()?);
    let namespace = app.namespace(&path.namespace)?;
    let max = app.limits().batch_operations_max;
    if batch.operations.len() > max {
        return Err(Problem::invalid(format!(
            "a batch has at most {max} operations, http.batch_operations_max"
        )));
    }
    let ids: BTreeSet<&str> = batch.operations.iter().map(Operation::id).collect();
    if ids.len() < batch.operations.len() {
        return Err(Problem::invalid(
            "an entity stands twice in the batch: there is no order between operations",
        ));
    }
    let writer = Writer::prepare(&app, namespace, &headers, &consistency).await?;
    let writes = batch.operations.into_iter().map(|operation| operation.perform(writer.clone()));
    let results = join_all(writes).await.into_iter().map(OperationResult::from).collect();
    Ok(format.response(&BatchResult { results }))
}
