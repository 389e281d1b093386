use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{Role, TokenHash};
use crate::{
    config::{Config, TokenSection},
    problem::{Problem, ProblemType},
};

/// Who may use this node.
#[derive(Debug)]
pub(crate) struct Access {
    tokens: Vec<(TokenHash, Role)>,
    /// The node listens at a loopback address and has no tokens: whoever is on this machine may do everything.
    is_open: bool,
}

/// What a route asks for.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) access: Arc<Access>,
    pub(crate) role: Role,
}

impl Access {
    /// `listen` is where the node does listen.
    pub(crate) fn new(config: &Config, listen: SocketAddr) -> Access {
        let known = |token: &TokenSection| token.sha256.map(|hash| (hash, token.role));
        let tokens: Vec<_> = config.tokens.values().filter_map(known).collect();
        let is_open = listen.ip().is_loopback() && tokens.is_empty();
        Access { tokens, is_open }
    }

    /// The role of the one who asks.
    fn check(&self, headers: &HeaderMap, uri: &Uri, role: Role) -> Result<Role, Problem> {
        let refused = |detail| Problem::new(ProblemType::Unauthorized, detail);
        let Some(given) = headers.get(header::AUTHORIZATION) else {
            if !self.is_open {
                return Err(refused("send `Authorization: Bearer <token>`"));
            }
            return refuse_foreign_pages(headers, uri).map(|()| Role::Admin);
        };
        let given = given.to_str().ok().and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| TokenHash::of(token.trim()))
        });
        let given = given.ok_or_else(|| refused("send `Authorization: Bearer <token>`"))?;
        // All are looked at, so that the time tells nothing of which one it is.
        let found = self.tokens.iter().filter(|(hash, _)| hash.is(&given)).map(|(_, role)| *role).max();
        let held = found.ok_or_else(|| refused("nobody has this token"))?;
        if held < role {
            let detail = format!("the token has the role {held}, and this needs {role}");
            return Err(Problem::new(ProblemType::Forbidden, detail));
        }
        Ok(held)
    }
}

/// A page of the web may make a browser on this machine send requests, also under a name that leads here. None of those
/// may do what people on this machine may.
fn refuse_foreign_pages(headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
    let forbidden = |detail: &str| Err(Problem::new(ProblemType::Forbidden, detail));
    let host =
        headers.get(header::HOST).and_then(|host| host.to_str().ok()).or(uri.authority().map(|a| a.as_str()));
    if !host.is_some_and(is_loopback_host) {
        return forbidden(
            "without tokens this node answers as localhost only; give it tokens, or use that name",
        );
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    if authority != host {
        return forbidden("without tokens this node does nothing for pages of other sites");
    }
    Ok(())
}

fn is_loopback_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Lets a request pass whose token has the role, and says which role it has.
pub(crate) async fn guard(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    match guard.access.check(request.headers(), request.uri(), guard.role) {
        Ok(held) => {
            request.extensions_mut().insert(held);
            next.run(request).await
        }
        Err(problem) => problem.into_response(),
    }
}
