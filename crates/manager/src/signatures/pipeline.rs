use std::{sync::Arc, time::Duration};

use archipelago_pipeline::{
    Answer, Appending, ExpectedEnd, Heard, Incoming, Lease, Listener, LogState, Outgoing, PendingAck,
    Pipeline, PipelineError, PipelineStatus, Subscription,
};
use archipelago_proto::{SIGNATURE_BYTES_MAX, Said};
use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use tokio::sync::watch;

use super::KeyRing;

/// A pipeline that signs what is sent, and lets through what is to be believed. The lease is that of the broker.
#[derive(Debug)]
pub(crate) struct SignedPipeline {
    inner: Arc<dyn Pipeline>,
    ring: Arc<KeyRing>,
}

impl SignedPipeline {
    pub(crate) fn new(inner: Arc<dyn Pipeline>, ring: Arc<KeyRing>) -> SignedPipeline {
        SignedPipeline { inner, ring }
    }
}

#[async_trait]
impl Pipeline for SignedPipeline {
    async fn open_above(&self, sequence: u64) -> Result<LogState, PipelineError> {
        self.inner.open_above(sequence).await
    }

    async fn state(&self) -> Result<LogState, PipelineError> {
        self.inner.state().await
    }

    async fn publish(&self, mut message: Outgoing) -> Result<PendingAck, PipelineError> {
        message.payload = self.ring.sign(Said::InLog, &message.payload)?;
        self.inner.publish(message).await
    }

    async fn append(
        &self,
        origin: &str,
        payload: Bytes,
        expected: ExpectedEnd,
    ) -> Result<Appending, PipelineError> {
        let payload = self.ring.sign(Said::InLog, &payload)?;
        self.inner.append(origin, payload, expected).await
    }

    async fn lease(&self, ttl: Duration) -> Result<Arc<dyn Lease>, PipelineError> {
        self.inner.lease(ttl).await
    }

    async fn subscribe(&self, after: u64) -> Result<Box<dyn Subscription>, PipelineError> {
        let inner = self.inner.subscribe(after).await?;
        Ok(Box::new(SignedSubscription { inner, ring: self.ring.clone() }))
    }

    async fn trim(&self, up_to: u64) -> Result<(), PipelineError> {
        self.inner.trim(up_to).await
    }

    async fn announce(&self, from: &str, payload: Bytes) -> Result<(), PipelineError> {
        let payload = self.ring.sign_announcement(&payload, self.inner.payload_bytes_max())?;
        self.inner.announce(from, payload).await
    }

    async fn ask(&self, to: &str, payload: Bytes, deadline: Duration) -> Result<Bytes, PipelineError> {
        let question = self.ring.sign(Said::Asked { whom: to }, &payload)?;
        let answer = self.inner.ask(to, question.clone(), deadline).await?;
        match self.ring.believes_answer(to, &question, &answer) {
            true => Ok(answer),
            // From whom it should be, there is none; asking again may bring it.
            false => Err(PipelineError::NoAnswer { name: to.to_owned(), deadline }),
        }
    }

    async fn listen(&self, name: &str) -> Result<Box<dyn Listener>, PipelineError> {
        let inner = self.inner.listen(name).await?;
        Ok(Box::new(SignedListener { inner, name: name.into(), ring: self.ring.clone() }))
    }

    fn status(&self) -> watch::Receiver<PipelineStatus> {
        self.inner.status()
    }

    fn payload_bytes_max(&self) -> Option<usize> {
        self.inner.payload_bytes_max().map(|bytes| bytes.saturating_sub(SIGNATURE_BYTES_MAX))
    }

    fn payload_bytes_good(&self) -> Option<usize> {
        self.inner.payload_bytes_good().map(|bytes| bytes.saturating_sub(SIGNATURE_BYTES_MAX))
    }
}

struct SignedSubscription {
    inner: Box<dyn Subscription>,
    ring: Arc<KeyRing>,
}

#[async_trait]
impl Subscription for SignedSubscription {
    async fn next(&mut self) -> Result<Incoming, PipelineError> {
        let mut incoming = self.inner.next().await?;
        // A message that is not believed has a place in the log, and nothing in it.
        incoming.payload.take_if(|payload| !self.ring.believes_log(&incoming.origin, payload));
        Ok(incoming)
    }
}

struct SignedListener {
    inner: Box<dyn Listener>,
    name: Arc<str>,
    ring: Arc<KeyRing>,
}

#[async_trait]
impl Listener for SignedListener {
    async fn next(&mut self) -> Result<Heard, PipelineError> {
        loop {
            match self.inner.next().await? {
                Heard::Announcement { from, payload } => {
                    if self.ring.believes_announcement(&from, &payload) {
                        return Ok(Heard::Announcement { from, payload });
                    }
                }
                Heard::Question { payload, answer } => {
                    if self.ring.believes_question(&self.name, &payload) {
                        let answer = self.signed(payload.clone(), answer);
                        return Ok(Heard::Question { payload, answer });
                    }
                }
            }
        }
    }
}

impl SignedListener {
    fn signed(&self, question: Bytes, inner: Answer) -> Answer {
        let (name, ring) = (self.name.clone(), self.ring.clone());
        Answer::new(move |payload| {
            async move {
                match ring.sign(Said::Answered { whom: &name, question: &question }, &payload) {
                    Ok(signed) => inner.send(signed).await,
                    Err(error) => tracing::warn!(%error, "an answer was not sent"),
                }
            }
            .boxed()
        })
    }
}
