use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use archipelago_pipeline::{
    Appending, ExpectedEnd, Lease, Listener, LogState, MemoryBroker, MemoryPipeline, Outgoing, PendingAck,
    Pipeline, PipelineError, PipelineStatus, Subscription,
};
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;

use crate::support::NAMESPACE;

/// A pipeline that gives its lease only when it is asked often enough, loses what is said to all, or is listened to.
#[derive(Debug)]
pub(crate) struct Lossy {
    inner: MemoryPipeline,
    late: AtomicU32,
    is_mute: bool,
    overheard: Overheard,
}

/// What others were asked.
pub(crate) type Overheard = Arc<Mutex<Vec<Bytes>>>;

impl Lossy {
    /// One that loses nothing.
    pub(crate) fn new(broker: &MemoryBroker) -> Lossy {
        Lossy {
            inner: broker.pipeline(NAMESPACE),
            late: AtomicU32::new(0),
            is_mute: false,
            overheard: Arc::default(),
        }
    }

    /// The lease is not to be had the first so many times.
    pub(crate) fn late_lease(self, times: u32) -> Lossy {
        Lossy { late: AtomicU32::new(times), ..self }
    }

    /// Nobody hears what is said to all.
    pub(crate) fn mute(self) -> Lossy {
        Lossy { is_mute: true, ..self }
    }

    /// Somebody writes down what is asked.
    pub(crate) fn overheard(&self) -> Overheard {
        self.overheard.clone()
    }
}

#[async_trait]
impl Pipeline for Lossy {
    async fn lease(&self, ttl: Duration) -> Result<Arc<dyn Lease>, PipelineError> {
        let is_late = |late: u32| late.checked_sub(1);
        match self.late.fetch_update(Ordering::SeqCst, Ordering::SeqCst, is_late) {
            Ok(_) => Err(PipelineError::Unavailable { reason: "not yet".into() }),
            Err(_) => self.inner.lease(ttl).await,
        }
    }
    async fn open_above(&self, sequence: u64) -> Result<LogState, PipelineError> {
        self.inner.open_above(sequence).await
    }
    async fn state(&self) -> Result<LogState, PipelineError> {
        self.inner.state().await
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
        self.inner.append(origin, payload, expected).await
    }
    async fn subscribe(&self, after: u64) -> Result<Box<dyn Subscription>, PipelineError> {
        self.inner.subscribe(after).await
    }
    async fn trim(&self, up_to: u64) -> Result<(), PipelineError> {
        self.inner.trim(up_to).await
    }
    async fn announce(&self, from: &str, payload: Bytes) -> Result<(), PipelineError> {
        match self.is_mute {
            true => Ok(()),
            false => self.inner.announce(from, payload).await,
        }
    }
    async fn ask(&self, to: &str, payload: Bytes, deadline: Duration) -> Result<Bytes, PipelineError> {
        self.overheard.lock().expect("no test panics with it").push(payload.clone());
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
