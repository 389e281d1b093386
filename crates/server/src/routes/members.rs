//! Who belongs to a namespace.

use archipelago::MemberView;
use axum::{extract::State, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{InPath, listing::NamespacePath};
use crate::{
    app::App,
    media::Accepted,
    namespace::Running,
    problem::{Problem, ProblemBody},
};

/// Which member.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(crate) struct MemberPath {
    /// The namespace.
    namespace: String,
    /// The name of the member, without its incarnation.
    member: String,
}

/// The members of a namespace, in order of name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Members {
    members: Vec<Member>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Member {
    /// The name and the incarnation.
    #[schema(example = "us-east@0199c2f3a1b20001")]
    master: String,
    /// `joining`, `active`, `leaving`, `left` or `retired`.
    state: &'static str,
    /// Since when.
    since: String,
}

/// A member that was given up.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Retired {
    /// The name and the incarnation.
    retired: String,
}

impl From<MemberView> for Member {
    fn from(member: MemberView) -> Self {
        Member {
            master: member.master_id.to_string(),
            state: member.state.name(),
            since: member.since.to_string(),
        }
    }
}

/// The members of a namespace that this node knows: also those that left or were retired.
#[utoipa::path(
    get, path = "/v1/namespaces/{namespace}/members", tag = "members", params(NamespacePath),
    responses(
        (status = 200, body = Members),
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
    let Running::MultiMaster(master) = &app.namespace(&path.namespace)?.running;
    let members = master.members().await?.into_iter().map(Member::from).collect();
    Ok(format.response(&Members { members }))
}

/// Gives up a member that does not come back: nothing waits for it any more, above all no removal. Should it come back, it
/// joins again.
#[utoipa::path(
    post, path = "/v1/namespaces/{namespace}/members/{member}/retire", tag = "members", params(MemberPath),
    responses(
        (status = 200, body = Retired),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn retire(
    State(app): State<App>,
    accepted: Accepted,
    InPath(path): InPath<MemberPath>,
) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let Running::MultiMaster(master) = &app.namespace(&path.namespace)?.running;
    let retired = master.retire(&path.member).await?;
    Ok(format.response(&Retired { retired: retired.to_string() }))
}
