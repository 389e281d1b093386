use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use archipelago_engine::leader_follower::{History, KeyRow};
use archipelago_pipeline::{LogState, Pipeline, PipelineError};
use archipelago_proto::{NodeAnswer, NodeBeat, NodeQuestion, NodeRole};
use archipelago_store::{Store, StoreError, Table};
use tokio::{
    sync::{Notify, broadcast, watch},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    LeaderInfo, Notification,
    lease_keeper::{LeaseHandle, LeaseView},
    metrics::Counters,
    options::Options,
    peers::Peers,
    reach::Reach,
    telemetry::Telemetry,
};
use crate::{recording::Recording, turns::Tasks};

/// How many bytes an answer of another node may have: a page of the state is one row at least, however large.
pub(super) const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How far above the furthest known sequence a log begins that is made again: more messages than a leader appends that nobody
/// has heard of for the while, and few enough for a mirror to pass over.
const SEQUENCES_UNHEARD_MAX: u64 = 1_000_000;
/// No log comes to so many messages; whoever tells of more is not believed.
const FURTHEST_SEQUENCE_MAX: u64 = 1 << 62;

/// What the tasks of one node share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) node: Arc<str>,
    /// Drawn at random at each start.
    pub(super) session: u64,
    pub(super) namespace: String,
    pub(super) options: Options,
    pub(super) store: Arc<dyn Store>,
    pub(super) pipeline: Arc<dyn Pipeline>,
    pub(super) tasks: Tasks,
    pub(super) standing: watch::Sender<Standing>,
    pub(super) applied: watch::Sender<AppliedUpTo>,
    /// The last entry that the store may show, which is set before it does; `u64::MAX` while the state is taken anew.
    pub(super) shown: AtomicU64,
    /// `None` if there is no election.
    pub(super) lease: Option<watch::Receiver<LeaseView>>,
    pub(super) peers: Mutex<Peers>,
    /// When it was known last that all that had been acknowledged by then is applied here.
    pub(super) fresh_at: watch::Sender<Option<Instant>>,
    /// Rung by who needs to know that it is fresh now.
    pub(super) freshen: Notify,
    /// Rung when there is something to tell at once.
    pub(super) tell: Notify,
    pub(super) reach: Reach,
    pub(super) tail: Mutex<VecDeque<TailSpan>>,
    /// The fencing token of the lease with which this node leads, or is to.
    pub(super) token: AtomicU64,
    pub(super) started: Instant,
    /// The last entry that this node has sent to the log while it leads. Others may show it before this node does.
    pub(super) sent: AtomicU64,
    /// The last message of the log, as far as this node knows while it leads.
    pub(super) log_end: AtomicU64,
    /// The furthest sequence that this node knows of in any log of the namespace.
    furthest_sequence: AtomicU64,
    pub(super) counters: Counters,
    pub(super) telemetry: Telemetry,
    /// `None` once the node is closed, so that listeners learn of it.
    notifications: RwLock<Option<broadcast::Sender<Notification>>>,
    /// The node is to stop.
    pub(super) closing: CancellationToken,
}

/// What a node is, for all who ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) role: NodeRole,
    /// The newest term that it knows of.
    pub(super) term: u64,
    pub(super) leader: Option<LeaderInfo>,
    pub(super) followers: Vec<String>,
    /// It lacks entries that the log no longer holds.
    pub(super) is_desynced: bool,
    /// What keeps it from following or leading, for a person to read.
    pub(super) trouble: Option<String>,
    pub(super) failed: Option<String>,
}

/// What is applied and stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AppliedUpTo {
    pub(super) history: History,
    /// The digest of the state.
    pub(super) digest: u128,
    /// How many keys have a value.
    pub(super) rows: u64,
    /// The state is that of one moment, and may be shown.
    pub(super) is_whole: bool,
}

impl AppliedUpTo {
    /// Whether all that stands before and at this entry, which is of a history in which this term had begun, is applied.
    /// The index alone does not say so: entries that the log lost have the indexes of others.
    pub(super) fn covers(&self, term: u64, index: u64) -> bool {
        self.is_whole && self.history.term >= term && self.history.index >= index
    }
}

