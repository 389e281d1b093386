//! Holds the lease of the namespace, or waits for it.

use std::{sync::Arc, time::Duration};

use archipelago_engine::leader_follower::{Attempt, Election};
use archipelago_pipeline::{Lease, LeaseEntry, LeaseWatch, PipelineError};
use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::Instant,
};

use super::LeaderInfo;

/// How long a node lets others go first, at least.
const DELAY_MIN: Duration = Duration::from_millis(10);
/// By how much that differs by chance.
const DELAY_JITTER: Duration = Duration::from_millis(30);
/// How much longer a node lets others go first, for each point that its priority lacks.
const DELAY_PER_POINT: Duration = Duration::from_millis(10);
/// Between two attempts.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// What a node knows of the lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeaseView {
    /// Who holds it, this node or another.
    pub(super) holder: Option<LeaderInfo>,
    /// This node holds it.
    pub(super) held: Option<Held>,
}

/// A lease that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// The revision with which it was acquired.
    pub(super) token: u64,
    /// Until when nobody else can hold it, by the clock here.
    pub(super) until: Instant,
}

impl LeaseView {
    pub(super) fn is_held(&self, token: u64, now: Instant) -> bool {
        self.held.is_some_and(|held| held.token == token && now < held.until)
    }
}

pub(super) enum LeaseRequest {
    /// Whether to try for it.
    Compete(bool),
    /// Try for it now, even over one who holds it.
    Seize { reply: oneshot::Sender<bool> },
    /// Give it up.
    Release { reply: oneshot::Sender<()> },
    /// Make sure that it is held with this token: by a renewal that begins after this request.
    Confirm { token: u64, reply: oneshot::Sender<bool> },
}

/// What the holder writes into the lease, for people to read as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct LeaseValue {
    node: String,
    session: u64,
    address: Option<String>,
}

pub(super) struct LeaseKeeper {
    lease: Arc<dyn Lease>,
    me: LeaseValue,
    value: Bytes,
    priority: u8,
    random: StdRng,
    started: Instant,
    election: Election,
    competes: bool,
    view: watch::Sender<LeaseView>,
    requests: mpsc::Receiver<LeaseRequest>,
    /// The revision at which this node holds it.
    revision: u64,
    /// When it is renewed or looked at next.
    act_at: Instant,
}

impl LeaseKeeper {
    #[allow(clippy::too_many_arguments, reason = "what it is made of, in one place")]
    pub(super) fn new(
        lease: Arc<dyn Lease>,
        node: &str,
        session: u64,
        address: Option<String>,
        priority: u8,
        random: StdRng,
        view: watch::Sender<LeaseView>,
        requests: mpsc::Receiver<LeaseRequest>,
    ) -> Self {
        let me = LeaseValue { node: node.to_owned(), session, address };
        let value = serde_json::to_vec(&me).expect("plain data is written to memory").into();
        let started = Instant::now();
        let election = Election::new(lease.ttl(), Duration::ZERO);
        LeaseKeeper {
            lease,
            me,
            value,
            priority,
            random,
            started,
            election,
            competes: false,
            view,
            requests,
            revision: 0,
            act_at: started,
        }
    }

