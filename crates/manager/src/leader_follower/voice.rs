//! What a node says to the others, and what it answers.

use std::{sync::Arc, time::Duration};

use archipelago_pipeline::{Answer, Heard};
use archipelago_proto::{NodeAnswer, NodeBeat, NodeQuestion, NodeRole, WriteRefusal};
use bytes::Bytes;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::{Instant, MissedTickBehavior, timeout},
};

use super::{
    LeaderFollowerManager, SessionToken, command::Command, give, manager::Weak, metrics::add, shared::Shared,
};

/// How many questions are answered at a time; more wait.
const ANSWERS_MAX: usize = 256;
/// How long an announcement may take to be handed over.
const ANNOUNCE_TIMEOUT: Duration = Duration::from_secs(2);
/// Before listening is tried again.
const LISTEN_PAUSE: Duration = Duration::from_millis(100);
/// No faster are beats sent, whatever happens.
const BEAT_PAUSE: Duration = Duration::from_millis(5);

/// Says how the node is, again and again, and at once when that changes.
pub(super) async fn tell(shared: Arc<Shared>, manager: Weak) {
    let mut interval = tokio::time::interval(shared.options.heartbeat_interval);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shared.closing.cancelled() => {
                // The last word, so that nobody waits for this node.
                say(&shared).await;
                return;
            }
            _ = interval.tick() => {
                if let Some(manager) = manager.upgrade() {
                    manager.measure();
                }
            }
            () = shared.tell.notified() => tokio::time::sleep(BEAT_PAUSE).await,
        }
        say(&shared).await;
    }
}

/// Says how the node is now.
pub(super) async fn say(shared: &Shared) {
    let announced = shared.pipeline.announce(&shared.node, shared.beat().encode());
    match timeout(ANNOUNCE_TIMEOUT, announced).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a heartbeat was not sent"),
        Err(_) => tracing::debug!("a heartbeat was not sent in time"),
    }
}

/// Hears what others say, and answers what they ask. Runs until the node is closed.
pub(super) async fn hear(shared: Arc<Shared>, manager: Weak, commands: mpsc::WeakSender<Command>) {
    let answers = Arc::new(Semaphore::new(ANSWERS_MAX));
    let requests = Arc::new(Semaphore::new(shared.options.requests_max.min(Semaphore::MAX_PERMITS)));
    loop {
        let listener = tokio::select! {
            biased;
            () = shared.closing.cancelled() => return,
            listener = shared.pipeline.listen(&shared.node) => listener,
        };
        if let Ok(mut listener) = listener {
            // Whoever is there says how it is, sooner than by its next heartbeat.
            shared.tell.notify_one();
            loop {
                let heard = tokio::select! {
                    biased;
                    () = shared.closing.cancelled() => return,
                    heard = listener.next() => heard,
                };
                match heard {
                    Ok(Heard::Announcement { from, payload }) => hear_beat(&shared, &from, payload),
                    Ok(Heard::Question { payload, answer }) => {
                        let (from, question) = match understand(&shared, payload) {
                            Ok(Some(understood)) => understood,
                            Ok(None) => continue,
                            Err(reason) => {
                                answer.send(NodeAnswer::Unable { reason }.encode()).await;
                                continue;
                            }
                        };
                        // What others want done takes as long as the log does, and nothing else is to wait for that.
                        let permit = match is_request(&question) {
                            true => requests.clone().try_acquire_owned().ok(),
                            false => answers.clone().acquire_owned().await.ok(),
                        };
                        let Some(permit) = permit else {
                            answer.send(too_many(&shared, &question).encode()).await;
                            continue;
                        };
                        let (shared, manager, commands) = (shared.clone(), manager.clone(), commands.clone());
                        shared.tasks.clone().spawn(async move {
                            answer_one(&shared, &manager, &commands, from, question, answer).await;
                            drop(permit);
                        });
                    }
                    Err(_) => break,
                }
            }
        }
        tokio::time::sleep(LISTEN_PAUSE).await;
    }
}

fn hear_beat(shared: &Shared, from: &str, payload: Bytes) {
    let beat = match NodeBeat::decode(payload, &shared.options.limits) {
        Ok(beat) if beat.node == from && beat.namespace == shared.namespace => beat,
        Ok(_) => return skip(shared, from, &"it speaks for another node or namespace"),
        Err(error) => return skip(shared, from, &error),
    };
    if beat.node == *shared.node {
        if beat.session != shared.session {
            shared.standing.send_modify(|standing| {
                standing.trouble =
                    Some(format!("another node goes by the name {from:?}: give each a name of its own"));
            });
        }
        return;
    }
    if beat.is_desynced {
        shared.reach.forget(from);
    } else if beat.term == shared.standing.borrow().term {
        shared.reach.reached(from, beat.index);
    }
    if beat.role == NodeRole::Leader {
        shared.standing.send_if_modified(|standing| {
            let is_news = beat.term >= standing.term
                && standing.role == NodeRole::Follower
                && standing
                    .leader
                    .as_ref()
                    .is_none_or(|leader| leader.id != beat.node || leader.address != beat.address);
            if is_news {
                standing.leader =
                    Some(super::LeaderInfo { id: beat.node.clone(), address: beat.address.clone() });
            }
            is_news
        });
    }
    shared.log_reaches(beat.furthest_sequence);
    let is_candidate = beat.role == NodeRole::Candidate;
    let is_new = shared.peers().hear(beat, Instant::now());
    if is_new || is_candidate {
        // It is new here, so this node is new to it; or it needs to know how far others are.
        shared.tell.notify_one();
    }
}

