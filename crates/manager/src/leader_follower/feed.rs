//! What changes on a node, for those who follow it from wherever they were: [`Feed`].

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use archipelago_proto::{EntityId, EntryBatch, Limits, NodeAnswer, Operation};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::{Found, LeaderFollowerManager, ReadConsistency, ReadError, SessionToken, give};

/// How many keys are looked up at a time.
const PAGE_KEYS: usize = 256;
/// About how many bytes of entries are read at a time.
const PAGE_BYTES: u64 = 512 * 1024;
/// How long a feed waits for a node to get what its reader has seen elsewhere, before it begins anew.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a [`Feed`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FeedChange<T> {
    /// The reader has to forget what it has: all that there is follows.
    Reset,
    /// A key changed, and is now so. Of changes that come faster than they are read, only the last is given. A key may come
    /// again unchanged.
    Key {
        /// The key.
        key: EntityId,
        /// What it has; no value if it was removed.
        found: Found<T>,
        /// From where to go on, once this is dealt with.
        token: SessionToken,
    },
}

/// The changes of a node since a token, and then those that come: made by [`LeaderFollowerManager::feed`].
///
/// It goes by the tail of the log, which each node keeps, and keeps no state in the node. Whoever comes back with the token of
/// the last change that it dealt with, to this node or another one, goes on there; if the tail does not go back as far, it
/// begins anew.
#[derive(Debug)]
pub struct Feed {
    node: LeaderFollowerManager,
    /// What the reader has seen.
    seen: SessionToken,
    /// How often this node had begun to take the state of another one when what was seen was known to be a part of its
    /// history; `None` if that is to be found out.
    known_at: Option<u64>,
    pass: Option<Pass>,
    changed: VecDeque<(u64, u64, EntityId)>,
    /// Up to where `changed` goes.
    upper: SessionToken,
}

/// One pass over all keys.
#[derive(Debug)]
struct Pass {
    /// What was applied when it began: from there on it goes by the tail.
    upper: SessionToken,
    after: Option<EntityId>,
    page: VecDeque<EntityId>,
    is_last: bool,
}

impl LeaderFollowerManager {
    /// What is applied here, for a reader to remember.
    pub fn session_token(&self) -> SessionToken {
        let history = self.shared().applied.borrow().history;
        SessionToken { index: history.index, term: history.term }
    }

    /// The changes since `token`, and then those that come. From the [default](SessionToken::default) token on, that is
    /// everything there is, behind a [reset](FeedChange::Reset).
    pub fn feed(&self, token: SessionToken) -> Feed {
        Feed {
            node: self.clone(),
            seen: token,
            known_at: None,
            pass: None,
            changed: VecDeque::new(),
            upper: token,
        }
    }
}

impl Feed {
    /// From where to go on, once all that was given is dealt with.
    pub fn token(&self) -> SessionToken {
        self.seen
    }

