use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use archipelago_proto::{EntryBatch, ForwardedWrite, NodeAnswer, NodeQuestion, Operation};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};

use super::{
    Ack, CloseError, LeaderFollowerBuilder, Notifications, ReadError, RoleError, SessionToken, Write,
    WriteError, WriteReceipt,
    command::{Command, Written},
    lease_keeper::LeaseHandle,
    options::OnFollower,
    reach,
    shared::Shared,
    state,
};
use crate::TrustedKeys;

/// How long a promotion may take.
const PROMOTE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long it is waited until a follower is registered, or is no more.
const REGISTER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a leader may take to hand over when it is closed.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// One node of a leader-follower namespace: one node at a time leads and takes writes, all others follow, and any of them
/// can take over.
///
/// A handle: clones are the same node. The node stops when it is [closed](Self::close) or the last handle is dropped; only
/// a leader that is closed hands over at once.
#[derive(Clone, Debug)]
pub struct LeaderFollowerManager {
    running: Arc<Running>,
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) shared: Arc<Shared>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) keys: Option<TrustedKeys>,
    pub(super) lease: Option<LeaseHandle>,
    pub(super) node: Mutex<Option<JoinHandle<()>>>,
    pub(super) voices: Mutex<Vec<JoinHandle<()>>>,
    pub(super) is_closed: AtomicBool,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.closing.cancel();
        self.shared.end_notifications();
    }
}

/// A handle that does not keep the node running.
#[derive(Clone, Debug)]
pub(super) struct Weak(pub(super) std::sync::Weak<Running>);

impl Weak {
    pub(super) fn upgrade(&self) -> Option<LeaderFollowerManager> {
        self.0.upgrade().map(|running| LeaderFollowerManager { running })
    }
}

impl LeaderFollowerManager {
    /// The options to start a node with.
    pub fn builder() -> LeaderFollowerBuilder {
        LeaderFollowerBuilder::default()
    }

    pub(super) fn new(running: Arc<Running>) -> Self {
        LeaderFollowerManager { running }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.running.shared
    }

    /// For what runs where it keeps no other task waiting.
    pub(super) fn running_shared(&self) -> Arc<Shared> {
        self.running.shared.clone()
    }

    pub(super) fn lease(&self) -> Option<&LeaseHandle> {
        self.running.lease.as_ref()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.running.is_closed.load(Ordering::Acquire)
    }

    /// The name of this node.
    pub fn node_id(&self) -> &str {
        &self.shared().node
    }

    /// Whom this node believes; `None` if it was started without [`signatures`](LeaderFollowerBuilder::signatures).
    pub fn trusted_keys(&self) -> Option<&TrustedKeys> {
        self.running.keys.as_ref()
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.shared().namespace
    }

    pub(super) async fn send(&self, command: Command) -> Result<(), WriteError> {
        self.running.commands.send(command).await.map_err(|_| WriteError::Closed)
    }

    /// Writes one key. Returns once the write is in the log and in the store of the leader, or further if it
    /// [asks](Ack) for more.
    ///
    /// On a follower it is refused, with the name of the leader, or passed on, as [configured](OnFollower).
    ///
    /// # Errors
    /// [`WriteError`]; nothing was written, except after [`WriteError::OutcomeUnknown`] and
    /// [`WriteError::StoreFailed`], where that is unknown.
    pub async fn write(&self, write: Write) -> Result<WriteReceipt, WriteError> {
        let started = Instant::now();
        let deadline = started + write.deadline;
        let content = write.content()?;
        let unknown = || WriteError::OutcomeUnknown { deadline: write.deadline };
        let shared = self.shared();
        let (written, by) = match shared.options.on_follower {
            OnFollower::Forward if !shared.is_leading() => self.pass_on(content, write.deadline).await?,
            _ => match tokio::time::timeout_at(deadline, self.write_here(content)).await {
                Ok(Err(WriteError::OutcomeUnknown { .. })) | Err(_) => return Err(unknown()),
                Ok(written) => (written?, shared.node.to_string()),
            },
        };
        let reached = match write.ack {
            Ack::Log => (0, true),
            ack if *by == *shared.node && shared.is_leading() => {
                shared.reach.wait(written.index, ack, &shared.other_followers(), deadline).await
            }
            ack => reach::ask_followers(shared, &by, written, ack, deadline).await,
        };
        Ok(WriteReceipt {
            sequence: written.index,
            term: written.term,
            version: written.index,
            token: SessionToken { index: written.index, term: written.term },
            followers: reached.0,
            enough: reached.1,
        })
    }

