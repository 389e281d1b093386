//! The description of all paths, for programs.

use axum::{
    extract::State,
    response::{IntoResponse, Json, Response},
};
use utoipa::{
    Number,
    openapi::{
        ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, RefOr, Schema,
        path::Operation,
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    access::Role,
    app::App,
    router::{open_paths, paths},
};

const SCHEME: &str = "bearer";

/// This document.
#[utoipa::path(
    get, operation_id = "describe_api", path = "/v1/openapi.json", tag = "operations",
    responses((status = 200, body = serde_json::Value)),
)]
pub(crate) async fn document(State(app): State<App>) -> Response {
    let (mut document, limits) = (describe(), app.limits());
    bound(&mut document, "limit", limits.page_entities_max);
    bound(&mut document, "wait_ms", limits.wait_ms_max);
    Json(document).into_response()
}

/// Says of all parameters of that name how large they may be on this node.
fn bound(document: &mut OpenApi, name: &str, maximum: impl Into<Number> + Copy) {
    let operations = document.paths.paths.values_mut().flat_map(operations).flatten();
    for parameter in operations.flat_map(|operation| operation.parameters.iter_mut().flatten()) {
        if let Some(RefOr::T(Schema::Object(schema))) = &mut parameter.schema
            && parameter.name == name
        {
            schema.maximum = Some(maximum.into());
        }
    }
}

fn operations(path: &mut PathItem) -> [Option<&mut Operation>; 5] {
    let PathItem { get, put, post, delete, patch, .. } = path;
    [get, put, post, delete, patch].map(Option::as_mut)
}

/// The OpenAPI 3.1 document of the node, as it is served.
pub fn describe() -> OpenApi {
    let mut router = OpenApiRouter::with_openapi(base()).merge(open_paths());
    for role in Role::ALL {
        let mut guarded = paths(role);
        let requirement = SecurityRequirement::new(SCHEME, [role.name()]);
        for item in guarded.get_openapi_mut().paths.paths.values_mut() {
            for operation in operations(item).into_iter().flatten() {
                operation.security = Some(vec![requirement.clone()]);
            }
        }
        router = router.merge(guarded);
    }
    router.into_openapi()
}

fn base() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Archipelago node")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "One data set on many nodes. Problems are as in RFC 9457; headers and limits are described in docs/NODE.md.",
        ));
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A token of the node. Its role is read, write or admin."));
    let components = ComponentsBuilder::new().security_scheme(SCHEME, SecurityScheme::Http(scheme.build()));
    OpenApiBuilder::new().info(info.build()).components(Some(components.build())).build()
}
