use axum::{extract::State, http::header, response::IntoResponse};

use crate::{app::App, problem::ProblemBody};

/// What the node counts, for Prometheus.
#[utoipa::path(
    get, operation_id = "read_metrics", path = "/metrics", tag = "operations",
    responses(
        (status = 200, body = String, content_type = "text/plain"),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    let text = app.measures().render(&app).await;
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}
