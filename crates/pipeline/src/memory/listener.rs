use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt;
use tokio::sync::{mpsc, oneshot};

use crate::{Answer, Heard, Listener, PipelineError};

/// How much a listener that does not listen may have waiting; what comes then is lost on it.
const HEARD_MAX: usize = 1_024;

/// Who listens in one namespace.
#[derive(Debug, Default)]
pub(super) struct Listeners(Vec<(String, mpsc::Sender<Heard>)>);

impl Listeners {
    pub(super) fn listen(&mut self, name: &str) -> MemoryListener {
        let (sender, heard) = mpsc::channel(HEARD_MAX);
        self.0.push((name.to_owned(), sender));
        MemoryListener { heard }
    }

    pub(super) fn announce(&mut self, from: &str, payload: &Bytes) {
        self.0.retain(|(_, sender)| !sender.is_closed());
        for (_, sender) in &self.0 {
            let _ = sender.try_send(Heard::Announcement { from: from.to_owned(), payload: payload.clone() });
        }
    }

    /// The answer to come; `None` if nobody of that name listens.
    pub(super) fn ask(
        &mut self,
        to: &str,
        payload: Bytes,
        bytes_max: usize,
    ) -> Option<oneshot::Receiver<Bytes>> {
        let (reply, answer) = oneshot::channel();
        let answering = Answer::new(move |payload| {
            // An answer over the limit is lost, as one that nobody waits for is.
            if payload.len() <= bytes_max {
                let _ = reply.send(payload);
            }
            std::future::ready(()).boxed()
        });
        let (_, sender) = self.0.iter().find(|(name, sender)| name == to && !sender.is_closed())?;
        sender.try_send(Heard::Question { payload, answer: answering }).ok()?;
        Some(answer)
    }
}

/// What a replica hears. Dropping it ends the listening.
pub(super) struct MemoryListener {
    heard: mpsc::Receiver<Heard>,
}

#[async_trait]
impl Listener for MemoryListener {
    async fn next(&mut self) -> Result<Heard, PipelineError> {
        self.heard.recv().await.ok_or(PipelineError::Closed)
    }
}
