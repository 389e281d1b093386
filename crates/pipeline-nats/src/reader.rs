use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use archipelago_pipeline::{Incoming, LogId, PipelineError, Subscription};
use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, DeliverPolicy, pull},
};
use async_trait::async_trait;
use futures::StreamExt;
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinHandle},
};

use crate::{error, link::Role, stream::LogStream};

/// How often a quiet stream is looked at: it may be gone, or another.
const WATCHDOG_INTERVAL: Duration = Duration::from_secs(1);

/// A consumer that says nothing for twice this time is taken for dead.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// For how long the broker keeps a consumer that is not asked any more.
const CONSUMER_INACTIVE: Duration = Duration::from_secs(30);

/// Between two attempts to read on.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Reads one log from a position on, in a task of its own.
pub(crate) struct Reader {
    stream: LogStream,
    id: LogId,
    /// The sequence that was delivered last. Written by the session, read by its watchdog.
    last: AtomicU64,
    /// When the broker stored the message delivered last.
    last_stored_at: Option<SystemTime>,
    delivered: mpsc::Sender<Result<Incoming, PipelineError>>,
    prefetch_messages_max: usize,
}

/// Why a session ended although the log is well.
struct Passing(String);

enum End {
    Passing(Passing),
    Final(PipelineError),
}

impl From<PipelineError> for End {
    fn from(error: PipelineError) -> End {
        match error {
            PipelineError::LogMissing { .. }
            | PipelineError::LogReplaced { .. }
            | PipelineError::LogRegressed { .. } => End::Final(error),
            other => End::Passing(Passing(other.to_string())),
        }
    }
}

impl Reader {
    /// Starts reading after `after`, which the log must reach.
    pub(crate) async fn start(
        stream: LogStream,
        after: u64,
        prefetch_messages_max: usize,
    ) -> Result<NatsSubscription, PipelineError> {
        let id = stream.state_beyond(None, after).await?.id;
        let (delivered, incoming) = mpsc::channel(prefetch_messages_max);
        let last = AtomicU64::new(after);
        let reader = Reader { stream, id, last, last_stored_at: None, delivered, prefetch_messages_max };
        let task: JoinHandle<()> = tokio::spawn(reader.run());
        Ok(NatsSubscription { incoming, task: task.abort_handle(), ended: None })
    }

    /// Sessions, one after the other, until the log is no longer what it was.
    async fn run(mut self) {
        loop {
            let consume = self.stream.links.link(Role::Consume);
            tokio::select! {
                () = consume.wait_until_up() => {}
                () = self.delivered.closed() => return,
            }
            match self.session().await {
                End::Passing(Passing(reason)) => {
                    tracing::debug!(stream = %self.stream.name, %reason, "reading starts over");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                End::Final(error) => {
                    // Nobody to tell if it fails.
                    let _ = self.delivered.send(Err(error)).await;
                    return;
                }
            }
        }
    }

    /// Reads through one consumer until anything is in doubt.
    async fn session(&mut self) -> End {
        let mut loss = self.stream.links.link(Role::Consume).next_loss();
        let mut messages = match self.consume().await {
            Ok(messages) => messages,
            Err(end) => return end,
        };
        let mut session = Session { expected_consumer_sequence: 1, prefix: self.stream.subject_prefix.len() };
        let Reader { stream, id, last, last_stored_at, delivered, .. } = self;
        let watchdog = watch(stream, id, last);
        tokio::pin!(watchdog);
        loop {
            let message = tokio::select! {
                biased;
                () = loss.wait() => return End::Passing(Passing("the connection was lost".to_owned())),
                end = &mut watchdog => return end,
                message = messages.next() => message,
            };
            let message = match message {
                Some(Ok(message)) => message,
                Some(Err(error)) => return End::Passing(Passing(error.to_string())),
                None => return End::Passing(Passing("the consumer ended".to_owned())),
            };
            let incoming = match session.accept(message) {
                Ok(incoming) if incoming.sequence > last.load(Ordering::Relaxed) => incoming,
                Ok(_) => continue,
                Err(passing) => return End::Passing(passing),
            };
            let (sequence, stored_at) = (incoming.sequence, incoming.stored_at);
            if delivered.send(Ok(incoming)).await.is_err() {
                return End::Final(PipelineError::Closed);
            }
            last.store(sequence, Ordering::Relaxed);
            *last_stored_at = Some(stored_at);
        }
    }

    /// A new consumer after the message delivered last, on a stream that was found to be the known one after the
    /// consumer was made: if it is replaced later, the consumer goes with it.
    async fn consume(&self) -> Result<pull::Stream, End> {
        let last = self.last.load(Ordering::Relaxed);
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: last + 1 },
            ack_policy: AckPolicy::None,
            inactive_threshold: CONSUMER_INACTIVE,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let stream = &self.stream;
        let call = async {
            let made = stream.context.create_consumer_on_stream(config, &*stream.name).await;
            made.map_err(|error| error::from_consumer(&error, &stream.name, &stream.links, stream.timeout))
        };
        let consumer = stream.links.request(stream.role, call).await?;
        stream.state_beyond(Some(&self.id), last).await?;
        self.check_last_message(last).await?;
        let messages =
            consumer.stream().max_messages_per_batch(self.prefetch_messages_max).heartbeat(HEARTBEAT);
        messages.messages().await.map_err(|error| End::Passing(Passing(error.to_string())))
    }

