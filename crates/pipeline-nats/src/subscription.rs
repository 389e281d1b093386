use archipelago_pipeline::{Incoming, PipelineError, Subscription};
use async_trait::async_trait;
use tokio::{sync::mpsc, task::AbortHandle};

/// What a [`Reader`](crate::reader::Reader) delivers. Dropping it ends the reading.
pub(crate) struct NatsSubscription {
    incoming: mpsc::Receiver<Result<Incoming, PipelineError>>,
    task: AbortHandle,
    /// What ended the reading, to be said again.
    ended: Option<PipelineError>,
}

impl NatsSubscription {
    pub(crate) fn new(
        incoming: mpsc::Receiver<Result<Incoming, PipelineError>>,
        task: AbortHandle,
    ) -> NatsSubscription {
        NatsSubscription { incoming, task, ended: None }
    }
}

impl Drop for NatsSubscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[async_trait]
impl Subscription for NatsSubscription {
    async fn next(&mut self) -> Result<Incoming, PipelineError> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        let next = self.incoming.recv().await.unwrap_or(Err(PipelineError::Closed));
        if let Err(error) = &next {
            self.ended = Some(error.clone());
        }
        next
    }
}
