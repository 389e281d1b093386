//! What each path does.

pub(crate) mod access;
pub(crate) mod batch;
pub(crate) mod changes;
pub(crate) mod cluster;
pub(crate) mod conflicts;
pub(crate) mod entities;
pub(crate) mod fields;
pub(crate) mod health;
pub(crate) mod keys;
pub(crate) mod leadership;
pub(crate) mod listing;
pub(crate) mod measures;
pub(crate) mod members;
pub(crate) mod quarantine;
pub(crate) mod resync;
pub(crate) mod snapshots;

use axum::{
    extract::{FromRequestParts, Path, Query},
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use crate::problem::Problem;

/// The parameters of a path.
pub(crate) struct InPath<T>(pub(crate) T);

/// The parameters of a query.
pub(crate) struct InQuery<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(path)| InPath(path)).map_err(|rejection| Problem::invalid(rejection.body_text()))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await;
        query.map(|Query(query)| InQuery(query)).map_err(|rejection| Problem::invalid(rejection.body_text()))
    }
}