    /// Runs until nobody can ask any more; then the lease is given up.
    pub(super) async fn run(mut self) {
        let mut watch: Option<Box<dyn LeaseWatch>> = None;
        let mut watch_again_at = Instant::now();
        loop {
            if watch.is_none() && Instant::now() >= watch_again_at {
                watch_again_at = Instant::now() + self.lease.ttl() / 4;
                watch = self.lease.watch().await.ok();
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(self.due_at()) => {
                    self.act().await;
                    // With a broker so far away that by now something is due again, nobody could ask for anything.
                    match self.requests.try_recv() {
                        Ok(request) => self.handle(request).await,
                        Err(mpsc::error::TryRecvError::Empty) => {}
                        Err(mpsc::error::TryRecvError::Disconnected) => break,
                    }
                }
                request = self.requests.recv() => match request {
                    Some(request) => self.handle(request).await,
                    None => break,
                },
                seen = next_of(&mut watch) => match seen {
                    Ok(entry) => self.handle_seen(entry.as_ref()),
                    Err(_) => watch = None,
                },
            }
        }
        self.release().await;
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn held(&self) -> Option<Held> {
        self.view.borrow().held
    }

    fn due_at(&self) -> Instant {
        match self.held() {
            None if self.competes => self.act_at.min(self.started + self.election.due_at()),
            _ => self.act_at,
        }
    }

    /// Whatever is due.
    async fn act(&mut self) {
        if self.held().is_some() {
            self.renew().await;
        } else if self.competes
            && let Some(attempt) = self.election.due(self.now())
        {
            self.attempt(attempt).await;
        } else {
            // A watch may be mute.
            self.act_at = Instant::now() + self.lease.ttl() / 2;
            self.look().await;
        }
    }

    async fn handle(&mut self, request: LeaseRequest) {
        match request {
            LeaseRequest::Compete(competes) => {
                if competes && !self.competes {
                    self.act_at = Instant::now();
                }
                self.competes = competes;
            }
            LeaseRequest::Seize { reply } => {
                let seized = self.held().is_some() || self.seize().await;
                let _ = reply.send(seized);
            }
            LeaseRequest::Release { reply } => {
                self.release().await;
                let _ = reply.send(());
            }
            LeaseRequest::Confirm { token, reply } => self.confirm(token, reply).await,
        }
    }

    /// All who asked by now are answered by one renewal.
    async fn confirm(&mut self, token: u64, reply: oneshot::Sender<bool>) {
        let mut replies = vec![(token, reply)];
        let mut other = None;
        while let Ok(request) = self.requests.try_recv() {
            match request {
                LeaseRequest::Confirm { token, reply } => replies.push((token, reply)),
                request => {
                    other = Some(request);
                    break;
                }
            }
        }
        let confirmed = self.held().is_some() && self.renew().await;
        let held = self.held().filter(|_| confirmed).map(|held| held.token);
        for (token, reply) in replies {
            let _ = reply.send(held == Some(token));
        }
        if let Some(other) = other {
            Box::pin(self.handle(other)).await;
        }
    }

    /// True if the lease was still held at some moment during this call.
    async fn renew(&mut self) -> bool {
        let Some(held) = self.held() else { return false };
        let ttl = self.lease.ttl();
        for _ in 0..2 {
            let started = Instant::now();
            match self.lease.renew(self.revision, self.value.clone()).await {
                Ok(Some(revision)) => {
                    self.revision = revision;
                    self.act_at = started + ttl / 3;
                    self.hold(Held { token: held.token, until: started + ttl * 4 / 5 });
                    return true;
                }
                Ok(None) => match self.lease.look().await {
                    // An earlier renewal of one's own, of which the answer was lost.
                    Ok(Some(entry)) if self.is_mine(&entry) => self.revision = entry.revision,
                    Ok(entry) => {
                        self.lose();
                        self.handle_seen(entry.as_ref());
                        return false;
                    }
                    Err(error) => {
                        tracing::debug!(%error, "the lease cannot be looked at");
                        break;
                    }
                },
                Err(error) => {
                    tracing::debug!(%error, "the lease was not renewed");
                    break;
                }
            }
        }
        if Instant::now() >= held.until {
            self.lose();
        } else {
            self.act_at = (Instant::now() + ttl / 20).min(held.until);
        }
        false
    }

    async fn attempt(&mut self, attempt: Attempt) {
        let pause = RETRY_PAUSE + self.jitter(RETRY_PAUSE);
        self.election.handle_failed(self.now(), pause);
        let started = Instant::now();
        match self.lease.acquire(self.value.clone(), attempt.over).await {
            Ok(Some(revision)) => self.take(revision, started),
            Ok(None) => self.look().await,
            // It may have been acquired all the same: the next look tells.
            Err(error) => {
                tracing::debug!(%error, "the lease was not acquired");
                self.look().await;
            }
        }
    }

    async fn seize(&mut self) -> bool {
        for _ in 0..3 {
            let started = Instant::now();
            let Ok(seen) = self.lease.look().await else { continue };
            let over = seen.map(|entry| entry.revision);
            if let Ok(Some(revision)) = self.lease.acquire(self.value.clone(), over).await {
                self.take(revision, started);
                return true;
            }
        }
        false
    }

    fn take(&mut self, revision: u64, started: Instant) {
        self.revision = revision;
        self.act_at = started + self.lease.ttl() / 3;
        self.hold(Held { token: revision, until: started + self.lease.ttl() * 4 / 5 });
    }

    async fn release(&mut self) {
        if self.held().is_none() {
            return;
        }
        let revision = self.revision;
        self.lose();
        if let Err(error) = self.lease.release(revision).await {
            tracing::debug!(%error, "the lease was not given up; it runs out by itself");
        }
        // Whoever gives it up lets others go first.
        let pause = self.lease.ttl() / 2;
        self.election.handle_failed(self.now(), pause);
    }

    async fn look(&mut self) {
        let started = Instant::now();
        match self.lease.look().await {
            Ok(Some(entry)) if self.is_mine(&entry) && self.held().is_none() && self.competes => {
                // Acquired by an attempt whose answer was lost; held for sure once it is renewed.
                if let Ok(Some(revision)) = self.lease.renew(entry.revision, self.value.clone()).await {
                    self.take(revision, started);
                }
            }
            Ok(entry) => self.handle_seen(entry.as_ref()),
            Err(error) => tracing::debug!(%error, "the lease cannot be looked at"),
        }
    }

    fn handle_seen(&mut self, entry: Option<&LeaseEntry>) {
        let (now, delay) = (self.now(), self.delay());
        self.election.handle_seen(entry.map(|entry| entry.revision), now, delay);
        if self.held().is_some() {
            return;
        }
        let holder = entry.and_then(|entry| serde_json::from_slice::<LeaseValue>(&entry.value).ok());
        let holder = holder.map(|value| LeaderInfo { id: value.node, address: value.address });
        self.view.send_if_modified(|view| {
            let is_other = view.holder != holder;
            view.holder = holder;
            is_other
        });
    }

    fn is_mine(&self, entry: &LeaseEntry) -> bool {
        serde_json::from_slice::<LeaseValue>(&entry.value).is_ok_and(|value| value == self.me)
    }

    fn hold(&self, held: Held) {
        let holder = LeaderInfo { id: self.me.node.clone(), address: self.me.address.clone() };
        self.view.send_replace(LeaseView { holder: Some(holder), held: Some(held) });
    }

    fn lose(&mut self) {
        self.act_at = Instant::now();
        self.view.send_modify(|view| *view = LeaseView::default());
    }

    fn delay(&mut self) -> Duration {
        let lacks = super::PRIORITY_MAX.saturating_sub(self.priority);
        DELAY_MIN + self.jitter(DELAY_JITTER) + DELAY_PER_POINT * u32::from(lacks)
    }

    fn jitter(&mut self, max: Duration) -> Duration {
        max.mul_f64(self.random.random_range(0.0..1.0))
    }
}

async fn next_of(watch: &mut Option<Box<dyn LeaseWatch>>) -> Result<Option<LeaseEntry>, PipelineError> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

/// The way to ask the keeper of the lease.
#[derive(Clone, Debug)]
pub(super) struct LeaseHandle {
    pub(super) view: watch::Receiver<LeaseView>,
    pub(super) requests: mpsc::Sender<LeaseRequest>,
}

impl LeaseHandle {
    /// Whether this node holds the lease now, and has held it since it acquired it with this token, which is no opinion of
    /// its own.
    pub(super) async fn confirm(&self, token: u64) -> bool {
        let (reply, confirmed) = oneshot::channel();
        self.requests.send(LeaseRequest::Confirm { token, reply }).await.is_ok()
            && confirmed.await.unwrap_or(false)
    }

    pub(super) async fn compete(&self, competes: bool) {
        let _ = self.requests.send(LeaseRequest::Compete(competes)).await;
    }

    pub(super) async fn seize(&self) -> bool {
        let (reply, seized) = oneshot::channel();
        self.requests.send(LeaseRequest::Seize { reply }).await.is_ok() && seized.await.unwrap_or(false)
    }

    pub(super) async fn release(&self) {
        let (reply, released) = oneshot::channel();
        if self.requests.send(LeaseRequest::Release { reply }).await.is_ok() {
            let _ = released.await;
        }
    }

    pub(super) fn held(&self) -> Option<Held> {
        self.view.borrow().held.filter(|held| Instant::now() < held.until)
    }
}

pub(super) fn random(seed: Option<u64>) -> StdRng {
    StdRng::seed_from_u64(seed.unwrap_or_else(rand::random))
}

/// Waits until what is known of the lease changes; for ever if there is none.
pub(super) async fn changed(lease: &mut Option<watch::Receiver<LeaseView>>) {
    if let Some(view) = lease {
        match view.changed().await {
            Ok(()) => return,
            Err(_) => *lease = None,
        }
    }
    std::future::pending().await
}
