use std::sync::Arc;

use archipelago_pipeline::{Incoming, LogState, Pipeline};
use archipelago_store::{Batch, Durability};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    Notification,
    backoff::Backoff,
    error::LogLost,
    log_reader::{self, Decoded, LogReader, Read, STALL_TIMEOUT, compare},
    metrics,
    persist::{self, Checkpoint},
    repair::Wanted,
    replica::{Content, Message, ReadFrom},
    shared::Shared,
};

/// Reads the log from the checkpoint on and hands each message to the owner of the engine.
pub(crate) struct Receiver {
    pub(crate) shared: Arc<Shared>,
    pub(crate) pipeline: Arc<dyn Pipeline>,
    pub(crate) messages: mpsc::Sender<Message>,
    pub(crate) read_from: watch::Receiver<ReadFrom>,
    /// What is to be brought here by another road.
    pub(crate) wanted: mpsc::Sender<Wanted>,
}

impl Receiver {
    /// Runs until the owner of the engine is gone, or the broker refuses for good.
    pub(crate) async fn run(mut self, mut checkpoint: Option<Checkpoint>) {
        while let Err(lost) = self.follow(checkpoint.as_ref()).await {
            match &lost {
                // Who never read the log has lost nothing of it.
                LogLost::BeginsLate { to, .. } => {
                    tracing::info!(
                        to,
                        "the log begins behind this message; what was before comes from elsewhere"
                    );
                }
                lost => self.shared.log_is_lost(lost.to_string()),
            }
            if matches!(lost, LogLost::Gap { .. } | LogLost::BeginsLate { .. }) {
                // Perhaps no other master is there to ask, but a snapshot is.
                let _ = self.wanted.try_send(Wanted { from: None, lacks: u64::MAX });
            }
            checkpoint = match self.start_over(checkpoint, &lost).await {
                Some(checkpoint) => Some(checkpoint),
                None => return,
            };
        }
    }

    /// Where the log is to be followed from after it was lost, replaced, shortened or trimmed; `None` if it cannot be.
    ///
    /// What was in it and is no more is not looked for here: heartbeats tell which master lacks what, and repair brings
    /// it.
    async fn start_over(&mut self, known: Option<Checkpoint>, lost: &LogLost) -> Option<Checkpoint> {
        if !lost.is_mendable() {
            return None;
        }
        // Whoever comes first makes the new log.
        let log = self.open(None).await.ok()?;
        let read = known.filter(|known| known.log == log.id).map_or(0, |known| known.sequence);
        let sequence = read.max(log.first_sequence - 1).min(log.last_sequence);
        let (done, stored) = oneshot::channel();
        let content = Content::Changed(done);
        let reading = self.read_from.borrow().reading;
        let log_id = Arc::new(log.id.clone());
        let message = Message { reading, log: log_id, sequence, is_end: false, content };
        self.messages.send(message).await.ok()?;
        stored.await.ok()?;
        Some(Checkpoint { log: log.id, sequence })
    }

    async fn follow(&mut self, checkpoint: Option<&Checkpoint>) -> Result<(), LogLost> {
        let log = self.open(checkpoint).await?;
        if checkpoint.is_none() && log.first_sequence > 1 {
            return Err(LogLost::BeginsLate { name: log.id.name, to: log.first_sequence - 1 });
        }
        let start = checkpoint.cloned().unwrap_or(Checkpoint { log: log.id.clone(), sequence: 0 });
        if !self.remember(&start).await {
            return Ok(());
        }
        let end = log.last_sequence;
        if start.sequence.max(log.first_sequence.saturating_sub(1)) >= end {
            self.shared.log_is_read.send_replace(true);
        }
        let mut reader =
            LogReader::new(self.pipeline.clone(), log, STALL_TIMEOUT, self.shared.random.clone());
        self.shared.log_is_open.send_replace(true);
        self.shared.log_is_back(self.pipeline.status().borrow().clone());
        loop {
            let from = *self.read_from.borrow_and_update();
            reader.seek(from.after, None).await?;
            if !self.read(&mut reader, from.reading, end).await? {
                return Ok(());
            }
        }
    }

    /// Stores which log it is, before anything is sent to it: should the broker lose it while this master is away, that
    /// is noticed at the next start. False if the store failed.
    async fn remember(&self, checkpoint: &Checkpoint) -> bool {
        let mut batch = Batch::new();
        persist::put_checkpoint(&mut batch, checkpoint);
        let store = self.shared.store.clone();
        let committed = self.shared.tasks.blocking(move || store.commit(batch, Durability::Fsync)).await;
        let failure = match committed {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        tracing::error!(%failure, "the identity of the log cannot be stored; nothing is read or sent");
        self.shared.notify(Notification::StoreFailed { reason: failure });
        false
    }

    /// The state of the log, once it can be had. Only a replica that has read nothing yet may create it.
    async fn open(&self, checkpoint: Option<&Checkpoint>) -> Result<LogState, LogLost> {
        let mut backoff = Backoff::new(self.shared.random.clone());
        loop {
            let state = match checkpoint {
                None => self.pipeline.open().await,
                Some(_) => self.pipeline.state().await,
            };
            match state {
                Ok(state) => {
                    return checkpoint
                        .map_or(Ok(()), |known| compare(&known.log, known.sequence, &state))
                        .map(|()| state);
                }
                Err(error) if error.is_retryable() => {
                    tracing::debug!(%error, "the log cannot be opened yet");
                    backoff.wait().await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads on until another reading is ordered (true) or nobody wants messages any more (false).
    async fn read(&mut self, reader: &mut LogReader, reading: u64, end: u64) -> Result<bool, LogLost> {
        loop {
            let read = tokio::select! {
                biased;
                changed = self.read_from.changed() => return Ok(changed.is_ok()),
                read = reader.next() => read?,
            };
            match read {
                Read::Message(incoming) => {
                    let (log, sequence) = (reader.log().clone(), incoming.sequence);
                    let is_end = sequence >= end;
                    let message = Message { reading, log, sequence, is_end, content: self.decode(incoming) };
                    if self.messages.send(message).await.is_err() {
                        return Ok(false);
                    }
                }
                Read::Trimmed { to } => {
                    let reason =
                        format!("the log {:?} no longer holds its messages up to {to}", reader.log().name);
                    tracing::info!(%reason, "the shared log was trimmed");
                    self.shared.notify(Notification::LogTrimmed { reason });
                }
                Read::Resubscribed { .. } => {}
            }
        }
    }

    fn decode(&self, incoming: Incoming) -> Content {
        let sequence = incoming.sequence;
        match log_reader::decode(incoming, &self.shared.namespace, &self.shared.limits) {
            Decoded::Events(events) => Content::Events(events),
            Decoded::Floor(floor) => Content::Floor(floor),
            Decoded::Part => Content::Nothing,
            Decoded::Unusable { reason } => {
                metrics::add(&self.shared.counters.messages_unreadable, 1);
                if let Some(skipped) = self.shared.counters.skipped_in_log.happened(&reason) {
                    tracing::warn!(sequence, %reason, skipped, "a message of the log is not usable and was skipped");
                }
                Content::Nothing
            }
            Decoded::Newer(error) => {
                metrics::add(&self.shared.counters.messages_unreadable, 1);
                tracing::error!(sequence, %error, "a message of the log needs a newer build; it is kept for one");
                Content::Unreadable
            }
        }
    }
}
