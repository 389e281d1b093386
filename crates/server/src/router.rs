//! Which path goes where, who may take it, and what holds for all of them.

use std::{any::Any, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderValue, Method, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::time::{Instant, timeout};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    access::{Access, Guard, Role, guard},
    app::App,
    dashboard,
    listener::Peer,
    openapi,
    problem::{Problem, ProblemType},
    refusals::Refusal,
    routes::{
        self, batch, changes, cluster, conflicts, entities, fields, health, keys, leadership, listing,
        measures, members, quarantine, resync, snapshots,
    },
};

/// The route of requests that none takes.
const NO_ROUTE: &str = "none";

/// The paths that a role may take.
pub(crate) fn paths(role: Role) -> OpenApiRouter<App> {
    match role {
        Role::Read => OpenApiRouter::new()
            .routes(routes!(openapi::document))
            .routes(routes!(routes::access::held))
            .routes(routes!(listing::namespaces))
            .routes(routes!(listing::list))
            .routes(routes!(entities::get))
            .routes(routes!(changes::follow))
            .routes(routes!(conflicts::pending))
            .routes(routes!(conflicts::past))
            .routes(routes!(conflicts::show))
            .routes(routes!(conflicts::explain))
            .routes(routes!(fields::counter))
            .routes(routes!(fields::set))
            .routes(routes!(members::list))
            .routes(routes!(keys::list))
            .routes(routes!(cluster::status))
            .routes(routes!(cluster::nodes))
            .routes(routes!(cluster::sync))
            .routes(routes!(resync::statistics))
            .routes(routes!(snapshots::list))
            .routes(routes!(snapshots::show))
            .routes(routes!(quarantine::list))
            .routes(routes!(measures::metrics)),
        Role::Write => OpenApiRouter::new()
            .routes(routes!(entities::put, entities::patch, entities::delete))
            .routes(routes!(batch::write))
            .routes(routes!(conflicts::resolve))
            .routes(routes!(fields::count))
            .routes(routes!(fields::change_set)),
        Role::Admin => OpenApiRouter::new()
            .routes(routes!(members::retire))
            .routes(routes!(keys::trust))
            .routes(routes!(keys::withdraw))
            .routes(routes!(leadership::promote))
            .routes(routes!(leadership::demote))
            .routes(routes!(resync::force))
            .routes(routes!(snapshots::make))
            .routes(routes!(snapshots::verify)),
    }
}

/// The paths that need no token.
pub(crate) fn open_paths() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::replica))
        .routes(routes!(health::leader))
        .routes(routes!(dashboard::page))
        .routes(routes!(dashboard::file))
}

/// All of it.
pub(crate) fn router(app: &App, access: &Arc<Access>) -> Router {
    let mut guarded = OpenApiRouter::new();
    for role in Role::ALL {
        let layer = from_fn_with_state(Guard { access: access.clone(), role }, guard);
        guarded = guarded.merge(paths(role).route_layer(layer));
    }
    let guarded: Router<App> = guarded.into();
    let guarded = guarded.route_layer(from_fn_with_state(app.clone(), within_time));
    // Whoever has no token learns nothing of which paths there are.
    let stranger = Guard { access: access.clone(), role: Role::Read };
    let unknown = get(no_such_path).fallback(no_such_path).layer(from_fn_with_state(stranger.clone(), guard));
    Router::from(open_paths())
        .merge(guarded)
        .fallback_service(unknown.with_state(()))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(app.limits().body_bytes_max))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(app.clone(), measured))
        .with_state(app.clone())
}

async fn no_such_path(request: Request) -> Problem {
    Problem::new(ProblemType::NoSuchPath, format!("nothing is at {}", request.uri().path()))
}

async fn method_not_allowed(request: Request) -> Problem {
    let detail = format!("{} does not take {}", request.uri().path(), request.method());
    Problem::new(ProblemType::MethodNotAllowed, detail)
}

/// A request and the reading of its body take so long at most, and are waited for when the node ends.
async fn within_time(State(app): State<App>, request: Request, next: Next) -> Response {
    let _under_way = match app.begin() {
        Ok(under_way) => under_way,
        Err(problem) => return problem.into_response(),
    };
    let time_max = Duration::from_millis(app.limits().request_timeout_ms);
    timeout(time_max, next.run(request)).await.unwrap_or_else(|_| {
        let detail = format!(
            "it took longer than {} ms, http.request_timeout_ms; a write may go on all the same",
            time_max.as_millis()
        );
        Problem::new(ProblemType::RequestTimeout, detail).into_response()
    })
}

/// Counts each request, and adds what each response has.
async fn measured(State(app): State<App>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = method_name(request.method());
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let peer = request.extensions().get::<Peer>().map(|Peer(peer)| *peer);
    let mut response = next.run(request).await;
    if let Some(refusal) = response.extensions().get().copied().and_then(Refusal::of) {
        app.refusals().note(refusal, peer);
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if app.is_draining() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let status = response.status().as_u16();
    app.measures().request(method, route.as_deref().unwrap_or(NO_ROUTE), status, began.elapsed());
    response
}

/// The name of a method that some route takes; all others are one, as anyone may invent them.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let reason = panic.downcast_ref::<String>().map(String::as_str);
    let reason = reason.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason");
    tracing::error!(reason, "a request panicked");
    Problem::new(ProblemType::Internal, "the node made a mistake; its log says more").into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{config::Config, measures::Measures, openapi::describe};

    /// What a router knows it shows only in its `Debug` output: texts that begin with a slash are its paths.
    #[test]
    fn the_document_has_the_paths_of_the_router_and_no_others() {
        let config = Config::default();
        let app = App::new("a".into(), None, Default::default(), config.http.clone(), Measures::new());
        let access = Arc::new(Access::new(&config, config.http.listen));
        let shown = format!("{:?}", router(&app, &access));
        let routed: BTreeSet<&str> = shown
            .split('"')
            .filter(|text| text.starts_with('/') && !text.contains("__private__axum"))
            .collect();
        let document = describe();
        let described: BTreeSet<&str> = document.paths.paths.keys().map(String::as_str).collect();
        assert_eq!(routed, described);
    }
}