fn skip(shared: &Shared, from: &str, reason: &dyn std::fmt::Display) {
    add(&shared.counters.messages_ignored, 1);
    if let Some(skipped) = shared.counters.skipped_beside.happened(&reason.to_string()) {
        tracing::warn!(from, %reason, skipped, "what was said or asked is not usable and was skipped");
    }
}

/// A question, and who asks it; nothing if it is not for this namespace. An error is the reason for not answering it.
fn understand(shared: &Shared, payload: Bytes) -> Result<Option<(String, NodeQuestion)>, String> {
    match NodeQuestion::decode(payload, &shared.options.limits) {
        Ok((namespace, from, question)) if namespace == shared.namespace => Ok(Some((from, question))),
        Ok(_) => {
            skip(shared, "somebody", &"it is about another namespace");
            Ok(None)
        }
        Err(error) => {
            skip(shared, "somebody", &error);
            Err(format!("this node does not understand the question: {error}"))
        }
    }
}

/// Whether it is to be done rather than told.
fn is_request(question: &NodeQuestion) -> bool {
    matches!(question, NodeQuestion::Write(_) | NodeQuestion::ReadIndex | NodeQuestion::HandOver { .. })
}

/// Nothing was done of it, and whoever asked can try again.
fn too_many(shared: &Shared, question: &NodeQuestion) -> NodeAnswer {
    let reason = format!(
        "{} has requests_max, {}, requests of other nodes under way",
        shared.node, shared.options.requests_max
    );
    tracing::debug!(%reason, "a request was refused");
    match question {
        NodeQuestion::Write(_) => NodeAnswer::Refused(WriteRefusal::NotWritten { reason }),
        _ => NodeAnswer::Unable { reason },
    }
}

async fn answer_one(
    shared: &Arc<Shared>,
    manager: &Weak,
    commands: &mpsc::WeakSender<Command>,
    from: String,
    question: NodeQuestion,
    answer: Answer,
) {
    let said = match question {
        NodeQuestion::Head => match manager.upgrade() {
            Some(manager) if shared.is_leading() && shared.leads_by_now(manager.lease()).await => {
                index(shared)
            }
            _ => not_leader(shared),
        },
        NodeQuestion::ReadIndex => match manager.upgrade() {
            Some(manager) if shared.is_leading() => match manager.confirm_leading().await {
                Some(SessionToken { index, term }) => NodeAnswer::Index { term, index },
                None => not_leader(shared),
            },
            _ => not_leader(shared),
        },
        NodeQuestion::Write(write) => match manager.upgrade() {
            Some(manager) => forwarded(&manager, write).await,
            None => not_leader(shared),
        },
        NodeQuestion::Reach { index: wanted, patience_ms } => {
            let mut applied = shared.applied.subscribe();
            let reached = applied.wait_for(|applied| applied.is_whole && applied.history.index >= wanted);
            let _ = timeout(Duration::from_millis(patience_ms), reached).await;
            // Nor does it count what this node has applied once it is to leave that behind.
            match shared.applied.borrow().is_whole && !shared.standing.borrow().is_desynced {
                true => index(shared),
                false => NodeAnswer::Unable { reason: "it takes the state anew".into() },
            }
        }
        NodeQuestion::Tail { after, bytes_max } => give::tail(shared, after, bytes_max).await,
        NodeQuestion::State { after, bytes_max } => give::state(shared, after, bytes_max).await,
        NodeQuestion::HandOver { to } => {
            tracing::info!(node = %shared.node, from, to, "is asked to hand over");
            let (reply, done) = oneshot::channel();
            match (shared.is_leading(), commands.upgrade()) {
                (true, Some(commands)) => {
                    let sent = commands.send(Command::Demote { reply }).await;
                    match (sent, done.await) {
                        (Ok(()), Ok(Ok(()))) => NodeAnswer::Done,
                        _ => not_leader(shared),
                    }
                }
                _ => not_leader(shared),
            }
        }
        NodeQuestion::Resync => match commands.upgrade() {
            Some(commands) if !shared.is_leading() && commands.send(Command::Resync).await.is_ok() => {
                NodeAnswer::Done
            }
            _ => NodeAnswer::Unable { reason: "a leader takes no state of others".into() },
        },
        _ => NodeAnswer::Unable { reason: "this node is too old to answer that".into() },
    };
    answer.send(said.encode()).await;
}

fn index(shared: &Shared) -> NodeAnswer {
    let history = shared.applied.borrow().history;
    NodeAnswer::Index { term: history.term, index: history.index }
}

fn not_leader(shared: &Shared) -> NodeAnswer {
    let leader = shared.leader();
    NodeAnswer::NotLeader {
        leader: leader.as_ref().map(|leader| leader.id.clone()),
        address: leader.and_then(|leader| leader.address),
    }
}

async fn forwarded(manager: &LeaderFollowerManager, write: archipelago_proto::ForwardedWrite) -> NodeAnswer {
    match manager.write_here(write).await {
        Ok(written) => NodeAnswer::Written { term: written.term, index: written.index },
        Err(error) => match error.refusal() {
            Some(refusal) => NodeAnswer::Refused(refusal),
            None => not_leader(manager.shared()),
        },
    }
}
