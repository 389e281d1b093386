use std::{iter::once, sync::Arc, time::Duration};

use archipelago_pipeline::{
    Appending, ExpectedEnd, Outgoing, PendingAck, PipelineError, PublishAck, check_message_id, check_name,
    parts::WholeNames,
};
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::{
    ack::Ack,
    parts::{PARTS_IN_FLIGHT_MAX, Sizes, headers_of},
    stream::LogStream,
};

/// The way out.
#[derive(Debug)]
pub(crate) struct Publisher {
    stream: LogStream,
    in_flight: Arc<Semaphore>,
    in_flight_max: usize,
    ack_timeout: Duration,
    names: WholeNames,
}

impl Publisher {
    /// `name` is that of no other publisher.
    pub(crate) fn new(
        stream: LogStream,
        in_flight_max: usize,
        ack_timeout: Duration,
        name: &str,
    ) -> Publisher {
        let (in_flight, names) = (Arc::new(Semaphore::new(in_flight_max)), WholeNames::new(name));
        Publisher { stream, in_flight, in_flight_max, ack_timeout, names }
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

    /// Sends what fits only behind the end that is expected. Of several messages, each expects the one before it.
    pub(crate) async fn append(
        &self,
        origin: &str,
        payload: Bytes,
        expected: ExpectedEnd,
        sizes: Sizes,
    ) -> Result<Appending, PipelineError> {
        check_name(origin)?;
        sizes.check(&payload)?;
        let permit = self.in_flight.clone().acquire_owned().await.expect("the semaphore is never closed");
        let subject = format!("{}{origin}", self.stream.subject_prefix);
        let expected_last = expected.sequence();
        let expected = match expected {
            // The one that is under way is tied, and whoever sent both counts neither as done if that one is refused.
            ExpectedEnd::Own(_) if !self.is_alone() => ExpectedEnd::At(expected_last),
            expected => expected,
        };
        if !sizes.splits(payload.len()) {
            let outgoing = PublishMessage::build().payload(payload);
            let ack = self.send_behind(expected, subject, outgoing).await?.wait();
            let ack = keeping(permit, ack).boxed();
            return Ok(Appending { sequence: expected_last.saturating_add(1), ack });
        }
        let parts: Vec<_> = sizes.split(&self.names.next_name(), &payload).collect();
        let sequence = expected_last.saturating_add(parts.len() as u64);
        let (mut under_way, mut acks) = (FuturesUnordered::new(), Vec::new());
        let sent = Instant::now();
        let sending = async {
            let next_parts = (expected_last.saturating_add(1)..).map(ExpectedEnd::At);
            for ((part, payload), expected) in parts.into_iter().zip(once(expected).chain(next_parts)) {
                while under_way.len() >= PARTS_IN_FLIGHT_MAX {
                    acks.push(under_way.next().await.expect("some are under way")?);
                }
                let outgoing = PublishMessage::build().headers(headers_of(&part)).payload(payload);
                let ack = self.send_behind(expected, subject.clone(), outgoing).await?;
                under_way.push(ack.wait());
            }
            Ok(())
        };
        let mut failure = match sending.await {
            Ok(()) => None,
            // The first parts may be there: the log ends elsewhere.
            Err(PipelineError::Unavailable { .. }) if !acks.is_empty() || !under_way.is_empty() => {
                Some(PipelineError::AckTimeout { deadline: sent.elapsed() })
            }
            Err(error) => Some(error),
        };
        let answer = async move {
            // When its failure is told, nothing of it is under way any more that could still move the end of the log.
            while let Some(answer) = under_way.next().await {
                match answer {
                    Ok(ack) => acks.push(ack),
                    Err(error) => {
                        failure.get_or_insert(error);
                    }
                }
            }
            failure.map_or_else(|| Ok(PublishAck::of_parts(&acks)), Err)
        };
        Ok(Appending { sequence, ack: keeping(permit, answer).boxed() })
    }

    /// Sends a message that fits only behind the end that is expected.
    ///
    /// One's own is known by its subject: the last message of the stream is also the last on that. A header that names the id
    /// of the last message would say more, but in a cluster a server looks at it only when the message is agreed upon:
    /// pipelined ones behind it then get no answer, and the stream is reset.
    async fn send_behind(
        &self,
        expected: ExpectedEnd,
        subject: String,
        outgoing: PublishMessage,
    ) -> Result<Ack, PipelineError> {
        let outgoing = outgoing.expected_last_sequence(expected.sequence());
        let outgoing = match expected {
            ExpectedEnd::At(_) => outgoing,
            ExpectedEnd::Own(sequence) => outgoing.expected_last_subject_sequence(sequence),
        };
        Ok(self.send(subject, outgoing).await?.expecting(expected))
    }

    /// Whether nothing is under way but the message that has its permit. In a cluster, servers know the last message of a
    /// subject only once it is agreed upon, and refuse to look at one with another under way.
    fn is_alone(&self) -> bool {
        self.in_flight.available_permits() + 1 >= self.in_flight_max
    }

    /// Hands one message to the connection.
    async fn send(&self, subject: String, outgoing: PublishMessage) -> Result<Ack, PipelineError> {
        Ack::send(&self.stream, subject, outgoing, self.ack_timeout).await
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
