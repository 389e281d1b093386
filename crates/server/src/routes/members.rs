//! Who belongs to a namespace.

use std::collections::BTreeMap;

use archipelago::{LeaderFollowerManager, MemberView, leader_follower::NodeRole};
use axum::{extract::State, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{InPath, listing::NamespacePath};
use crate::{
    app::App,
    media::Accepted,
    namespace::Running,
    problem::{Problem, ProblemBody, ProblemType},
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
    /// The name, and in multi-master mode the incarnation.
    #[schema(example = "us-east@0199c2f3a1b20001")]
    master: String,
    /// `joining`, `active`, `leaving`, `left` or `retired`; in leader-follower mode `leader`, `follower` or `candidate`, as it
    /// was heard last, or `absent`.
    state: &'static str,
    /// Since when; in multi-master mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// Whether majorities wait for it; in leader-follower mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    is_registered: Option<bool>,
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
            since: Some(member.since.to_string()),
            is_registered: None,
        }
    }
}

/// The members of a namespace that this node knows: also those that left or were retired.
#[utoipa::path(
    get, operation_id = "list_members", path = "/v1/namespaces/{namespace}/members", tag = "members", params(NamespacePath),
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
    let members = match &app.namespace(&path.namespace)?.running {
        Running::MultiMaster(master) => master.members().await?.into_iter().map(Member::from).collect(),
        Running::LeaderFollower(node) => nodes(node),
    };
    Ok(format.response(&Members { members }))
}

/// This node, those that were heard, and those that majorities wait for.
fn nodes(node: &LeaderFollowerManager) -> Vec<Member> {
    let mut states = BTreeMap::from([(node.node_id().to_owned(), role_name(node.role()))]);
    states.extend(node.heard_nodes().into_iter().map(|heard| (heard.id, role_name(heard.role))));
    let registered = node.registered_followers();
    for follower in &registered {
        states.entry(follower.clone()).or_insert("absent");
    }
    let members = states.into_iter().map(|(master, state)| {
        let is_registered = state == "leader" || registered.contains(&master);
        Member { master, state, since: None, is_registered: Some(is_registered) }
    });
    members.collect()
}

/// The role as a word.
pub(crate) fn role_name(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Leader => "leader",
        NodeRole::Follower => "follower",
        NodeRole::Candidate => "candidate",
    }
}

/// Gives up a member that does not come back: nothing waits for it any more, above all no removal. Should it come back, it
/// joins again. In leader-follower mode, at the leader: majorities do not wait for it any more; stop it first.
#[utoipa::path(
    post, operation_id = "retire_member", path = "/v1/namespaces/{namespace}/members/{member}/retire", tag = "members",
    params(MemberPath),
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
    let retired = match &app.namespace(&path.namespace)?.running {
        Running::MultiMaster(master) => master.retire(&path.member).await?.to_string(),
        Running::LeaderFollower(node) => {
            if !nodes(node).iter().any(|member| member.master == path.member) {
                let detail = format!("no node {:?} is registered, and none was heard", path.member);
                return Err(Problem::new(ProblemType::NoSuchMember, detail));
            }
            node.unregister_follower(&path.member).await?;
            path.member
        }
    };
    Ok(format.response(&Retired { retired }))
}
