//! How far the followers have come, for those who wait for it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use archipelago_proto::{NodeAnswer, NodeQuestion};
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{command::Written, shared::Shared, write::Ack};

/// How long a follower may wait until it has something new to tell.
const PATIENCE: Duration = Duration::from_secs(2);
/// After a follower did not answer.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// How far each follower is known to have come, and how far somebody wants them to have come.
#[derive(Debug, Default)]
pub(super) struct Reach {
    wanted: watch::Sender<u64>,
    reached: watch::Sender<BTreeMap<String, u64>>,
}

impl Reach {
    /// A follower has applied and stored so much.
    pub(super) fn reached(&self, node: &str, index: u64) {
        self.reached.send_if_modified(|reached| match reached.get_mut(node) {
            Some(known) if *known >= index => false,
            Some(known) => {
                *known = index;
                true
            }
            None => {
                reached.insert(node.to_owned(), index);
                true
            }
        });
    }

    /// In a new term each follower tells anew: what it had applied before may be in nobody's history by now.
    pub(super) fn reset(&self) {
        self.reached.send_modify(BTreeMap::clear);
    }

    /// What was known counts no more: a follower may have begun anew.
    pub(super) fn forget(&self, node: &str) {
        self.reached.send_if_modified(|reached| reached.remove(node).is_some());
    }

    /// What a follower is known to have applied.
    pub(super) fn known(&self, node: &str) -> Option<u64> {
        self.reached.borrow().get(node).copied()
    }

    /// Waits until enough of these followers have applied `index`, and gives how many have, and whether that is enough.
    pub(super) async fn wait(
        &self,
        index: u64,
        ack: Ack,
        followers: &[String],
        deadline: Instant,
    ) -> (usize, bool) {
        let needed = needed(ack, followers.len());
        let count = |reached: &BTreeMap<String, u64>| {
            followers.iter().filter(|node| reached.get(*node).is_some_and(|has| *has >= index)).count()
        };
        if needed == 0 {
            return (count(&self.reached.borrow()), true);
        }
        self.wanted.send_if_modified(|wanted| {
            let further = index > *wanted;
            *wanted = index.max(*wanted);
            further
        });
        let mut reached = self.reached.subscribe();
        let enough = timeout_at(deadline, reached.wait_for(|reached| count(reached) >= needed)).await;
        let enough = matches!(enough, Ok(Ok(_)));
        (count(&self.reached.borrow()), enough)
    }
}

/// How many followers must have an entry.
fn needed(ack: Ack, followers: usize) -> usize {
    match ack {
        Ack::Log => 0,
        Ack::Followers(followers) => followers,
        // With the leader more than half of all.
        Ack::Majority => followers.div_ceil(2),
    }
}

/// The same for a node that had its leader write: it asks the followers itself, once each.
pub(super) async fn ask_followers(
    shared: &Shared,
    leader: &str,
    written: Written,
    ack: Ack,
    deadline: Instant,
) -> (usize, bool) {
    let Written { term, index } = written;
    let mut followers = shared.standing.borrow().followers.clone();
    followers.retain(|node| node != leader);
    let needed = needed(ack, followers.len());
    let mut asked: FuturesUnordered<_> = followers
        .iter()
        .map(|node| async move {
            if **node == *shared.node {
                let mut applied = shared.applied.subscribe();
                return applied.wait_for(|applied| applied.covers(term, index)).await.is_ok();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let patience_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            let question = NodeQuestion::Reach { index, patience_ms };
            let told = shared.ask(node, &question, left).await;
            matches!(told, Ok(NodeAnswer::Index { term: of, index: has }) if of >= term && has >= index)
        })
        .collect();
    let mut count = 0;
    while count < needed {
        match timeout_at(deadline, asked.next()).await {
            Ok(Some(has)) => count += usize::from(has),
            Ok(None) | Err(_) => break,
        }
    }
    (count, count >= needed)
}

/// While somebody waits for it, asks each follower how far it is; runs until the node is closed.
pub(super) async fn watch_followers(shared: Arc<Shared>) {
    let mut asking: BTreeMap<String, tokio::task::AbortHandle> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    let mut standing = shared.standing.subscribe();
    loop {
        let (is_leading, followers) = {
            let standing = standing.borrow_and_update();
            (standing.role == archipelago_proto::NodeRole::Leader, standing.followers.clone())
        };
        asking.retain(|node, task| {
            let stays = is_leading && followers.contains(node);
            if !stays {
                task.abort();
            }
            stays
        });
        for node in followers.into_iter().filter(|node| is_leading && **node != *shared.node) {
            if !asking.contains_key(&node) {
                asking.insert(
                    node.clone(),
                    shared.tasks.spawn_on(&mut tasks, ask_follower(shared.clone(), node)),
                );
            }
        }
        tokio::select! {
            biased;
            () = shared.closing.cancelled() => return,
            changed = standing.changed() => if changed.is_err() {
                return;
            },
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
        }
    }
}

/// One question at a time: its answer tells of everything that was applied by then.
async fn ask_follower(shared: Arc<Shared>, node: String) {
    let mut wanted = shared.reach.wanted.subscribe();
    loop {
        let known = || shared.reach.reached.borrow().get(&node).copied().unwrap_or_default();
        if wanted.wait_for(|wanted| *wanted > known()).await.is_err() {
            return;
        }
        let patience_ms = u64::try_from(PATIENCE.as_millis()).expect("it is short");
        let question = NodeQuestion::Reach { index: known() + 1, patience_ms };
        match shared.ask(&node, &question, PATIENCE * 2).await {
            Ok(NodeAnswer::Index { term, index }) if term == shared.standing.borrow().term => {
                shared.reach.reached(&node, index);
            }
            Ok(_) => tokio::time::sleep(RETRY_PAUSE).await,
            Err(error) => {
                tracing::debug!(node, %error, "a follower does not tell how far it is");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}
