//! What was not taken in, and is kept for a person to look at: `/v1/namespaces/{namespace}/quarantine`.

use std::time::Duration;

use archipelago::{Value, clock::Dot, leader_follower::ReadError, proto};
use axum::{extract::State, response::Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{InPath, cluster::millis, listing::NamespacePath};
use crate::{
    app::App,
    media::Accepted,
    namespace::Running,
    problem::{Problem, ProblemBody, ProblemType},
};

/// How many entries are listed, the oldest.
const ORPHANS_MAX: usize = 1_000;

/// What was not taken in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Quarantine {
    /// Multi-master: events that are stamped too far ahead of this node's clock. They are applied by themselves once the time
    /// has come.
    events: Vec<Quarantined>,
    /// Multi-master: how many masters have such an event.
    masters: u64,
    /// Multi-master: how many messages of the log nobody could read since the start. They stay in the log.
    messages_unreadable: u64,
    /// Leader-follower: entries that this node had applied, and that the log lost before anybody else had them. They do not
    /// count; write again what should.
    orphans: Vec<Orphan>,
    /// There are more orphans than are listed.
    is_truncated: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct Quarantined {
    /// The write.
    dot: String,
    /// How far ahead it was when it came.
    ahead_ms: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct Orphan {
    /// The index that it had.
    sequence: u64,
    /// The term that it was of.
    term: u64,
    /// `put` or `delete`.
    operation: &'static str,
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    value: Option<Value>,
}

/// What was not taken in, and is kept for a person to look at.
#[utoipa::path(
    get, operation_id = "list_quarantine", path = "/v1/namespaces/{namespace}/quarantine", tag = "operations",
    params(NamespacePath),
    responses(
        (status = 200, body = Quarantine),
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
    let namespace = app.namespace(&path.namespace)?;
    let quarantine = match &namespace.running {
        Running::MultiMaster(master) => {
            let (metrics, events) = (master.metrics(), namespace.watching.quarantined(master));
            let event =
                |(dot, ahead): (Dot, Duration)| Quarantined { dot: dot.to_string(), ahead_ms: millis(ahead) };
            Quarantine {
                events: events.into_iter().map(event).collect(),
                masters: metrics.quarantined,
                messages_unreadable: metrics.messages_unreadable,
                orphans: Vec::new(),
                is_truncated: false,
            }
        }
        Running::LeaderFollower(node) => {
            let node = node.clone();
            let read = tokio::task::spawn_blocking(move || node.orphans()).await;
            let batches = read.map_err(|error| Problem::new(ProblemType::Internal, error.to_string()))?;
            let mut orphans = orphans(&batches.map_err(|error: ReadError| Problem::from(error))?);
            let is_truncated = orphans.len() > ORPHANS_MAX;
            orphans.truncate(ORPHANS_MAX);
            Quarantine { events: Vec::new(), masters: 0, messages_unreadable: 0, orphans, is_truncated }
        }
    };
    Ok(format.response(&quarantine))
}

/// The writes of these batches; what else is in them is about no entity.
fn orphans(batches: &[proto::EntryBatch]) -> Vec<Orphan> {
    let limits = proto::Limits::default().for_state();
    let entries =
        batches.iter().flat_map(|batch| batch.chained().map(|(index, entry, _)| (batch.term, index, entry)));
    let writes = entries.filter_map(|(term, sequence, entry)| {
        let (operation, key, value) = match &entry.operation {
            proto::Operation::Put { key, value, .. } => {
                ("put", key, proto::decode_value(value, &limits).ok())
            }
            proto::Operation::Delete { key } => ("delete", key, None),
            _ => return None,
        };
        Some(Orphan { sequence, term, operation, id: key.to_string(), value })
    });
    writes.take(ORPHANS_MAX + 1).collect()
}