/// The entries of one row of the tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TailSpan {
    pub(super) first_index: u64,
    pub(super) last_index: u64,
}

impl Shared {
    #[allow(clippy::too_many_arguments, reason = "the parts of a node, brought together in one place")]
    pub(super) fn new(
        node: &str,
        session: u64,
        namespace: String,
        options: Options,
        store: Arc<dyn Store>,
        pipeline: Arc<dyn Pipeline>,
        tasks: Tasks,
        applied: AppliedUpTo,
        tail: VecDeque<TailSpan>,
        lease: Option<watch::Receiver<LeaseView>>,
        recording: Recording,
    ) -> Self {
        let leader = options.leader_id.clone().map(|id| LeaderInfo { id, address: None });
        let standing = Standing {
            role: NodeRole::Follower,
            term: applied.history.term,
            leader,
            followers: Vec::new(),
            is_desynced: !applied.is_whole,
            trouble: None,
            failed: None,
        };
        let peers = Peers::new(node, options.last_applied_sequence);
        let telemetry = Telemetry::new(&namespace, recording);
        Shared {
            node: node.into(),
            session,
            namespace,
            options,
            store,
            pipeline,
            tasks,
            standing: watch::Sender::new(standing),
            applied: watch::Sender::new(applied),
            shown: AtomicU64::new(if applied.is_whole { applied.history.index } else { u64::MAX }),
            lease,
            peers: Mutex::new(peers),
            fresh_at: watch::Sender::new(None),
            freshen: Notify::new(),
            tell: Notify::new(),
            reach: Reach::default(),
            tail: Mutex::new(tail),
            token: AtomicU64::new(0),
            started: Instant::now(),
            sent: AtomicU64::new(0),
            log_end: AtomicU64::new(0),
            furthest_sequence: AtomicU64::new(0),
            counters: Counters::default(),
            telemetry,
            notifications: RwLock::new(Some(broadcast::Sender::new(crate::NOTIFICATIONS_MAX))),
            closing: CancellationToken::new(),
        }
    }

    /// A log of the namespace reaches to this sequence, or did before it was deleted.
    pub(super) fn log_reaches(&self, sequence: u64) {
        if sequence <= FURTHEST_SEQUENCE_MAX {
            self.furthest_sequence.fetch_max(sequence, Ordering::AcqRel);
        }
    }

    /// Makes the log exist. One in the place of another begins where no leader before expects it to end: or what that one
    /// appends would be taken, and acknowledged, although it counts for nobody.
    pub(super) async fn open_log(&self) -> Result<LogState, PipelineError> {
        match self.furthest_sequence.load(Ordering::Acquire) {
            0 => self.pipeline.open().await,
            furthest => self.pipeline.open_above(furthest + SEQUENCES_UNHEARD_MAX).await,
        }
    }

    /// Tells whoever listens; nobody need to.
    pub(super) fn notify(&self, notification: Notification) {
        if let Some(notifications) = &*self.notifications.read().unwrap_or_else(PoisonError::into_inner) {
            let _ = notifications.send(notification);
        }
    }

    /// True if somebody wants to know of each entry.
    pub(super) fn has_listeners(&self) -> bool {
        let notifications = self.notifications.read().unwrap_or_else(PoisonError::into_inner);
        notifications.as_ref().is_some_and(|sender| sender.receiver_count() > 0)
    }

    pub(super) fn notifications(&self) -> broadcast::Receiver<Notification> {
        let notifications = self.notifications.read().unwrap_or_else(PoisonError::into_inner);
        match &*notifications {
            Some(sender) => sender.subscribe(),
            // The other end is gone at once.
            None => broadcast::Sender::new(1).subscribe(),
        }
    }

