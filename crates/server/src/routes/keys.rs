//! Whom a node believes.

use archipelago::{InvalidKey, KeyError, PublicKey, TrustedKeys};
use axum::{extract::State, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{InPath, listing::NamespacePath};
use crate::{
    app::App,
    media::{Accepted, Body},
    namespace::{Namespace, Running},
    problem::{Problem, ProblemBody, ProblemType},
};

/// The keys of a namespace, in order of name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyList {
    keys: Vec<KeyOfMember>,
    /// How many messages were not believed since the start.
    refused: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct KeyOfMember {
    /// The name that it speaks for.
    name: String,
    /// The key.
    #[schema(example = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")]
    key: String,
    /// False if it was withdrawn.
    is_trusted: bool,
    /// This node signs with it.
    is_own: bool,
    /// Since when, in milliseconds since the Unix epoch; missing if it is how a node was set up.
    #[serde(skip_serializing_if = "Option::is_none")]
    since_unix_ms: Option<u64>,
}

/// A key, and the name that it speaks for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamedKey {
    /// The name of the node.
    #[schema(max_length = 64, min_length = 1, pattern = "^[A-Za-z0-9_-]+$")]
    name: String,
    /// Its public key.
    #[schema(pattern = "^ed25519:[0-9a-f]{64}$")]
    key: String,
}

/// Whom this node believes, and whom it does not any more.
#[utoipa::path(
    get, operation_id = "list_keys", path = "/v1/namespaces/{namespace}/keys", tag = "members", params(NamespacePath),
    responses(
        (status = 200, body = KeyList),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn list(
    State(app): State<App>,
    accepted: Accepted,
    InPath(path): InPath<NamespacePath>,
) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let keys = of(app.namespace(&path.namespace)?)?;
    Ok(format.response(&KeyList::of(keys)))
}

/// Lets in a node with a key: what is signed with it is believed, here and at all nodes that believe this one.
#[utoipa::path(
    post, operation_id = "trust_key", path = "/v1/namespaces/{namespace}/keys/trust", tag = "members",
    params(NamespacePath),
    request_body = NamedKey,
    responses(
        (status = 200, body = KeyList),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn trust(
    State(app): State<App>,
    accepted: Accepted,
    InPath(path): InPath<NamespacePath>,
    body: Body,
) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let keys = of(app.namespace(&path.namespace)?)?;
    let (name, key) = named(&body)?;
    keys.trust(&name, key).await?;
    Ok(format.response(&KeyList::of(keys)))
}

/// Withdraws a key: what is signed with it is believed no more, also what it signed before.
#[utoipa::path(
    post, operation_id = "withdraw_key", path = "/v1/namespaces/{namespace}/keys/withdraw", tag = "members",
    params(NamespacePath),
    request_body = NamedKey,
    responses(
        (status = 200, body = KeyList),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn withdraw(
    State(app): State<App>,
    accepted: Accepted,
    InPath(path): InPath<NamespacePath>,
    body: Body,
) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let keys = of(app.namespace(&path.namespace)?)?;
    let (name, key) = named(&body)?;
    keys.withdraw(&name, key).await?;
    Ok(format.response(&KeyList::of(keys)))
}

impl KeyList {
    fn of(keys: &TrustedKeys) -> KeyList {
        let own = keys.own();
        let listed = keys.list().into_iter().map(|listed| KeyOfMember {
            is_own: (&*listed.name, listed.key) == own,
            name: listed.name,
            key: listed.key.to_string(),
            is_trusted: listed.is_trusted,
            since_unix_ms: Some(listed.since_unix_ms).filter(|since| *since > 0),
        });
        KeyList { keys: listed.collect(), refused: keys.refused() }
    }
}

fn of(namespace: &Namespace) -> Result<&TrustedKeys, Problem> {
    let keys = match &namespace.running {
        Running::MultiMaster(master) => master.trusted_keys(),
        Running::LeaderFollower(node) => node.trusted_keys(),
    };
    keys.ok_or_else(|| {
        Problem::new(ProblemType::NotConfigured, "this node does not sign: give it signatures.key_file")
    })
}

fn named(body: &Body) -> Result<(String, PublicKey), Problem> {
    let NamedKey { name, key } = body.parse()?;
    let invalid = |error: InvalidKey| Problem::new(ProblemType::InvalidRequest, error.to_string());
    Ok((name, key.parse().map_err(invalid)?))
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        let kind = match error {
            KeyError::InvalidName { .. } | KeyError::Own => ProblemType::InvalidRequest,
            KeyError::Full => ProblemType::Busy,
            KeyError::Store(_) => ProblemType::StoreFailed,
            _ => ProblemType::Draining,
        };
        Problem::new(kind, error.to_string())
    }
}
