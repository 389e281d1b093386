use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use super::broker::Shared;
use crate::{Incoming, LogId, PipelineError, Subscription, parts::Joiner};

/// A place in a log. It holds no messages but parts of payloads that are not complete yet: what it reads next is what
/// the log holds then.
pub(super) struct MemorySubscription {
    shared: Arc<Shared>,
    id: LogId,
    /// The sequence delivered last.
    after: u64,
    joiner: Joiner,
    changed: watch::Receiver<()>,
    ended: Option<PipelineError>,
}

impl MemorySubscription {
    pub(super) fn new(
        shared: Arc<Shared>,
        id: LogId,
        after: u64,
        changed: watch::Receiver<()>,
    ) -> MemorySubscription {
        let config = &shared.config;
        let joiner = Joiner::new(after, config.payload_bytes_max, config.assembly_bytes_max);
        MemorySubscription { shared, id, after, joiner, changed, ended: None }
    }

    /// The next message if there is one now.
    fn read(&mut self) -> Result<Option<Incoming>, PipelineError> {
        let mut state = self.shared.lock();
        if !state.running {
            return Ok(None);
        }
        let name = &self.id.name;
        let Some(log) = &state.slot(name).log else {
            return Err(PipelineError::LogMissing { name: name.clone() });
        };
        if *log.id() != self.id {
            return Err(PipelineError::LogReplaced { expected: self.id.clone(), found: log.id().clone() });
        }
        let last_sequence = log.last_sequence();
        if last_sequence < self.after {
            return Err(PipelineError::LogRegressed { name: name.clone(), after: self.after, last_sequence });
        }
        let Some(message) = log.first_after(self.after) else { return Ok(None) };
        if let Some(from) = self.joiner.read_back_from(message) {
            let mut at = from - 1;
            while let Some(earlier) = log.first_after(at).filter(|earlier| earlier.sequence <= self.after) {
                at = earlier.sequence;
                self.joiner.join(earlier.clone());
            }
        }
        let incoming = self.joiner.join(message.clone()).incoming;
        self.after = incoming.sequence;
        Ok(Some(incoming))
    }
}

#[async_trait]
impl Subscription for MemorySubscription {
    async fn next(&mut self) -> Result<Incoming, PipelineError> {
        loop {
            if let Some(error) = &self.ended {
                return Err(error.clone());
            }
            self.changed.mark_unchanged();
            match self.read() {
                Ok(Some(message)) => return Ok(message),
                // The broker's state outlives this handle, and with it the sender.
                Ok(None) => self.changed.changed().await.map_err(|_| PipelineError::Closed)?,
                Err(error) => self.ended = Some(error),
            }
        }
    }
}