    /// Nothing more is told.
    pub(super) fn end_notifications(&self) {
        *self.notifications.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn peers(&self) -> MutexGuard<'_, Peers> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tail(&self) -> MutexGuard<'_, VecDeque<TailSpan>> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn index(&self) -> u64 {
        self.applied.borrow().history.index
    }

    pub(super) fn leader(&self) -> Option<LeaderInfo> {
        self.standing.borrow().leader.clone()
    }

    pub(super) fn is_leading(&self) -> bool {
        self.standing.borrow().role == NodeRole::Leader
    }

    /// It leads, and by its own clock nobody else can yet. Without an election nobody knows but the log.
    pub(super) fn leads_for_sure(&self) -> bool {
        let token = self.token.load(Ordering::Acquire);
        self.is_leading()
            && self.lease.as_ref().is_some_and(|lease| lease.borrow().is_held(token, Instant::now()))
    }

    /// Whether nobody else can have led up to some moment of this call: what this node has applied is all that anyone was
    /// told of until then.
    pub(super) async fn leads_by_now(&self, lease: Option<&LeaseHandle>) -> bool {
        if let Some(lease) = lease {
            // Not by a clock: what the broker lost of the lease is another's by now.
            let token = self.token.load(Ordering::Acquire);
            return self.is_leading() && lease.confirm(token).await && self.is_leading();
        }
        // Without an election only the log knows, which then ends where this node thinks.
        let before = self.applied.borrow().history;
        let known = self.log_end.load(Ordering::Acquire);
        let state = self.pipeline.state().await;
        let is_at_end = state.is_ok_and(|state| state.last_sequence == known);
        // An append that succeeded meanwhile says the same, in the same term.
        let after = self.applied.borrow().history;
        let has_written = after.index > before.index && after.term == before.term;
        self.is_leading() && (is_at_end || has_written)
    }

    /// True if the node would lead.
    pub(super) fn is_eligible(&self) -> bool {
        self.options.promotion_eligible && !self.standing.borrow().is_desynced
    }

    /// The registered followers but this node, which may have been one.
    pub(super) fn other_followers(&self) -> Vec<String> {
        let standing = self.standing.borrow();
        standing.followers.iter().filter(|node| ***node != *self.node).cloned().collect()
    }

    /// What is stored of a key.
    pub(super) fn row(&self, key: &[u8]) -> Result<Option<KeyRow>, StoreError> {
        let Some(bytes) = self.store.get(Table::Entities, key)? else { return Ok(None) };
        let damaged = || StoreError::Io {
            action: "understand a row",
            source: format!("the row of {:?} has {} bytes", key.escape_ascii().to_string(), bytes.len())
                .into(),
        };
        KeyRow::decode(&bytes).map(Some).ok_or_else(damaged)
    }

    /// What the node says of itself now.
    pub(super) fn beat(&self) -> NodeBeat {
        let standing = self.standing.borrow().clone();
        let history = self.applied.borrow().history;
        NodeBeat {
            namespace: self.namespace.clone(),
            node: self.node.to_string(),
            session: self.session,
            role: standing.role,
            term: standing.term,
            index: history.index,
            chain: history.chain,
            address: self.options.address.clone(),
            leader: standing.leader.map(|leader| leader.id),
            is_eligible: self.options.promotion_eligible && !standing.is_desynced,
            is_desynced: standing.is_desynced,
            furthest_sequence: self.furthest_sequence.load(Ordering::Acquire),
        }
    }

    /// Asks another node.
    pub(super) async fn ask(
        &self,
        to: &str,
        question: &NodeQuestion,
        deadline: Duration,
    ) -> Result<NodeAnswer, PipelineError> {
        let payload = question.encode(&self.namespace, &self.node);
        // It keeps the deadline by itself, but for what a link that is mute does before and after.
        let asked = timeout(deadline, self.pipeline.ask(to, payload, deadline));
        let answer = tokio::select! {
            biased;
            answer = asked => {
                answer.map_err(|_| PipelineError::NoAnswer { name: to.to_owned(), deadline })??
            }
            () = self.closing.cancelled() => return Err(PipelineError::Closed),
        };
        NodeAnswer::decode(answer, &self.options.limits, ANSWER_BYTES_MAX)
            .map_err(|error| PipelineError::Refused { reason: format!("the answer of {to:?}: {error}") })
    }
}
