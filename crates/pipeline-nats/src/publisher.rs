use std::{sync::Arc, time::Duration};

use archipelago_pipeline::{Outgoing, PendingAck, PipelineError, PublishAck, check_message_id, check_name};
use async_nats::jetstream::{
    self,
    context::{PublishAckFuture, PublishError, PublishErrorKind},
    message::PublishMessage,
};
use futures::FutureExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::{
    error,
    link::{Loss, Role},
    stream::LogStream,
};

/// What the broker's limit on a message has to hold besides the payload: a message id and what surrounds it.
pub(crate) const HEADER_BYTES_MAX: usize = 512;

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

    pub(crate) async fn publish(
        &self,
        message: Outgoing,
        payload_bytes_max: Option<usize>,
    ) -> Result<PendingAck, PipelineError> {
        check_name(&message.origin)?;
        check_message_id(&message.message_id)?;
        let bytes = message.payload.len();
        if let Some(bytes_max) = payload_bytes_max.filter(|bytes_max| bytes > *bytes_max) {
            return Err(PipelineError::TooLarge { bytes, bytes_max });
        }
        let permit = self.in_flight.clone().acquire_owned().await.expect("the semaphore is never closed");
        let subject = format!("{}{}", self.stream.subject_prefix, message.origin);
        let outgoing = PublishMessage::build().payload(message.payload).message_id(message.message_id);
        let loss = self.stream.links.link(Role::Publish).next_loss();
        // Sending to a connection that is down would queue the message, to be sent at some later time.
        self.stream.links.check(Role::Publish)?;
        let sent = Instant::now();
        let answer =
            self.stream.context.send_publish(subject.clone(), outgoing).await.map_err(|error| {
                match (error.kind(), payload_bytes_max) {
                    (PublishErrorKind::MaxPayloadExceeded, Some(bytes_max)) => {
                        PipelineError::TooLarge { bytes, bytes_max }
                    }
                    _ => self.stream.links.unavailable(&error.to_string()),
                }
            })?;
        // No await from here on: whoever drops the future of this call does so before or after the sending.
        let deadline = self.ack_timeout;
        let ack = Ack { subject, answer, sent, loss, deadline, stream: self.stream.clone(), permit };
        Ok(ack.wait().boxed())
    }
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
    permit: OwnedSemaphorePermit,
}

impl Ack {
    async fn wait(self) -> Result<PublishAck, PipelineError> {
        let Ack { subject, answer, sent, mut loss, deadline, stream, permit } = self;
        let answer = tokio::select! {
            biased;
            answer = answer.into_future() => answer,
            () = loss.wait() => return Err(PipelineError::AckTimeout { deadline: sent.elapsed() }),
            denial = stream.links.denial(Role::Publish, &subject, sent) => return Err(denial),
            () = tokio::time::sleep_until(sent + deadline) => return Err(PipelineError::AckTimeout { deadline }),
        };
        drop(permit);
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
