//! The description of all paths, for programs.

use axum::{
    extract::State,
    response::{IntoResponse, Json, Response},
};
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder,
    security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
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
pub(crate) async fn document(State(_): State<App>) -> Response {
    Json(describe()).into_response()
}

/// The OpenAPI 3.1 document of the node, as it is served.
pub fn describe() -> OpenApi {
    let mut router = OpenApiRouter::with_openapi(base()).merge(open_paths());
    for role in Role::ALL {
        let mut guarded = paths(role);
        let requirement = SecurityRequirement::new(SCHEME, [role.name()]);
        for item in guarded.get_openapi_mut().paths.paths.values_mut() {
            let operations =
                [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch];
            for operation in operations.into_iter().flatten() {
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
