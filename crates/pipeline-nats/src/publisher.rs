use std::{sync::Arc, time::Duration};

use archipelago_pipeline::{
    AppendChain, Appending, ChainLink, Outgoing, PendingAck, PipelineError, PublishAck, check_message_id,
    check_name, parts::whole_after,
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
    ack_timeout: Duration,
    chain: Arc<AppendChain>,
}

impl Publisher {
    /// `name` is that of no other publisher.
    pub(crate) fn new(
        stream: LogStream,
        in_flight_max: usize,
        ack_timeout: Duration,
        name: &str,
    ) -> Publisher {
        let in_flight = Arc::new(Semaphore::new(in_flight_max));
        Publisher { stream, in_flight, ack_timeout, chain: Arc::new(AppendChain::new(format!("{name}/"))) }
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

    /// Sends what fits only behind `expected_last`. Of several messages, each expects the one before it.
    pub(crate) async fn append(
        &self,
        origin: &str,
        payload: Bytes,
        expected_last: u64,
        sizes: Sizes,
    ) -> Result<Appending, PipelineError> {
        check_name(origin)?;
        sizes.check(&payload)?;
        let permit = self.in_flight.clone().acquire_owned().await.expect("the semaphore is never closed");
        let subject = format!("{}{origin}", self.stream.subject_prefix);
        if !sizes.splits(payload.len()) {
            let outgoing = PublishMessage::build().payload(payload);
            let (ack, chain) = self.send_behind(expected_last, subject, outgoing).await?;
            let ack = keeping(permit, self.chained(chain, ack.wait()));
            return Ok(Appending { sequence: expected_last.saturating_add(1), ack: ack.boxed() });
        }
        let parts: Vec<_> = sizes.split(&whole_after(expected_last), &payload).collect();
        let sequence = expected_last.saturating_add(parts.len() as u64);
        let (mut under_way, mut acks, mut current) = (FuturesUnordered::new(), Vec::new(), 0);
        let sent = Instant::now();
        let sending = async {
            for ((part, payload), expected_last) in parts.into_iter().zip(expected_last..) {
                while under_way.len() >= PARTS_IN_FLIGHT_MAX {
                    acks.push(under_way.next().await.expect("some are under way")?);
                }
                let outgoing = PublishMessage::build().headers(headers_of(&part)).payload(payload);
                let (ack, chain) = self.send_behind(expected_last, subject.clone(), outgoing).await?;
                current = chain;
                under_way.push(ack.wait());
            }
            Ok(())
        };
        let answer = match sending.await {
            Ok(()) => async move {
                while let Some(ack) = under_way.next().await {
                    acks.push(ack?);
                }
                Ok(PublishAck::of_parts(&acks))
            }
            .boxed(),
            // The first parts may be there: the log ends elsewhere.
            Err(PipelineError::Unavailable { .. }) if !acks.is_empty() || !under_way.is_empty() => {
                let lost = PipelineError::AckTimeout { deadline: sent.elapsed() };
                std::future::ready(Err(lost)).boxed()
            }
            Err(error) => std::future::ready(Err(error)).boxed(),
        };
        Ok(Appending { sequence, ack: keeping(permit, self.chained(current, answer)).boxed() })
    }

    /// Sends a message that fits only behind `expected_last`, and only behind the one that was sent there, if that was
    /// the last. Tells which chain it is part of.
    async fn send_behind(
        &self,
        expected_last: u64,
        subject: String,
        outgoing: PublishMessage,
    ) -> Result<(Ack, u64), PipelineError> {
        let ChainLink { id, on_top_of, chain } = self.chain.link(expected_last);
        let outgoing = outgoing.message_id(id).expected_last_sequence(expected_last);
        let outgoing = match on_top_of {
            Some(id) => outgoing.expected_last_message_id(id),
            None => outgoing,
        };
        match self.send(subject, outgoing).await {
            Ok(ack) => Ok((ack.expecting(expected_last), chain)),
            Err(error) => {
                self.chain.break_off(chain);
                Err(error)
            }
        }
    }

    /// The answer to a message of a chain, which ends with its failure.
    fn chained(
        &self,
        chain: u64,
        answer: impl Future<Output = Result<PublishAck, PipelineError>> + Send + 'static,
    ) -> PendingAck {
        let chains = self.chain.clone();
        async move {
            let answer = answer.await;
            if answer.is_err() {
                chains.break_off(chain);
            }
            answer
        }
        .boxed()
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
