use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use archipelago_pipeline::{
    Incoming, LogId, PipelineError,
    parts::{Joiner, Stored},
};
use async_nats::jetstream::{
    self,
    consumer::{AckPolicy, DeliverPolicy, pull},
};
use futures::StreamExt;
use tokio::sync::mpsc;

use crate::{
    error,
    link::{Loss, Role},
    mirror,
    parts::{Sizes, part_of},
    stream::LogStream,
    subscription::NatsSubscription,
};

/// How often a quiet stream is looked at: it may be gone, or another.
const WATCHDOG_INTERVAL: Duration = Duration::from_secs(1);

/// A consumer that says nothing for twice this time is taken for dead.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// How many bytes are fetched ahead at once, unless one message may be larger: messages may be as large as the server
/// takes them, and it closes the connection of a reader for whom more than 64 MiB wait.
const PREFETCH_BYTES_MAX: usize = 16 * 1024 * 1024;

/// For how long the broker keeps a consumer that is not asked any more.
const CONSUMER_INACTIVE: Duration = Duration::from_secs(30);

/// How long the making of a consumer is waited for. Without a leader there is no answer, and a new leader is not told
/// of old questions.
const CONSUMER_TIMEOUT: Duration = Duration::from_secs(2);

/// Between two attempts to read on.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// After how many failed attempts to read on someone should hear of it.
const ATTEMPTS_QUIET: u32 = 20;

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
    /// The server's limit on a message, as far as it is known.
    message_bytes_max: usize,
    joiner: Joiner,
    /// From where messages are read again, which are before those to be delivered: a payload has begun there.
    read_back_from: Option<u64>,
}

/// Why a session ended.
enum End {
    /// The log is well; another session may read on.
    Passing(PipelineError),
    /// There is nothing to read on.
    Final(PipelineError),
}

impl End {
    fn passing(reason: impl Into<String>) -> End {
        End::Passing(PipelineError::Unavailable { reason: reason.into() })
    }

    fn into_error(self) -> PipelineError {
        let (End::Passing(error) | End::Final(error)) = self;
        error
    }
}

impl From<PipelineError> for End {
    fn from(error: PipelineError) -> End {
        match error {
            PipelineError::LogMissing { .. }
            | PipelineError::LogReplaced { .. }
            | PipelineError::LogRegressed { .. } => End::Final(error),
            other => End::Passing(other),
        }
    }
}

impl Reader {
    /// Starts reading after `after`, which the log must reach. What keeps the first consumer from being made is an
    /// error here; later it is tried again.
    pub(crate) async fn start(
        stream: LogStream,
        after: u64,
        prefetch_messages_max: usize,
        sizes: Sizes,
    ) -> Result<NatsSubscription, PipelineError> {
        let state = stream.state_beyond(None, after).await?;
        if let Some(origin) = &stream.origin {
            mirror::check(&state, origin).await?;
        }
        let id = state.id;
        let (delivered, incoming) = mpsc::channel(prefetch_messages_max);
        let last = AtomicU64::new(after);
        let joiner = Joiner::new(after, sizes.payload_bytes_max, sizes.assembly_bytes_max);
        let reader = Reader {
            stream,
            id,
            last,
            last_stored_at: None,
            delivered,
            prefetch_messages_max,
            message_bytes_max: sizes.message_bytes_max.unwrap_or_default(),
            joiner,
            read_back_from: None,
        };
        let loss = reader.stream.links.link(Role::Consume).next_loss();
        let messages = reader.consume().await.map_err(End::into_error)?;
        let task = tokio::spawn(reader.run(messages, loss));
        Ok(NatsSubscription::new(incoming, task.abort_handle()))
    }