    /// The next change, once there is one. Cancel safe.
    ///
    /// # Errors
    /// [`ReadError`] if the store fails, a value is not of this type, or the node is closed.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<FeedChange<T>, ReadError> {
        loop {
            if self.pass.is_some() {
                match self.pass_on().await? {
                    Some(change) => return Ok(change),
                    None => continue,
                }
            }
            if let Some((index, term, key)) = self.changed.front().cloned() {
                let found = self.look(&key).await;
                let Some(found) = self.unless_taken_anew(found).await? else { return Ok(self.reset()) };
                self.changed.pop_front();
                self.seen = SessionToken { index, term };
                return Ok(FeedChange::Key { key, found, token: self.seen });
            }
            self.seen = self.upper;
            let is_new = self.known_at.is_none() && self.seen == SessionToken::default();
            if is_new || !self.fill().await? {
                return Ok(self.reset());
            }
        }
    }

    async fn look<T: DeserializeOwned>(&self, key: &EntityId) -> Result<Found<T>, ReadError> {
        self.node.read(key.clone(), ReadConsistency::Eventual).await
    }

    /// `None` if the node takes the state of another one; given once it has it, as what it had may be nobody's.
    async fn unless_taken_anew<T>(&self, read: Result<T, ReadError>) -> Result<Option<T>, ReadError> {
        match read {
            Ok(found) => Ok(Some(found)),
            Err(ReadError::Desynced) => self.whole().await.map(|()| None),
            Err(error) => Err(error),
        }
    }

    /// Waits until what the node has may be shown.
    async fn whole(&self) -> Result<(), ReadError> {
        let mut applied = self.node.shared().applied.subscribe();
        tokio::select! {
            biased;
            whole = applied.wait_for(|applied| applied.is_whole) => drop(whole.map_err(|_| ReadError::Closed)?),
            () = self.node.shared().closing.cancelled() => return Err(ReadError::Closed),
        }
        Ok(())
    }

    /// The next key of the pass; `None` if there was none, and the next page, or the end, is to be looked at.
    async fn pass_on<T: DeserializeOwned>(&mut self) -> Result<Option<FeedChange<T>>, ReadError> {
        let Some(pass) = &self.pass else { return Ok(None) };
        if let Some(key) = pass.page.front().cloned() {
            let found = self.look(&key).await;
            let Some(found) = self.unless_taken_anew(found).await? else { return Ok(Some(self.reset())) };
            let Some(pass) = &mut self.pass else { return Ok(None) };
            pass.page.pop_front();
            // Whatever was removed meanwhile, the tail tells of.
            let token = SessionToken::default();
            return Ok(found.value.is_some().then_some(FeedChange::Key { key, found, token }));
        }
        if pass.is_last {
            (self.seen, self.upper, self.pass) = (pass.upper, pass.upper, None);
            return Ok(None);
        }
        let (after, consistency) = (pass.after.clone(), ReadConsistency::Eventual);
        let page = self.node.keys("", after.as_deref(), PAGE_KEYS, consistency).await;
        let Some(page) = self.unless_taken_anew(page).await? else { return Ok(Some(self.reset())) };
        if let Some(pass) = &mut self.pass {
            pass.is_last = page.len() < PAGE_KEYS;
            pass.after = page.last().cloned();
            pass.page = page.into();
        }
        Ok(None)
    }

    /// Begins anew, from what is here now.
    fn reset<T>(&mut self) -> FeedChange<T> {
        let upper = self.node.session_token();
        (self.seen, self.upper) = (SessionToken::default(), SessionToken::default());
        self.changed.clear();
        self.known_at = Some(self.resyncs());
        self.pass = Some(Pass { upper, after: None, page: VecDeque::new(), is_last: false });
        FeedChange::Reset
    }

    fn resyncs(&self) -> u64 {
        self.node.metrics().resync_attempts
    }

    /// Waits until there is something to look for, and finds it. False if the reader has to forget what it has.
    async fn fill(&mut self) -> Result<bool, ReadError> {
        let shared = self.node.shared();
        let mut applied = shared.applied.subscribe();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = *applied.borrow_and_update();
            let covers = now.covers(self.seen.term, self.seen.index);
            if covers && now.history.index > self.seen.index {
                break;
            }
            tokio::select! {
                biased;
                changed = applied.changed() => changed.map_err(|_| ReadError::Closed)?,
                () = shared.closing.cancelled() => return Err(ReadError::Closed),
                () = tokio::time::sleep_until(deadline), if !covers => {
                    self.whole().await?;
                    return Ok(false);
                }
            }
        }
        let resyncs = self.resyncs();
        let is_known = self.known_at == Some(resyncs);
        // With the entry that was seen last, which tells whether that was of this history.
        let from = if is_known { self.seen.index } else { self.seen.index.saturating_sub(1) };
        let batches = match give::tail(&self.node.running_shared(), from, PAGE_BYTES).await {
            NodeAnswer::Tail(batches) => batches,
            NodeAnswer::Gone => return Ok(false),
            NodeAnswer::Unable { reason } => return Err(ReadError::Store { reason }),
            _ => Vec::new(),
        };
        let limits = Limits::default().for_state();
        let (mut last, mut changed) = (self.seen, BTreeMap::new());
        for encoded in batches {
            let batch = EntryBatch::decode(encoded, &limits)?;
            for (index, entry, _) in batch.chained() {
                if index < self.seen.index {
                    continue;
                }
                if index == self.seen.index {
                    // The log lost what was seen, and others wrote in its place.
                    if batch.term > self.seen.term {
                        return Ok(false);
                    }
                    continue;
                }
                if let Operation::Put { key, .. } | Operation::Delete { key } = &entry.operation {
                    changed.insert(key.detached(), (index, batch.term));
                }
                last = SessionToken { index, term: batch.term };
            }
        }
        if last == self.seen {
            // The tail went before it was read, or was written anew.
            return Ok(false);
        }
        let mut changed: Vec<_> =
            changed.into_iter().map(|(key, (index, term))| (index, term, key)).collect();
        changed.sort_unstable_by_key(|(index, ..)| *index);
        (self.changed, self.upper, self.known_at) = (changed.into(), last, Some(resyncs));
        Ok(true)
    }
}