    /// Notices a log that lost its tail and has grown beyond it since: another message stands in the place of the one
    /// delivered last.
    async fn check_last_message(&self, last: u64) -> Result<(), End> {
        let Some(stored_at) = self.last_stored_at else { return Ok(()) };
        let stream = &self.stream;
        let found = stream.links.request(stream.role, async {
            let handle = stream.context.get_stream_no_info(&*stream.name).await;
            let handle = handle.map_err(|error| stream.links.unavailable(&error.to_string()))?;
            // It may have been trimmed away, or purged; then there is nothing to compare.
            Ok(handle.get_raw_message(last).await.ok())
        });
        match found.await? {
            Some(message) if SystemTime::from(message.time) != stored_at => {
                let name = self.id.name.clone();
                Err(End::Final(PipelineError::LogRegressed { name, after: last, last_sequence: last - 1 }))
            }
            _ => Ok(()),
        }
    }
}

/// Looks at the stream now and then, also if nothing comes.
async fn watch(stream: &LogStream, id: &LogId, last: &AtomicU64) -> End {
    loop {
        tokio::time::sleep(WATCHDOG_INTERVAL).await;
        if let Err(error) = stream.state_beyond(Some(id), last.load(Ordering::Relaxed)).await
            && let End::Final(error) = error.into()
        {
            return End::Final(error);
        }
    }
}

/// What one consumer is expected to say next.
struct Session {
    expected_consumer_sequence: u64,
    /// The length of what comes before the origin in a subject.
    prefix: usize,
}

impl Session {
    fn accept(&mut self, message: jetstream::Message) -> Result<Incoming, Passing> {
        let info = message.info().map_err(|error| Passing(error.to_string()))?;
        if info.consumer_sequence != self.expected_consumer_sequence {
            let (expected, found) = (self.expected_consumer_sequence, info.consumer_sequence);
            return Err(Passing(format!("a gap in what was delivered: expected {expected}, got {found}")));
        }
        let (sequence, stored_at) = (info.stream_sequence, SystemTime::from(info.published));
        self.expected_consumer_sequence += 1;
        let origin = message.subject.get(self.prefix..).unwrap_or_default().to_owned();
        Ok(Incoming { sequence, origin, payload: message.message.payload, stored_at })
    }
}

/// What a [`Reader`] delivers. Dropping it ends the reading.
pub(crate) struct NatsSubscription {
    incoming: mpsc::Receiver<Result<Incoming, PipelineError>>,
    task: AbortHandle,
    ended: Option<PipelineError>,
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
