use std::{sync::Arc, time::Duration};

use archipelago_pipeline::{Outgoing, PendingAck, PipelineError, PublishAck, check_message_id, check_name};
use async_nats::jetstream::{
    self,
    context::{PublishAckFuture, PublishError, PublishErrorKind},
    message::PublishMessage,
};
use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::{
    error,
    link::{Loss, Role},
    parts::{PARTS_IN_FLIGHT_MAX, Sizes, headers_of},
    stream::LogStream,
};

/// How long it is looked into why nobody took a message.
const MISSING_CHECK_MAX: Duration = Duration::from_secs(1);

/// The way out.
#[derive(Debug)]
pub(crate) struct Publisher {
    stream: LogStream,
    in_flight: Arc<Semaphore>,
    ack_timeout: Duration,
}

impl Publisher {
    pub(crate) fn new(stream: LogStream, in_flight_max: usize, ack_timeout: Duration) -> Publisher {
        Publisher { stream, in_flight: Arc::new(Semaphore::new(in_flight_max)), ack_timeout }
    }

    pub(crate) async fn publish(&self, message: Outgoing, sizes: Sizes) -> Result<PendingAck, PipelineError> {
        check_name(&message.origin)?;
        check_message_id(&message.message_id)?;
        sizes.check(&message.payload)?;
        let permit = self.in_flight.clone().acquire_owned().await.expect("the semaphore is never closed");
        let subject = format!("{}{}", self.stream.subject_prefix, message.origin);
        let Outgoing { message_id, payload, .. } = message;
        if !sizes.splits(payload.len()) {
            let outgoing = PublishMessage::build().payload(payload).message_id(message_id);
            // No await after the sending: whoever drops the future of this call does so before or after it.
            let ack = self.send(subject, outgoing).await?.wait();
            return Ok(keeping(permit, ack).boxed());
        }
        let (mut under_way, mut acks) = (FuturesUnordered::new(), Vec::new());
        for (part, payload) in sizes.split(&message_id, &payload) {
            while under_way.len() >= PARTS_IN_FLIGHT_MAX {
                acks.push(under_way.next().await.expect("some are under way")?);
            }
            let outgoing = PublishMessage::build().headers(headers_of(&part)).payload(payload);
            let ack = self.send(subject.clone(), outgoing.message_id(part.message_id())).await?;
            under_way.push(ack.wait());
        }
        let all = async move {
            while let Some(ack) = under_way.next().await {
                acks.push(ack?);
            }
            Ok(PublishAck::of_parts(&acks))
        };
        Ok(keeping(permit, all).boxed())
    }

    /// Hands one message to the connection.
    async fn send(&self, subject: String, outgoing: PublishMessage) -> Result<Ack, PipelineError> {
        let loss = self.stream.links.link(Role::Publish).next_loss();
        // Sending to a connection that is down would queue the message, to be sent at some later time.
        self.stream.links.check(Role::Publish)?;
        let sent = Instant::now();
        // A message that has become too large is so for a server that is another one by now: then the next attempt
        // is split for that one.
        let answer = self.stream.context.send_publish(subject.clone(), outgoing).await;
        let answer = answer.map_err(|error| self.stream.links.unavailable(&error.to_string()))?;
        let deadline = self.ack_timeout;
        Ok(Ack { subject, answer, sent, loss, deadline, stream: self.stream.clone() })
    }
}

/// A message takes a place among those in flight until it is answered, or nobody waits for that any more.
async fn keeping(
    permit: OwnedSemaphorePermit,
    ack: impl Future<Output = Result<PublishAck, PipelineError>>,
) -> Result<PublishAck, PipelineError> {
    let ack = ack.await;
    drop(permit);
    ack
}

/// An acknowledgement that is waited for.
struct Ack {
    subject: String,
    answer: PublishAckFuture,
    sent: Instant,
    /// The loss of the connection that the message was sent over, and with it of the answer.
    loss: Loss,
    deadline: Duration,
    stream: LogStream,
}

impl Ack {
    async fn wait(self) -> Result<PublishAck, PipelineError> {
        let Ack { subject, answer, sent, mut loss, deadline, stream } = self;
        let answer = tokio::select! {
            biased;
            answer = answer.into_future() => answer,
            () = loss.wait() => return Err(PipelineError::AckTimeout { deadline: sent.elapsed() }),
            denial = stream.links.denial(Role::Publish, &subject, sent) => return Err(denial),
            () = tokio::time::sleep_until(sent + deadline) => return Err(PipelineError::AckTimeout { deadline }),
        };
        match answer {
            Ok(ack) => Ok(PublishAck { sequence: ack.sequence, duplicate: ack.duplicate }),
            Err(error) => Err(refusal(&error, &stream, sent.elapsed()).await),
        }
    }
}

async fn refusal(error: &PublishError, stream: &LogStream, waited: Duration) -> PipelineError {
    match error.kind() {
        // Nobody listens on the subject, so nothing was stored. Is the stream gone, or only without a leader? Then the
        // question gets no answer.
        PublishErrorKind::StreamNotFound => {
            match tokio::time::timeout(MISSING_CHECK_MAX, stream.state()).await {
                Ok(Err(known @ (PipelineError::LogMissing { .. } | PipelineError::Unavailable { .. }))) => {
                    known
                }
                Ok(Err(other)) => stream.links.unavailable(&other.to_string()),
                Ok(Ok(_)) | Err(_) => stream.links.unavailable("the stream takes no messages just now"),
            }
        }
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => {
            PipelineError::AckTimeout { deadline: waited }
        }
        _ => {
            let source = std::error::Error::source(error);
            match source.and_then(|source| source.downcast_ref::<jetstream::Error>()) {
                Some(answer) => error::from_api(answer, &stream.name),
                None => PipelineError::Refused { reason: error.to_string() },
            }
        }
    }
}
