use std::time::Duration;

use archipelago_pipeline::{LeaseEntry, LeaseWatch, PipelineError};
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_trait::async_trait;
use futures::StreamExt;
use tokio::{sync::watch, task::AbortHandle, time::Instant};

use super::bucket::{Bucket, Found};
use crate::{
    error,
    link::{Loss, Role},
};

/// A consumer that says nothing for twice this time is taken for dead.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// For how long the broker keeps a consumer that is not asked any more.
const CONSUMER_INACTIVE: Duration = Duration::from_secs(30);

/// Between two attempts to watch on.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// A holder that did not renew in time is looked at again and again, this part of the time to live apart: the broker says
/// nothing when an entry expires, and may be late with it.
const EXPIRY_LOOKS: u32 = 10;

/// Tells who holds the lease, from a task of its own. Dropping it ends the watch.
pub(super) struct NatsLeaseWatch {
    state: watch::Receiver<Option<LeaseEntry>>,
    told: Option<Option<LeaseEntry>>,
    task: AbortHandle,
}

impl NatsLeaseWatch {
    pub(super) async fn start(bucket: Bucket) -> Result<NatsLeaseWatch, PipelineError> {
        let held = bucket.look().await?.held();
        let (told, state) = watch::channel(held);
        let task = tokio::spawn(Watcher { bucket, told }.run()).abort_handle();
        Ok(NatsLeaseWatch { state, told: None, task })
    }
}

impl Drop for NatsLeaseWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[async_trait]
impl LeaseWatch for NatsLeaseWatch {
    async fn next(&mut self) -> Result<Option<LeaseEntry>, PipelineError> {
        loop {
            let held = self.state.borrow_and_update().clone();
            // What was for a moment only may have left it as it was.
            if self.told.as_ref() != Some(&held) {
                self.told = Some(held.clone());
                return Ok(held);
            }
            self.state.changed().await.map_err(|_| PipelineError::Closed)?;
        }
    }
}

/// Messages of the bucket tell of changes at once; looking at it tells of expiries, and of what messages were missed.
struct Watcher {
    bucket: Bucket,
    told: watch::Sender<Option<LeaseEntry>>,
}

impl Watcher {
    async fn run(self) {
        loop {
            let loss = self.bucket.stream.links.link(Role::Consume).next_loss();
            if let Err(error) = self.session(loss).await {
                tracing::debug!(stream = %self.bucket.stream.name, %error, "watching the lease starts over");
            }
            tokio::time::sleep(RETRY_PAUSE).await;
            self.bucket.stream.links.link(Role::Consume).wait_until_up().await;
        }
    }

    /// Watches through one consumer until anything is in doubt.
    async fn session(&self, mut loss: Loss) -> Result<(), PipelineError> {
        let messages = self.consume().await;
        if matches!(messages, Err(PipelineError::LogMissing { .. })) {
            // Nobody holds the lease until its bucket is made again.
            self.tell(None);
        }
        let mut messages = messages?;
        let (mut seen, mut seen_at) = (0, Instant::now());
        self.take(self.bucket.look().await?, &mut seen);
        loop {
            let found = tokio::select! {
                biased;
                () = loss.wait() => return Ok(()),
                message = messages.next() => {
                    let Some(Ok(message)) = message else { return Ok(()) };
                    let Ok(info) = message.info() else { return Ok(()) };
                    let revision = info.stream_sequence;
                    if revision <= seen {
                        // It was looked at already.
                        continue;
                    }
                    Found::of(revision, message.headers.as_ref(), message.payload.clone())
                }
                () = tokio::time::sleep_until(self.next_look(seen_at)) => self.bucket.look().await?,
            };
            if found.revision().is_some_and(|revision| revision < seen) {
                // It is another bucket.
                return Ok(());
            }
            if self.take(found, &mut seen) {
                seen_at = Instant::now();
            }
        }
    }

    /// Tells what was found; false if it was told before.
    fn take(&self, found: Found, seen: &mut u64) -> bool {
        *seen = found.revision().unwrap_or(*seen);
        self.tell(found.held())
    }

    /// When to look again at what was first seen at `seen_at`.
    fn next_look(&self, seen_at: Instant) -> Instant {
        let ttl = self.bucket.ttl;
        match self.told.borrow().is_some() {
            true => (seen_at + ttl).max(Instant::now() + ttl / EXPIRY_LOOKS),
            false => Instant::now() + ttl,
        }
    }

    fn tell(&self, held: Option<LeaseEntry>) -> bool {
        self.told.send_if_modified(|told| {
            let modified = *told != held;
            *told = held;
            modified
        })
    }

    /// What is written to the bucket from now on.
    async fn consume(&self) -> Result<pull::Stream, PipelineError> {
        let Bucket { stream, subject, .. } = &self.bucket;
        let config = pull::Config {
            deliver_policy: DeliverPolicy::New,
            ack_policy: AckPolicy::None,
            filter_subject: subject.to_string(),
            inactive_threshold: CONSUMER_INACTIVE,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let call = async {
            let made = stream.context.create_consumer_on_stream(config, &*stream.name).await;
            made.map_err(|error| error::from_consumer(&error, &stream.name, &stream.links, stream.timeout))
        };
        let late = |_| stream.links.unavailable("no consumer was made in time");
        let made = tokio::time::timeout(self.bucket.deadline, stream.links.request(stream.role, call)).await;
        let consumer = made.map_err(late)??;
        let messages = consumer.stream().heartbeat(HEARTBEAT).messages();
        messages.await.map_err(|error| stream.links.unavailable(&error.to_string()))
    }
}
