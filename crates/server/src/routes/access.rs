//! What the one who asks may do: `/v1/access`.

use axum::{Extension, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    access::Role,
    media::Accepted,
    problem::{Problem, ProblemBody},
};

/// What the one who asks may do.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Held {
    /// `read`, `write` or `admin`; each may do what the ones before it may.
    #[schema(value_type = String, example = "write")]
    role: Role,
}

/// The role of the token that this is asked with.
#[utoipa::path(
    get, path = "/v1/access", tag = "operations",
    responses((status = 200, body = Held), (status = "4XX", body = ProblemBody, content_type = "application/problem+json")),
)]
pub(crate) async fn held(Extension(role): Extension<Role>, accepted: Accepted) -> Result<Response, Problem> {
    Ok(accepted.format()?.response(&Held { role }))
}
