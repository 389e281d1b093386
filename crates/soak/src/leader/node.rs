//! The child: one node of a leader-follower namespace on a folder, that does what standard input asks.

use std::{process::ExitCode, time::Duration};

use archipelago::{
    FjallStore, NatsConfig, NatsPipeline, OnStart,
    manager::leader_follower::{
        LeaderFollowerManager, Notification, Notifications, ReadConsistency, ReadError, Write, WriteError,
    },
};
use archipelago_testkit::history::{Consistency, KvOp, KvResult};

use super::protocol::{Answer, NodeOptions, Request, Status, Told};
use crate::{
    child::{self, Numbered, UNASKED, answer},
    clock::SetClock,
    now::now_ns,
};

/// How many of its heartbeats a node sends within one lease.
const BEATS_PER_LEASE: u32 = 4;
/// For how long a node that is not heard counts as alive, in leases.
const SILENT_LEASES: u32 = 2;
/// How long a node waits at most before it tries the broker again.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// How long an operation may take; clients do not wait longer.
pub(crate) const DEADLINE: Duration = Duration::from_secs(2);

/// Does what standard input asks until it ends.
pub(crate) async fn serve() -> ExitCode {
    let mut queue = child::requests();
    let (mut node, clock) = (None::<LeaderFollowerManager>, SetClock::default());
    while let Some(Numbered { number, body }) = queue.recv().await {
        match (body, &node) {
            (Request::Start(options), None) => match start(options, clock.clone()).await {
                Ok(started) => {
                    tokio::spawn(tell(started.subscribe()));
                    if started.is_leader() {
                        // It may have been told before anybody listened.
                        let told = Told::Promoted { term: started.term(), at_ns: now_ns() };
                        answer(UNASKED, Answer::Told(told));
                    }
                    node = Some(started);
                    answer(number, Answer::Done);
                }
                Err(reason) => answer(number, Answer::Refused { reason }),
            },
            (Request::SetClock { offset_ms }, _) => {
                clock.set(offset_ms);
                answer(number, Answer::Done);
            }
            (body, Some(node)) => {
                let node = node.clone();
                tokio::spawn(async move { answer(number, respond(&node, body).await) });
            }
            (_, None) => answer(number, Answer::Refused { reason: "it is not started".into() }),
        }
    }
    ExitCode::SUCCESS
}

/// Opens the store and starts the node; the servers need not be reachable.
async fn start(options: NodeOptions, clock: SetClock) -> Result<LeaderFollowerManager, String> {
    let config = NatsConfig::new(options.servers.as_str(), options.namespace.as_str())
        .replicas(options.replicas)
        .on_start(OnStart::Background);
    let pipeline = NatsPipeline::connect(config).await.map_err(|error| error.to_string())?;
    let folder = options.folder.clone();
    let store = tokio::task::spawn_blocking(move || FjallStore::open(folder)).await;
    let store = store.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let lease = Duration::from_millis(options.lease_ms);
    let node = LeaderFollowerManager::builder()
        .node_id(options.name)
        .namespace(options.namespace)
        .store(store)
        .pipeline(pipeline)
        .lease(lease)
        .heartbeat_interval(lease / BEATS_PER_LEASE)
        .heartbeat_timeout(lease * SILENT_LEASES)
        .reconnect_backoff(RECONNECT.0, RECONNECT.1)
        .read_timeout(DEADLINE)
        .clock(clock)
        .start();
    node.await.map_err(|error| error.to_string())
}

async fn respond(node: &LeaderFollowerManager, request: Request) -> Answer {
    match request {
        Request::Start(_) | Request::SetClock { .. } => {
            Answer::Refused { reason: "it is started already".into() }
        }
        Request::Promote => match node.promote().await {
            Ok(()) => Answer::Done,
            Err(error) => Answer::Refused { reason: error.to_string() },
        },
        Request::Do(op) => perform(node, op).await,
        Request::Status => Answer::Status(Box::new(status(node))),
        Request::Close => match node.close().await {
            Ok(()) => Answer::Done,
            Err(error) => Answer::Refused { reason: error.to_string() },
        },
    }
}

