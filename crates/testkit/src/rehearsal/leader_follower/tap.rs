use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use archipelago_pipeline::{
    Appending, ExpectedEnd, Incoming, Lease, LeaseEntry, LeaseWatch, Listener, LogState, Outgoing,
    PendingAck, Pipeline, PipelineError, PipelineStatus, Subscription,
};
use archipelago_proto::{EntryBatch, Limits};
use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use tokio::{sync::watch, time::Instant};

use super::{
    clock::Clock,
    way::{Leg, Way},
};

/// What arrived at the log, from whom and when.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) node: String,
    pub(super) batch: EntryBatch,
    /// When the broker had it.
    pub(super) at_ns: u64,
    /// When it was known to be in the log, if it was.
    pub(super) acknowledged_ns: Option<u64>,
}

/// Everything that arrived.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals(Arc<Mutex<Vec<Arrival>>>);

impl Arrivals {
    pub(super) fn all(&self) -> Vec<Arrival> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, arrival: Arrival) -> usize {
        let mut arrivals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.push(arrival);
        arrivals.len() - 1
    }

    fn acknowledge(&self, place: usize, at_ns: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[place].acknowledged_ns = Some(at_ns);
    }
}

/// The way of one node to the broker: it takes time, and what arrives is noted.
#[derive(Clone, Debug)]
pub(super) struct Tap {
    inner: Arc<dyn Pipeline>,
    node: String,
    arrivals: Arrivals,
    clock: Clock,
    way: Way,
}

impl Tap {
    pub(super) fn new(inner: impl Pipeline, node: &str, arrivals: Arrivals, clock: Clock, way: Way) -> Tap {
        Tap { inner: Arc::new(inner), node: node.to_owned(), arrivals, clock, way }
    }
}

#[async_trait]
impl Pipeline for Tap {
    async fn open_above(&self, sequence: u64) -> Result<LogState, PipelineError> {
        self.way.and_back(self.inner.open_above(sequence)).await
    }

    async fn state(&self) -> Result<LogState, PipelineError> {
        self.way.and_back(self.inner.state()).await
    }

    async fn publish(&self, message: Outgoing) -> Result<PendingAck, PipelineError> {
        self.inner.publish(message).await
    }

    async fn append(
        &self,
        origin: &str,
        payload: Bytes,
        expected: ExpectedEnd,
    ) -> Result<Appending, PipelineError> {
        let batch =
            EntryBatch::decode(payload.clone(), &Limits::default()).expect("a leader appends entries");
        let (at_ns, node) = (self.clock.now_ns(), self.node.clone());
        // At once, so that appends stay in the order in which they were sent.
        let Appending { sequence, ack } = self.inner.append(origin, payload, expected).await?;
        let place = self.arrivals.note(Arrival { node, batch, at_ns, acknowledged_ns: None });
        let tap = self.clone();
        let ack = async move {
            let ack = ack.await?;
            tap.arrivals.acknowledge(place, tap.clock.now_ns());
            tap.way.go(Leg::Answer).await;
            Ok(ack)
        };
        Ok(Appending { sequence, ack: ack.boxed() })
    }

    async fn lease(&self, ttl: Duration) -> Result<Arc<dyn Lease>, PipelineError> {
        let inner = self.way.and_back(self.inner.lease(ttl)).await?;
        Ok(Arc::new(TapLease { inner, way: self.way.clone() }))
    }

    async fn subscribe(&self, after: u64) -> Result<Box<dyn Subscription>, PipelineError> {
        let inner = self.way.and_back(self.inner.subscribe(after)).await?;
        Ok(Box::new(TapSubscription { inner, way: self.way.clone(), coming: None, again: None }))
    }

    async fn trim(&self, up_to: u64) -> Result<(), PipelineError> {
        self.way.and_back(self.inner.trim(up_to)).await
    }

    async fn announce(&self, from: &str, payload: Bytes) -> Result<(), PipelineError> {
        self.way.go(Leg::Question).await;
        if self.way.loses() {
            return Ok(());
        }
        self.inner.announce(from, payload).await
    }

    async fn ask(&self, to: &str, payload: Bytes, deadline: Duration) -> Result<Bytes, PipelineError> {
        self.way.and_back(self.inner.ask(to, payload, deadline)).await
    }

    async fn listen(&self, name: &str) -> Result<Box<dyn Listener>, PipelineError> {
        self.inner.listen(name).await
    }

    fn status(&self) -> watch::Receiver<PipelineStatus> {
        self.inner.status()
    }

    fn payload_bytes_max(&self) -> Option<usize> {
        self.inner.payload_bytes_max()
    }

    fn payload_bytes_good(&self) -> Option<usize> {
        self.inner.payload_bytes_good()
    }
}

struct TapSubscription {
    inner: Box<dyn Subscription>,
    way: Way,
    /// A message that is on its way, and when it arrives.
    coming: Option<(Instant, Incoming)>,
    /// A message that comes a second time.
    again: Option<Incoming>,
}

#[async_trait]
impl Subscription for TapSubscription {
    async fn next(&mut self) -> Result<Incoming, PipelineError> {
        if let Some(message) = self.again.take() {
            return Ok(message);
        }
        if self.coming.is_none() {
            let message = self.inner.next().await?;
            self.coming = Some((Instant::now() + self.way.draw(Leg::Log), message));
        }
        let arrives_at = self.coming.as_ref().map(|(at, _)| *at).expect("it is on its way");
        if arrives_at > Instant::now() {
            tokio::time::sleep_until(arrives_at).await;
        }
        let (_, message) = self.coming.take().expect("it is on its way");
        if self.way.repeats() {
            self.again = Some(message.clone());
        }
        Ok(message)
    }
}

#[derive(Debug)]
struct TapLease {
    inner: Arc<dyn Lease>,
    way: Way,
}

#[async_trait]
impl Lease for TapLease {
    fn ttl(&self) -> Duration {
        self.inner.ttl()
    }

    async fn look(&self) -> Result<Option<LeaseEntry>, PipelineError> {
        self.way.and_back(self.inner.look()).await
    }

    async fn acquire(&self, value: Bytes, over: Option<u64>) -> Result<Option<u64>, PipelineError> {
        self.way.and_back(self.inner.acquire(value, over)).await
    }

    async fn renew(&self, revision: u64, value: Bytes) -> Result<Option<u64>, PipelineError> {
        self.way.and_back(self.inner.renew(revision, value)).await
    }

    async fn release(&self, revision: u64) -> Result<(), PipelineError> {
        self.way.and_back(self.inner.release(revision)).await
    }

    async fn watch(&self) -> Result<Box<dyn LeaseWatch>, PipelineError> {
        self.inner.watch().await
    }
}