    /// Sessions, one after the other, until the log is no longer what it was.
    async fn run(mut self, messages: pull::Stream, loss: Loss) {
        let mut end = self.session(messages, loss).await;
        let mut attempts = 0_u32;
        loop {
            match end {
                End::Passing(error) if attempts == ATTEMPTS_QUIET => {
                    tracing::warn!(stream = %self.stream.name, %error, "cannot read on; still trying");
                }
                End::Passing(error) => {
                    tracing::debug!(stream = %self.stream.name, %error, "reading starts over")
                }
                End::Final(error) => {
                    // Nobody to tell if it fails.
                    let _ = self.delivered.send(Err(error)).await;
                    return;
                }
            }
            tokio::select! {
                () = self.pause() => {}
                () = self.delivered.closed() => return,
            }
            let loss = self.stream.links.link(Role::Consume).next_loss();
            attempts = attempts.saturating_add(1);
            end = match self.consume().await {
                Ok(messages) => {
                    attempts = 0;
                    self.session(messages, loss).await
                }
                Err(end) => end,
            };
        }
    }

    /// Waits until it makes sense to try again.
    async fn pause(&self) {
        tokio::time::sleep(RETRY_PAUSE).await;
        self.stream.links.link(Role::Consume).wait_until_up().await;
    }

    /// Reads through one consumer until anything is in doubt.
    async fn session(&mut self, mut messages: pull::Stream, mut loss: Loss) -> End {
        let mut session = Session { expected_consumer_sequence: 1, prefix: self.stream.subject_prefix.len() };
        let Reader { stream, id, last, last_stored_at, delivered, joiner, read_back_from, .. } = self;
        let watchdog = watch(stream, id, last);
        tokio::pin!(watchdog);
        loop {
            let message = tokio::select! {
                biased;
                () = loss.wait() => return End::passing("the connection was lost"),
                end = &mut watchdog => return end,
                message = messages.next() => message,
            };
            let message = match message {
                Some(Ok(message)) => message,
                Some(Err(error)) => return End::passing(error.to_string()),
                None => return End::passing("the consumer ended"),
            };
            let message = match session.accept(message) {
                Ok(message) => message,
                Err(end) => return end,
            };
            let is_new = message.sequence > last.load(Ordering::Relaxed);
            if is_new && let Some(from) = joiner.read_back_from(&message) {
                *read_back_from = Some(from);
                return End::passing("a payload begins before the messages that are read");
            }
            let incoming = join(joiner, message);
            if !is_new {
                continue;
            }
            *read_back_from = None;
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
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: self.read_back_from.unwrap_or(last + 1),
            },
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
        let made = tokio::time::timeout(CONSUMER_TIMEOUT, stream.links.request(stream.role, call)).await;
        let consumer = made.map_err(|_| End::passing("no consumer was made in time"))??;
        stream.state_beyond(Some(&self.id), last).await?;
        self.check_last_message(last).await?;
        let messages = consumer
            .stream()
            .max_messages_per_batch(self.prefetch_messages_max)
            .max_bytes_per_batch(PREFETCH_BYTES_MAX.max(self.message_bytes_max.saturating_mul(2)))
            .heartbeat(HEARTBEAT);
        messages.messages().await.map_err(|error| End::passing(error.to_string()))
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

/// What is to be delivered of a message, and a word about what is lost with it.
fn join(joiner: &mut Joiner, message: Stored) -> Incoming {
    let joined = joiner.join(message);
    let (sequence, origin) = (joined.incoming.sequence, &joined.incoming.origin);
    if let Some(reason) = joined.refused {
        tracing::warn!(sequence, %origin, %reason, "a part of a payload is not usable and was skipped");
    }
    for id in joined.given_up {
        tracing::warn!(sequence, %id, "a payload in parts was given up: too many wait for the rest of theirs");
    }
    joined.incoming
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
    fn accept(&mut self, message: jetstream::Message) -> Result<Stored, End> {
        let info = message.info().map_err(|error| End::passing(error.to_string()))?;
        if info.consumer_sequence != self.expected_consumer_sequence {
            let (expected, found) = (self.expected_consumer_sequence, info.consumer_sequence);
            return Err(End::passing(format!(
                "a gap in what was delivered: expected {expected}, got {found}"
            )));
        }
        let (sequence, stored_at) = (info.stream_sequence, SystemTime::from(info.published));
        self.expected_consumer_sequence += 1;
        let origin = message.subject.get(self.prefix..).unwrap_or_default().to_owned();
        let part = part_of(message.headers.as_ref());
        Ok(Stored { sequence, origin, payload: message.message.payload, stored_at, part })
    }
}