async fn perform(node: &LeaderFollowerManager, op: KvOp) -> Answer {
    let write = match op {
        KvOp::Read { key, consistency } => return read(node, &key, consistency).await,
        KvOp::Create { key, value } => Write::create(key, &value),
        KvOp::Update { key, value, expected } => expecting(Write::update(key, &value), expected),
        KvOp::Upsert { key, value, expected } => expecting(Write::upsert(key, &value), expected),
        KvOp::Delete { key, expected } => expecting(Write::delete(key), expected),
    };
    let did = |result, term| Answer::Did { result, term };
    match node.write(write.within(DEADLINE)).await {
        Ok(receipt) => did(KvResult::Written(receipt.sequence), Some(receipt.term)),
        Err(WriteError::AlreadyExists { .. } | WriteError::NotFound { .. }) => did(KvResult::Refused, None),
        Err(WriteError::VersionMismatch { .. }) => did(KvResult::Conflict, None),
        Err(WriteError::OutcomeUnknown { .. } | WriteError::StoreFailed { .. }) => Answer::Unknown,
        Err(error) => {
            let leader = match &error {
                WriteError::FollowerReadOnly { leader } => leader.as_ref().map(|leader| leader.id.clone()),
                _ => None,
            };
            Answer::NotDone { leader, reason: error.to_string() }
        }
    }
}

fn expecting(write: Write, version: Option<u64>) -> Write {
    match version {
        Some(version) => write.expecting(version),
        None => write,
    }
}

async fn read(node: &LeaderFollowerManager, key: &str, consistency: Consistency) -> Answer {
    let consistency = match consistency {
        Consistency::Linearizable => ReadConsistency::Linearizable,
        Consistency::BoundedStaleness { bound_ns } => {
            ReadConsistency::BoundedStaleness(Duration::from_nanos(bound_ns))
        }
        // The sessions of clients are not known here.
        Consistency::Eventual | Consistency::Session => ReadConsistency::Eventual,
    };
    match node.read::<String>(key, consistency).await {
        Ok(found) => {
            let value = found.value.map(|value| (value, found.version));
            Answer::Did { result: KvResult::Value(value), term: None }
        }
        Err(error) => {
            let leader = match &error {
                ReadError::NoLeader { leader, .. } => leader.as_ref().map(|leader| leader.id.clone()),
                _ => None,
            };
            Answer::NotDone { leader, reason: error.to_string() }
        }
    }
}

fn status(node: &LeaderFollowerManager) -> Status {
    let ((index, digest), (_, history)) = (node.digest(), node.history_digest());
    Status {
        role: format!("{:?}", node.role()).to_lowercase(),
        leader: node.leader().map(|leader| leader.id),
        term: node.term(),
        index,
        digest: format!("{digest:032x}"),
        history: format!("{history:032x}"),
        trouble: node.follower_state().and_then(|state| state.trouble),
    }
}

/// Tells the parent what happens, without being asked.
async fn tell(mut notifications: Notifications) {
    while let Some(notification) = notifications.next().await {
        let at_ns = now_ns();
        let told = match notification {
            Notification::Promoted { term } => Told::Promoted { term, at_ns },
            Notification::Demoted { term, reason } => Told::Demoted { term, at_ns, reason },
            Notification::LogMended { from, to } => Told::Mended { from, to },
            Notification::EntriesMissing { have, told } => Told::Missing { have, told },
            Notification::EntriesOrphaned { from, to } => Told::Orphaned { from, to },
            Notification::StoreFailed { reason } => Told::StoreFailed { reason },
            Notification::Missed(missed) => Told::Missed(missed),
            _ => continue,
        };
        answer(UNASKED, Answer::Told(told));
    }
}
