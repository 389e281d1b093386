//! Taking anew what another node has: `/cluster/resync`.

use std::collections::BTreeMap;

use archipelago::{Mended, MultiMasterManager, Unmended};
use axum::{extract::State, http::StatusCode, response::Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    app::App,
    media::{Accepted, Body},
    namespace::Running,
    problem::{Problem, ProblemBody, ProblemType},
};

/// How often this node took what the log did not bring, namespace by namespace, since it was started.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Resyncs {
    namespaces: BTreeMap<String, ResyncCounts>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum ResyncCounts {
    MultiMaster {
        /// How often it took from another master what it lacked.
        repairs: u64,
        /// How often it took a snapshot.
        snapshots_taken: u64,
        /// How often the log was lost, replaced or trimmed.
        logs_lost: u64,
        /// Bytes of a repair that wait for the rest.
        repair_bytes_staged: u64,
    },
    LeaderFollower {
        /// It takes the state of another node just now.
        is_resyncing: bool,
        /// How often it began to.
        attempts: u64,
        /// How often it had all of it.
        successes: u64,
        /// How often that failed.
        failures: u64,
        /// Entries that came from the tails of other nodes instead.
        entries_fetched: u64,
        /// How often others took the state of this node.
        states_given: u64,
    },
}

/// What is to be taken anew.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResyncOrder {
    /// The namespace.
    namespace: String,
    /// Leader-follower: who is to take the state anew. Default this node.
    node: Option<String>,
    /// Multi-master: from which master this one is to take what differs. Required.
    from: Option<String>,
}

/// What was begun, or done.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Resynced {
    /// In leader-follower mode it has begun.
    LeaderFollower {
        /// Who takes the state anew.
        node: String,
    },
    /// In multi-master mode it is done.
    MultiMaster {
        /// From whom.
        from: String,
        /// What was removed there, and is removed here as well now.
        joined: Vec<String>,
        /// What the other one holds took the place of what was stored here.
        replaced: Vec<String>,
        /// What was left as it is, and why.
        left: Vec<LeftAlone>,
        /// There is more: repair again.
        is_truncated: bool,
    },
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LeftAlone {
    id: String,
    /// `in-flight`, `damaged-there`, `removed-here`, `ahead`, `needs-newer-build` or `other`.
    reason: &'static str,
}

/// How often this node took what the log did not bring.
#[utoipa::path(
    get, operation_id = "resync_statistics", path = "/cluster/resync", tag = "operations",
    responses((status = 200, body = Resyncs), (status = "4XX", body = ProblemBody, content_type = "application/problem+json")),
)]
pub(crate) async fn statistics(State(app): State<App>, accepted: Accepted) -> Result<Response, Problem> {
    let format = accepted.format()?;
    let mut namespaces = BTreeMap::new();
    for (name, namespace) in app.namespaces() {
        let counts = match &namespace.running {
            Running::MultiMaster(master) => {
                let metrics = master.metrics();
                ResyncCounts::MultiMaster {
                    repairs: metrics.repairs,
                    snapshots_taken: metrics.snapshots_taken,
                    logs_lost: metrics.logs_lost,
                    repair_bytes_staged: metrics.repair_bytes_staged,
                }
            }
            Running::LeaderFollower(node) => {
                let metrics = node.metrics();
                ResyncCounts::LeaderFollower {
                    is_resyncing: namespace.is_resyncing(),
                    attempts: metrics.resync_attempts,
                    successes: metrics.resync_successes,
                    failures: metrics.resync_failures,
                    entries_fetched: metrics.entries_fetched,
                    states_given: metrics.snapshots_created,
                }
            }
        };
        namespaces.insert(name.clone(), counts);
    }
    Ok(format.response(&Resyncs { namespaces }))
}

/// Has a follower take the whole state of another node anew, which goes on behind the answer; or has this master take from
/// another one whatever differs, and answers once that is done.
#[utoipa::path(
    post, operation_id = "force_resync", path = "/cluster/resync", tag = "operations", request_body = ResyncOrder,
    responses(
        (status = 200, description = "Done", body = Resynced),
        (status = 202, description = "Begun", body = Resynced),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json"),
        (status = "5XX", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn force(
    State(app): State<App>,
    accepted: Accepted,
    body: Body,
) -> Result<Response, Problem> {
    let (format, order) = (accepted.format()?, body.parse::<ResyncOrder>()?);
    match &app.namespace(&order.namespace)?.running {
        Running::LeaderFollower(node) => {
            if order.from.is_some() {
                return Err(Problem::new(
                    ProblemType::WrongMode,
                    "from is for multi-master namespaces: a follower finds out by itself who has the state",
                ));
            }
            let wanted = order.node.unwrap_or_else(|| node.node_id().to_owned());
            if wanted == node.node_id() && node.is_leader() {
                let detail = "this node leads, and a leader takes no state of others: demote it first";
                return Err(Problem::new(ProblemType::NotEligible, detail));
            }
            node.force_resync(&wanted).await?;
            let mut response = format.response(&Resynced::LeaderFollower { node: wanted });
            *response.status_mut() = StatusCode::ACCEPTED;
            Ok(response)
        }
        Running::MultiMaster(master) => {
            if order.node.is_some() {
                let detail =
                    "node is for leader-follower namespaces: ask the master itself, and say from whom";
                return Err(Problem::new(ProblemType::WrongMode, detail));
            }
            let Some(from) = order.from else { return Err(nobody_named(master).await) };
            Ok(format.response(&Resynced::from(master.repair_from(&from).await?)))
        }
    }
}

/// Whom it could be taken from.
async fn nobody_named(master: &MultiMasterManager) -> Problem {
    let peers = master.peers().await.unwrap_or_default();
    let names: Vec<_> = peers.iter().map(|peer| peer.master_id.name()).collect();
    Problem::invalid(format!(
        "from names the master that is right; those that are heard: {}",
        names.join(", ")
    ))
}

impl From<Mended> for Resynced {
    fn from(mended: Mended) -> Self {
        let ids = |ids: Vec<archipelago::proto::EntityId>| ids.iter().map(ToString::to_string).collect();
        let left =
            mended.left.into_iter().map(|(id, why)| LeftAlone { id: id.to_string(), reason: reason(why) });
        Resynced::MultiMaster {
            from: mended.from.to_string(),
            joined: ids(mended.joined),
            replaced: ids(mended.replaced),
            left: left.collect(),
            is_truncated: mended.is_truncated,
        }
    }
}

fn reason(why: Unmended) -> &'static str {
    match why {
        Unmended::InFlight => "in-flight",
        Unmended::DamagedThere => "damaged-there",
        Unmended::RemovedHere => "removed-here",
        Unmended::Ahead => "ahead",
        Unmended::NeedsNewerBuild => "needs-newer-build",
        _ => "other",
    }
}
