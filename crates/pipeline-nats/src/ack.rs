use std::time::Duration;

use archipelago_pipeline::{ExpectedEnd, PipelineError, PublishAck};
use async_nats::jetstream::{
    self, ErrorCode,
    context::{PublishAckFuture, PublishError, PublishErrorKind},
    message::PublishMessage,
};
use tokio::time::Instant;

use crate::{
    error,
    link::{Loss, Role},
    stream::LogStream,
};

/// How long it is looked into why nobody took a message.
const MISSING_CHECK_MAX: Duration = Duration::from_secs(1);

/// The answers to a message that does not find the end of the log, or of its subject, where it expects it: another
/// sequence, or another message that is about to be stored.
const WRONG_LAST: [ErrorCode; 2] =
    [ErrorCode::STREAM_WRONG_LAST_SEQUENCE, ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT];

/// An acknowledgement that is waited for.
pub(crate) struct Ack {
    subject: String,
    answer: PublishAckFuture,
    sent: Instant,
    /// The loss of the connection that the message was sent over, and with it of the answer.
    loss: Loss,
    deadline: Duration,
    stream: LogStream,
    /// Where the message expects the stream to end, if it does.
    expected: Option<ExpectedEnd>,
}

impl Ack {
    /// Hands one message to the connection of the stream.
    pub(crate) async fn send(
        stream: &LogStream,
        subject: String,
        outgoing: PublishMessage,
        deadline: Duration,
    ) -> Result<Ack, PipelineError> {
        let loss = stream.links.link(Role::Publish).next_loss();
        // Sending to a connection that is down would queue the message, to be sent at some later time.
        stream.links.check(Role::Publish)?;
        let sent = Instant::now();
        // A message that has become too large is so for a server that is another one by now: then the next attempt
        // is split for that one.
        let answer = stream.context.send_publish(subject.clone(), outgoing).await;
        let answer = answer.map_err(|error| stream.links.unavailable(&error.to_string()))?;
        Ok(Ack { subject, answer, sent, loss, deadline, stream: stream.clone(), expected: None })
    }

    pub(crate) fn expecting(self, expected: ExpectedEnd) -> Ack {
        Ack { expected: Some(expected), ..self }
    }

    pub(crate) async fn wait(self) -> Result<PublishAck, PipelineError> {
        let Ack { subject, answer, sent, mut loss, deadline, stream, expected } = self;
        let answer = tokio::select! {
            biased;
            answer = answer.into_future() => answer,
            () = loss.wait() => return Err(PipelineError::AckTimeout { deadline: sent.elapsed() }),
            denial = stream.links.denial(Role::Publish, &subject, sent) => return Err(denial),
            () = tokio::time::sleep_until(sent + deadline) => return Err(PipelineError::AckTimeout { deadline }),
        };
        match answer {
            Ok(ack) => Ok(PublishAck { sequence: ack.sequence, duplicate: ack.duplicate }),
            Err(error) => Err(refusal(&error, &stream, sent.elapsed(), expected).await),
        }
    }
}

async fn refusal(
    error: &PublishError,
    stream: &LogStream,
    waited: Duration,
    expected: Option<ExpectedEnd>,
) -> PipelineError {
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
                Some(answer) if WRONG_LAST.contains(&answer.error_code()) => {
                    PipelineError::WrongLastSequence {
                        name: stream.name.to_string(),
                        expected: expected.map_or(0, ExpectedEnd::sequence),
                        last_sequence: match expected {
                            // It may be that of the subject.
                            Some(ExpectedEnd::Own(_)) => None,
                            _ => last_sequence(answer),
                        },
                    }
                }
                Some(answer) => error::from_api(answer, &stream.name),
                None => PipelineError::Refused { reason: error.to_string() },
            }
        }
    }
}

/// The last sequence that the answer names. The protocol has it only in the text `wrong last sequence: 17`.
fn last_sequence(answer: &jetstream::Error) -> Option<u64> {
    if answer.error_code() != ErrorCode::STREAM_WRONG_LAST_SEQUENCE {
        return None;
    }
    let text = answer.to_string();
    let (_, number) = text.split_once("wrong last sequence: ")?;
    number.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_sequence_is_read_from_what_the_server_says() {
        let answer = |code: u64, description: &str| {
            let json = serde_json::json!({ "code": 400, "err_code": code, "description": description });
            serde_json::from_value::<jetstream::Error>(json).expect("an error")
        };
        assert_eq!(last_sequence(&answer(10071, "wrong last sequence: 17")), Some(17));
        assert_eq!(last_sequence(&answer(10071, "wrong last sequence")), None);
        assert_eq!(last_sequence(&answer(10164, "wrong last sequence")), None);
    }
}
