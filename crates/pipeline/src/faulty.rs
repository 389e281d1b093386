use std::{
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use tokio::{sync::watch, time::Instant};

use crate::{
    Appending, ExpectedEnd, Fault, FaultRates, Lease, Listener, LogState, Outgoing, PendingAck, Pipeline,
    PipelineError, PipelineStatus, Subscription, fault::FaultDice,
};

/// A pipeline whose published messages meet a [`Fault`] now and then: the same seed strikes the same messages,
/// counted in the order of publishing and appending. Reading, the lease, and what replicas say beside the log, is not disturbed.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn Pipeline>,
    dice: Mutex<FaultDice>,
    ack_timeout: Duration,
}

impl Faulty {
    /// Wraps a pipeline. A lost acknowledgement fails after `ack_timeout`, counted from the publishing.
    pub fn new(inner: Arc<dyn Pipeline>, rates: FaultRates, seed: u64, ack_timeout: Duration) -> Faulty {
        Faulty { inner, dice: Mutex::new(FaultDice::new(rates, seed)), ack_timeout }
    }

    fn roll(&self) -> Option<Fault> {
        // Rolling does not panic half way, so a poisoned lock guards a whole state.
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).roll()
    }

    /// An acknowledgement that never comes. Holds on to the inner one, which occupies a place in flight.
    fn lost(&self, inner: Option<PendingAck>) -> PendingAck {
        let deadline = self.ack_timeout;
        let at = Instant::now() + deadline;
        async move {
            tokio::time::sleep_until(at).await;
            drop(inner);
            Err(PipelineError::AckTimeout { deadline })
        }
        .boxed()
    }
}

#[async_trait]
impl Pipeline for Faulty {
    async fn open_above(&self, sequence: u64) -> Result<LogState, PipelineError> {
        self.inner.open_above(sequence).await
    }

    async fn state(&self) -> Result<LogState, PipelineError> {
        self.inner.state().await
    }

    async fn publish(&self, message: Outgoing) -> Result<PendingAck, PipelineError> {
        match self.roll() {
            None => self.inner.publish(message).await,
            Some(Fault::Unavailable) => {
                Err(PipelineError::Unavailable { reason: "an injected fault".to_owned() })
            }
            Some(Fault::LoseMessage) => Ok(self.lost(None)),
            Some(Fault::LoseAck) => Ok(self.lost(Some(self.inner.publish(message).await?))),
            Some(Fault::StoreTwice) => {
                let first = self.inner.publish(message.clone()).await?;
                // Another id, or the broker would notice. Sent once the first is acknowledged, so that it takes no
                // second place in flight and may land behind younger messages, as a late retry does.
                let message_id = format!("{}~again", message.message_id);
                let inner = self.inner.clone();
                Ok(async move {
                    first.await?;
                    inner.publish(Outgoing { message_id, ..message }).await?.await
                }
                .boxed())
            }
        }
    }

    async fn append(
        &self,
        origin: &str,
        payload: Bytes,
        expected: ExpectedEnd,
    ) -> Result<Appending, PipelineError> {
        let append = |payload| self.inner.append(origin, payload, expected);
        match self.roll() {
            // The second of two is refused.
            None | Some(Fault::StoreTwice) => append(payload).await,
            Some(Fault::Unavailable) => {
                Err(PipelineError::Unavailable { reason: "an injected fault".to_owned() })
            }
            Some(Fault::LoseMessage) => {
                let message_bytes = self.payload_bytes_good().unwrap_or(usize::MAX).max(1);
                let messages = payload.len().div_ceil(message_bytes).max(1) as u64;
                let sequence = expected.sequence().saturating_add(messages);
                Ok(Appending { sequence, ack: self.lost(None) })
            }
            Some(Fault::LoseAck) => {
                let Appending { sequence, ack } = append(payload).await?;
                Ok(Appending { sequence, ack: self.lost(Some(ack)) })
            }
        }
    }

    async fn lease(&self, ttl: Duration) -> Result<Arc<dyn Lease>, PipelineError> {
        self.inner.lease(ttl).await
    }

    async fn subscribe(&self, after: u64) -> Result<Box<dyn Subscription>, PipelineError> {
        self.inner.subscribe(after).await
    }

    async fn trim(&self, up_to: u64) -> Result<(), PipelineError> {
        self.inner.trim(up_to).await
    }

    async fn announce(&self, from: &str, payload: Bytes) -> Result<(), PipelineError> {
        self.inner.announce(from, payload).await
    }

    async fn ask(&self, to: &str, payload: Bytes, deadline: Duration) -> Result<Bytes, PipelineError> {
        self.inner.ask(to, payload, deadline).await
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
