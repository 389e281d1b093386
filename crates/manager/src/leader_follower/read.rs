//! Reads, and how they get the consistency that they ask for.

use std::{ops::Bound, sync::atomic::Ordering, time::Duration};

use archipelago_engine::mutated;
use archipelago_proto::{DecodeError, EntityId, Limits, NodeAnswer, NodeQuestion, Operation, decode_value};
use archipelago_store::{Store, StoreError, Table};
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

use super::{LeaderFollowerManager, ReadError, SessionToken, command::Command, state};

/// How new what a read shows must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadConsistency {
    /// Whatever this node has.
    #[default]
    Eventual,
    /// All that had been acknowledged so long before the read began, or longer ago. By the clock of this node alone.
    BoundedStaleness(Duration),
    /// All that the session has written and read.
    Session(SessionToken),
    /// All that had been acknowledged when the read began (Herlihy and Wing, 1990). On the leader it costs a renewal of
    /// the lease, which all reads that wait share; on a follower a question to the leader, and waiting until this node has
    /// what it says.
    Linearizable,
}

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Found<T> {
    /// The value, if the key has one.
    pub value: Option<T>,
    /// Its version, for [`Write::expecting`](super::Write::expecting); 0 if the key has no value.
    pub version: u64,
    /// What this read has seen, for later reads of the same session.
    pub token: SessionToken,
}

impl<T> Found<T> {
    /// What a node found, told by somebody else: for [nodes that are reached some other way](super::RoutedNode).
    pub fn new(value: Option<T>, version: u64, token: SessionToken) -> Self {
        Found { value, version, token }
    }
}

impl Found<Bytes> {
    /// The same, with the value decoded.
    ///
    /// # Errors
    /// If it is not of this type.
    pub fn decode<T: DeserializeOwned>(self) -> Result<Found<T>, DecodeError> {
        let decode = |value: Bytes| decode_value(&value, &Limits::default().for_state());
        Ok(Found { value: self.value.map(decode).transpose()?, version: self.version, token: self.token })
    }
}

impl LeaderFollowerManager {
    /// The value of a key, if it has one, with the consistency that is asked for. It is read from this node, and waits
    /// until that has what it takes, for up to the read timeout.
    ///
    /// # Errors
    /// [`ReadError`]. Nothing is shown that is older than what was asked for.
    pub async fn read<T: DeserializeOwned>(
        &self,
        key: impl Into<EntityId>,
        consistency: ReadConsistency,
    ) -> Result<Found<T>, ReadError> {
        self.read_within(key, consistency, self.shared().options.read_timeout).await
    }

    /// As [`read`](Self::read), waiting for so long at most. With nothing to wait, only what is here already is read: that
    /// of a [linearizable](ReadConsistency::Linearizable) read never is.
    ///
    /// # Errors
    /// [`ReadError`]. Nothing is shown that is older than what was asked for.
    pub async fn read_within<T: DeserializeOwned>(
        &self,
        key: impl Into<EntityId>,
        consistency: ReadConsistency,
        patience: Duration,
    ) -> Result<Found<T>, ReadError> {
        Ok(self.read_encoded(&key.into(), consistency, patience).await?.decode()?)
    }

    /// As [`read_within`](Self::read_within), with the value as it was encoded.
    pub(super) async fn read_encoded(
        &self,
        key: &EntityId,
        consistency: ReadConsistency,
        patience: Duration,
    ) -> Result<Found<Bytes>, ReadError> {
        self.reach(consistency, patience).await?;
        self.read_here(key)
    }