    /// Writes if this node leads.
    pub(super) async fn write_here(&self, write: ForwardedWrite) -> Result<Written, WriteError> {
        self.command(|reply| Command::Write { write, reply }).await
    }

    async fn command(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<Written, WriteError>>) -> Command,
    ) -> Result<Written, WriteError> {
        if self.is_closed() {
            return Err(WriteError::Closed);
        }
        let shared = self.shared();
        let failed = shared.standing.borrow().failed.clone();
        if let Some(reason) = failed {
            return Err(WriteError::StoreFailed { reason });
        }
        if !shared.is_leading() {
            let leader = shared.leader().filter(|leader| *leader.id != *shared.node);
            return Err(WriteError::FollowerReadOnly { leader });
        }
        let (reply, outcome) = oneshot::channel();
        self.send(command(reply)).await?;
        // A leader that stops without an answer may have sent it.
        outcome.await.map_err(|_| WriteError::OutcomeUnknown { deadline: Duration::ZERO })?
    }

    /// Has the leader write, and gives who that is.
    async fn pass_on(
        &self,
        write: ForwardedWrite,
        deadline: Duration,
    ) -> Result<(Written, String), WriteError> {
        if self.is_closed() {
            return Err(WriteError::Closed);
        }
        let shared = self.shared();
        let leader = shared.leader().filter(|leader| *leader.id != *shared.node);
        let Some(leader) = leader else { return Err(WriteError::FollowerReadOnly { leader: None }) };
        let (key, expected) = (write.key.to_string(), write.expected_version);
        match shared.ask(&leader.id, &NodeQuestion::Write(write), deadline).await {
            Ok(NodeAnswer::Written { term, index }) => Ok((Written { term, index }, leader.id)),
            Ok(NodeAnswer::Refused(refusal)) => Err(WriteError::refused(&key, expected, refusal, deadline)),
            Ok(NodeAnswer::NotLeader { leader, address }) => {
                let leader = leader.map(|id| super::LeaderInfo { id, address });
                Err(WriteError::FollowerReadOnly { leader })
            }
            // It may have been asked and done it.
            Ok(_) | Err(_) => Err(WriteError::OutcomeUnknown { deadline }),
        }
    }

    /// Makes this node lead: whoever leads now hands over, or is deposed if it does not answer. Returns once it leads.
    ///
    /// # Errors
    /// [`RoleError`].
    pub async fn promote(&self) -> Result<(), RoleError> {
        self.change_role(|reply| Command::Promote { reply }).await
    }

    /// Makes this node follow: what is on its way is finished, and others are elected. It stands for election again after
    /// a while, or once somebody else has led.
    ///
    /// # Errors
    /// [`RoleError::NotLeader`], and every other [`RoleError`].
    pub async fn demote(&self) -> Result<(), RoleError> {
        self.change_role(|reply| Command::Demote { reply }).await
    }

    async fn change_role(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<(), RoleError>>) -> Command,
    ) -> Result<(), RoleError> {
        if self.is_closed() {
            return Err(RoleError::Closed);
        }
        let (reply, done) = oneshot::channel();
        // A node that is busy takes no commands in, and others may wait before this one.
        let changed = async {
            self.send(command(reply)).await.map_err(|_| RoleError::Closed)?;
            done.await.map_err(|_| RoleError::Closed)?
        };
        match tokio::time::timeout(PROMOTE_TIMEOUT, changed).await {
            Ok(changed) => changed,
            Err(_) => Err(RoleError::Timeout { deadline: PROMOTE_TIMEOUT }),
        }
    }

    /// Counts this node among the followers, for majorities, from now on. Those that are heard are registered by
    /// themselves. It is waited for 5 seconds.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn register_follower(&self, id: &str) -> Result<(), WriteError> {
        self.shared().peers().register(id);
        self.push(Operation::Register { node: id.into() }).await
    }

    /// Counts this node among the followers no more: stop it, or the next leader that hears it registers it again. It is
    /// waited for 5 seconds.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn unregister_follower(&self, id: &str) -> Result<(), WriteError> {
        self.shared().peers().unregister(id);
        self.push(Operation::Unregister { node: id.into() }).await
    }

    /// Writes an entry that is about no key.
    async fn push(&self, operation: Operation) -> Result<(), WriteError> {
        let deadline = REGISTER_TIMEOUT;
        let pushed = self.command(|reply| Command::Push { operation, reply });
        match tokio::time::timeout(deadline, pushed).await {
            Ok(Err(WriteError::OutcomeUnknown { .. })) | Err(_) => {
                Err(WriteError::OutcomeUnknown { deadline })
            }
            Ok(pushed) => pushed.map(drop),
        }
    }

    /// Makes a follower, this node or another one, take the whole state of the leader anew.
    ///
    /// # Errors
    /// [`RoleError::NoAnswer`]: there is no such node, or it leads. Otherwise it has begun, and its notifications tell the
    /// rest.
    pub async fn force_resync(&self, id: &str) -> Result<(), RoleError> {
        let shared = self.shared();
        let no_answer = |reason: String| RoleError::NoAnswer { node: id.to_owned(), reason };
        if *id == *shared.node {
            if shared.is_leading() {
                return Err(no_answer("it leads; demote it first".into()));
            }
            let deadline = shared.options.heartbeat_timeout;
            return match tokio::time::timeout(deadline, self.send(Command::Resync)).await {
                Ok(sent) => sent.map_err(|_| RoleError::Closed),
                Err(_) => Err(RoleError::Timeout { deadline }),
            };
        }
        match shared.ask(id, &NodeQuestion::Resync, shared.options.heartbeat_timeout).await {
            Ok(NodeAnswer::Done) => Ok(()),
            Ok(NodeAnswer::Unable { reason }) => Err(no_answer(reason)),
            Ok(other) => Err(no_answer(format!("it answered {other:?}"))),
            Err(error) => Err(no_answer(error.to_string())),
        }
    }

    /// Entries that were applied here and are in nobody's history: the broker had lost them, and whoever led next did not
    /// know of them. They are kept until the store is removed.
    ///
    /// # Errors
    /// [`ReadError::Store`].
    pub fn orphans(&self) -> Result<Vec<EntryBatch>, ReadError> {
        Ok(state::orphans(&*self.shared().store)?)
    }

    /// What happens to this node from now on.
    pub fn subscribe(&self) -> Notifications {
        Notifications(self.shared().notifications())
    }

    /// Waits until somebody leads, and gives who; `None` if nobody does in time.
    pub async fn wait_for_leader(&self, deadline: Duration) -> Option<super::LeaderInfo> {
        let mut standing = self.shared().standing.subscribe();
        let leads = standing.wait_for(|standing| standing.leader.is_some());
        let found = tokio::time::timeout(deadline, leads).await.ok()?.ok()?;
        found.leader.clone()
    }

    /// Waits until this node has applied so much; false if it does not in time.
    pub async fn wait_for_sequence(&self, sequence: u64, deadline: Duration) -> bool {
        let mut applied = self.shared().applied.subscribe();
        let reached = applied.wait_for(|applied| applied.is_whole && applied.history.index >= sequence);
        matches!(tokio::time::timeout(deadline, reached).await, Ok(Ok(_)))
    }

    /// Stops the node. A leader finishes what is on its way and gives up its lease, so that another node leads at once.
    /// The store is synced and released.
    ///
    /// # Errors
    /// [`CloseError`]; it is closed all the same.
    pub async fn close(&self) -> Result<(), CloseError> {
        if self.running.is_closed.swap(true, Ordering::AcqRel) {
            return Err(CloseError::Closed);
        }
        self.shared().closing.cancel();
        let node = self.running.node.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(node) = node
            && tokio::time::timeout(CLOSE_TIMEOUT, node).await.is_err()
        {
            tracing::warn!(node = %self.shared().node, "did not finish within {CLOSE_TIMEOUT:?}");
        }
        let voices = std::mem::take(&mut *self.running.voices.lock().unwrap_or_else(PoisonError::into_inner));
        for voice in voices {
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, voice).await;
        }
        self.shared().end_notifications();
        Ok(self.shared().store.close()?)
    }
}
