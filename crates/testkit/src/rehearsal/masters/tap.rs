use std::{
    fmt,
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use archipelago_pipeline::{
    Appending, ExpectedEnd, Heard, Incoming, Lease, Listener, LogState, Outgoing, PendingAck, Pipeline,
    PipelineError, PipelineStatus, Subscription,
};
use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{sync::watch, time::Instant};

/// How long a call waits for an answer that does not come.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);

/// Who notes what arrives at the log.
pub(super) trait Witness: fmt::Debug + Send + Sync + 'static {
    /// This was published, and is known to be in the log.
    fn published(&self, payload: &Bytes);
}

/// The way of one master to the broker: it takes time, one direction of it may be cut, and what arrives is noted.
#[derive(Clone, Debug)]
pub(super) struct Tap {
    inner: Arc<dyn Pipeline>,
    witness: Arc<dyn Witness>,
    way: Way,
}

/// Which direction is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Silence {
    /// None.
    #[default]
    None,
    /// What is sent does not arrive.
    Mute,
    /// What is sent arrives, and nothing comes back.
    Deaf,
}

/// How long things take.
#[derive(Clone, Debug)]
struct Way {
    random: Arc<Mutex<StdRng>>,
    latency: RangeInclusive<Duration>,
    silence: Arc<watch::Sender<Silence>>,
}

impl Way {
    fn draw(&self) -> Duration {
        let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
        let (least, most) = (*self.latency.start(), *self.latency.end());
        least + (most - least).mul_f64(random.random_range(0.0..=1.0))
    }

    async fn go(&self) {
        let latency = self.draw();
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
    }

    fn silence(&self) -> Silence {
        *self.silence.borrow()
    }

    async fn and_back<T>(
        &self,
        call: impl Future<Output = Result<T, PipelineError>>,
    ) -> Result<T, PipelineError> {
        self.go().await;
        if self.silence() == Silence::Mute {
            return Err(self.no_answer().await);
        }
        let answer = call.await;
        self.go().await;
        match self.silence() {
            Silence::Deaf => Err(self.no_answer().await),
            _ => answer,
        }
    }

    async fn no_answer(&self) -> PipelineError {
        tokio::time::sleep(CALL_TIMEOUT).await;
        PipelineError::Unavailable { reason: "no answer came".to_owned() }
    }

    async fn no_ack(&self) -> PipelineError {
        tokio::time::sleep(CALL_TIMEOUT).await;
        PipelineError::AckTimeout { deadline: CALL_TIMEOUT }
    }
}

impl Tap {
    pub(super) fn new(
        inner: impl Pipeline,
        witness: impl Witness,
        latency: RangeInclusive<Duration>,
        seed: u64,
    ) -> Tap {
        let random = Arc::new(Mutex::new(StdRng::seed_from_u64(seed)));
        let way = Way { random, latency, silence: Arc::default() };
        Tap { inner: Arc::new(inner), witness: Arc::new(witness), way }
    }

    /// From now on this direction is cut.
    pub(super) fn falls_silent(&self, silence: Silence) {
        self.way.silence.send_replace(silence);
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
        let payload = message.payload.clone();
        // Before it is sent, so that messages stay in the order in which they were.
        self.way.go().await;
        let (way, witness) = (self.way.clone(), self.witness.clone());
        if way.silence() == Silence::Mute {
            return Ok(async move { Err(way.no_ack().await) }.boxed());
        }
        let ack = self.inner.publish(message).await?;
        let ack = async move {
            let ack = ack.await?;
            witness.published(&payload);
            way.go().await;
            match way.silence() {
                Silence::Deaf => Err(way.no_ack().await),
                _ => Ok(ack),
            }
        };
        Ok(ack.boxed())
    }

    async fn append(
        &self,
        origin: &str,
        payload: Bytes,
        expected: ExpectedEnd,
    ) -> Result<Appending, PipelineError> {
        self.way.and_back(self.inner.append(origin, payload, expected)).await
    }

    async fn lease(&self, ttl: Duration) -> Result<Arc<dyn Lease>, PipelineError> {
        self.way.and_back(self.inner.lease(ttl)).await
    }

    async fn subscribe(&self, after: u64) -> Result<Box<dyn Subscription>, PipelineError> {
        let inner = self.way.and_back(self.inner.subscribe(after)).await?;
        Ok(Box::new(TapSubscription { inner, way: self.way.clone(), coming: None }))
    }

    async fn trim(&self, up_to: u64) -> Result<(), PipelineError> {
        self.way.and_back(self.inner.trim(up_to)).await
    }

    async fn announce(&self, from: &str, payload: Bytes) -> Result<(), PipelineError> {
        self.way.go().await;
        match self.way.silence() {
            Silence::Mute => Ok(()),
            _ => self.inner.announce(from, payload).await,
        }
    }

    async fn ask(&self, to: &str, payload: Bytes, deadline: Duration) -> Result<Bytes, PipelineError> {
        self.way.and_back(self.inner.ask(to, payload, deadline)).await
    }

    async fn listen(&self, name: &str) -> Result<Box<dyn Listener>, PipelineError> {
        Ok(Box::new(TapListener { inner: self.inner.listen(name).await?, way: self.way.clone() }))
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

/// Does not hear what is said while it is deaf.
struct TapListener {
    inner: Box<dyn Listener>,
    way: Way,
}

#[async_trait]
impl Listener for TapListener {
    async fn next(&mut self) -> Result<Heard, PipelineError> {
        loop {
            let heard = self.inner.next().await?;
            if self.way.silence() != Silence::Deaf {
                return Ok(heard);
            }
        }
    }
}

struct TapSubscription {
    inner: Box<dyn Subscription>,
    way: Way,
    /// A message that is on its way, and when it arrives.
    coming: Option<(Instant, Incoming)>,
}

#[async_trait]
impl Subscription for TapSubscription {
    async fn next(&mut self) -> Result<Incoming, PipelineError> {
        if self.coming.is_none() {
            let message = self.inner.next().await?;
            self.coming = Some((Instant::now() + self.way.draw(), message));
        }
        let arrives_at = self.coming.as_ref().map(|(at, _)| *at).expect("it is on its way");
        if arrives_at > Instant::now() {
            tokio::time::sleep_until(arrives_at).await;
        }
        // The broker sends again what did not arrive.
        let mut silence = self.way.silence.subscribe();
        let _ = silence.wait_for(|silence| *silence != Silence::Deaf).await;
        Ok(self.coming.take().expect("it is on its way").1)
    }
}