    /// The keys that begin with `prefix`, behind `after`, in order of their bytes, up to `limit`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn keys(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        consistency: ReadConsistency,
    ) -> Result<Vec<EntityId>, ReadError> {
        self.reach(consistency, self.shared().options.read_timeout).await?;
        let (store, prefix) = (self.shared().store.clone(), prefix.to_owned());
        let after = after.map(str::to_owned);
        let scanned =
            state::aside(&*self.shared().store, move || scan(&*store, &prefix, after.as_deref(), limit));
        let scanned = scanned.await.map_err(|error| ReadError::Store { reason: error.to_string() })?;
        // Between the two it may have begun to take the state anew.
        match self.shared().applied.borrow().is_whole {
            true => Ok(scanned?),
            false => Err(ReadError::Desynced),
        }
    }

    /// Waits until this node has what such a read takes, for so long at most: whatever is read
    /// [eventually](ReadConsistency::Eventual) from then on shows at least that. For reads of several keys.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn reach(&self, consistency: ReadConsistency, patience: Duration) -> Result<(), ReadError> {
        let shared = self.shared();
        if self.is_closed() {
            return Err(ReadError::Closed);
        }
        let deadline = Instant::now() + patience;
        match consistency {
            ReadConsistency::Eventual => {}
            ReadConsistency::Session(_) if mutated!(IgnoreSession) => {}
            ReadConsistency::Session(token) => self.reach_token(token, deadline).await?,
            ReadConsistency::BoundedStaleness(bound) => self.reach_freshness(bound, deadline).await?,
            ReadConsistency::Linearizable => self.reach_now(deadline, patience).await?,
        }
        match shared.applied.borrow().is_whole {
            true => Ok(()),
            false => Err(ReadError::Desynced),
        }
    }

    fn read_here(&self, key: &EntityId) -> Result<Found<Bytes>, ReadError> {
        let shared = self.shared();
        // Before the row, which is never older than this.
        let history = shared.applied.borrow().history;
        let row = shared.row(key.as_bytes())?;
        let shown = shared.shown.load(Ordering::SeqCst);
        if shown == u64::MAX || !shared.applied.borrow().is_whole {
            return Err(ReadError::Desynced);
        }
        let version = row.as_ref().map_or(0, |row| row.version);
        // A row may be stored and not be known to be applied yet. Whoever saw that there is none has seen all that the
        // store may show: the removal is in it.
        let seen = if row.is_some() { version } else { shown };
        let token = SessionToken { index: history.index.max(seen), term: history.term };
        Ok(Found { value: row.map(|row| row.value), version, token })
    }

    async fn reach_token(&self, token: SessionToken, deadline: Instant) -> Result<(), ReadError> {
        let SessionToken { index, term } = token;
        let mut applied = self.shared().applied.subscribe();
        let reached = applied.wait_for(|applied| applied.covers(term, index));
        match timeout_at(deadline, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(ReadError::Closed),
            Err(_) if !self.shared().applied.borrow().is_whole => Err(ReadError::Desynced),
            Err(_) => Err(ReadError::Behind { index: self.shared().index(), wanted: index }),
        }
    }

    async fn reach_freshness(&self, bound: Duration, deadline: Instant) -> Result<(), ReadError> {
        let shared = self.shared();
        // What is known to be fresh as of then is fresh enough, however long it takes to find that out.
        let began = Instant::now();
        let enough = |fresh_at: &Option<Instant>| {
            fresh_at.is_some_and(|at| began.saturating_duration_since(at) <= bound)
        };
        let mut fresh_at = shared.fresh_at.subscribe();
        loop {
            if enough(&fresh_at.borrow_and_update()) {
                return Ok(());
            }
            shared.freshen.notify_one();
            match timeout_at(deadline, fresh_at.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(ReadError::Closed),
                Err(_) => {
                    let staleness = fresh_at.borrow().map(|at| at.elapsed());
                    return Err(ReadError::TooStale { staleness, bound });
                }
            }
        }
    }

    async fn reach_now(&self, deadline: Instant, patience: Duration) -> Result<(), ReadError> {
        let shared = self.shared();
        let no_leader = || ReadError::NoLeader { leader: shared.leader(), deadline: patience };
        loop {
            if shared.closing.is_cancelled() {
                return Err(ReadError::Closed);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(no_leader());
            }
            if shared.is_leading() {
                if let Ok(Some(token)) = timeout_at(deadline, self.confirm_leading()).await {
                    return self.reach_token(token, deadline).await;
                }
            } else if let Some(leader) = shared.leader().filter(|leader| *leader.id != *shared.node) {
                let asked = shared.ask(&leader.id, &NodeQuestion::ReadIndex, left).await;
                if let Ok(NodeAnswer::Index { term, index }) = asked {
                    return self.reach_token(SessionToken { index, term }, deadline).await;
                }
            }
            // Until somebody else leads, or this node does for certain.
            let mut standing = shared.standing.subscribe();
            let look_again_at = deadline.min(Instant::now() + Duration::from_millis(20));
            let _ = timeout_at(look_again_at, standing.changed()).await;
        }
    }

    /// Makes sure that this node leads at some moment during this call, and gives what a read has to see that began
    /// before it; nothing if it is not certain.
    pub(super) async fn confirm_leading(&self) -> Option<SessionToken> {
        let shared = self.shared();
        let is_certain = match self.lease() {
            Some(lease) => {
                let token = shared.token.load(Ordering::Acquire);
                shared.is_leading()
                    && (mutated!(ReadUnconfirmed) || lease.confirm(token).await)
                    && shared.is_leading()
            }
            None => {
                // Without an election only the log can say: it takes an entry from whoever knows its end.
                let (reply, written) = oneshot::channel();
                let push = Command::Push { operation: Operation::Nothing, reply };
                self.send(push).await.is_ok() && matches!(written.await, Ok(Ok(_)))
            }
        };
        // Not what this node has applied: a follower may have had from the log, and shown, what the broker has not
        // acknowledged here yet, and no later read may fall behind that.
        let term = shared.standing.borrow().term;
        let applied = || shared.applied.borrow().history.index;
        let index =
            || if mutated!(ReadAppliedOnly) { applied() } else { shared.sent.load(Ordering::Acquire) };
        is_certain.then(|| SessionToken { index: index(), term })
    }
}

/// The keys that begin with `prefix`, behind `after`.
fn scan(
    store: &dyn Store,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<EntityId>, StoreError> {
    let from = match after.filter(|after| *after >= prefix) {
        Some(after) => Bound::Excluded(after.as_bytes()),
        None if prefix.is_empty() => Bound::Unbounded,
        None => Bound::Included(prefix.as_bytes()),
    };
    let rows = store.scan(Table::Entities, from, Bound::Unbounded, limit)?;
    let keys = rows.into_iter().filter_map(|row| EntityId::from_utf8(row.key));
    Ok(keys.take_while(|key| key.starts_with(prefix)).collect())
}
