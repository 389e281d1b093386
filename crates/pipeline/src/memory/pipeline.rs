use std::{
    sync::{Arc, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};

use super::{
    broker::{BrokerState, Shared},
    lease::MemoryLease,
    log::Entry,
    subscription::MemorySubscription,
};
use crate::{
    Appending, ExpectedEnd, Fault, Lease, Listener, LogState, Outgoing, PendingAck, Pipeline, PipelineError,
    PipelineStatus, PublishAck, Subscription, check_message_id, check_name,
    parts::{Part, WholeNames, split},
};

/// One replica's handle on one log of a [`MemoryBroker`](crate::MemoryBroker). Clones share the limit of outstanding
/// acknowledgements.
#[derive(Clone, Debug)]
pub struct MemoryPipeline {
    shared: Arc<Shared>,
    namespace: Arc<str>,
    in_flight: Arc<Semaphore>,
    names: Arc<WholeNames>,
}

impl MemoryPipeline {
    pub(super) fn new(shared: Arc<Shared>, namespace: &str) -> MemoryPipeline {
        let in_flight = Arc::new(Semaphore::new(shared.config.in_flight_max));
        let names = Arc::new(WholeNames::new(shared.lock().count_handle()));
        MemoryPipeline { shared, namespace: namespace.into(), in_flight, names }
    }

    /// The broker, if it runs.
    fn running(&self) -> Result<MutexGuard<'_, BrokerState>, PipelineError> {
        let state = self.shared.lock();
        if state.running { Ok(state) } else { Err(stopped()) }
    }

    fn check_size(&self, payload: &Bytes) -> Result<(), PipelineError> {
        let (bytes, bytes_max) = (payload.len(), self.shared.config.payload_bytes_max);
        if bytes > bytes_max { Err(PipelineError::TooLarge { bytes, bytes_max }) } else { Ok(()) }
    }

    /// Whether nothing is under way but the message that has its permit.
    fn is_alone(&self) -> bool {
        self.in_flight.available_permits() + 1 >= self.shared.config.in_flight_max
    }

    fn missing(&self) -> PipelineError {
        PipelineError::LogMissing { name: self.namespace.to_string() }
    }

    /// Appends as the fault allows; `None` is an acknowledgement that never comes.
    fn store(&self, message: &Entry) -> Result<Option<PublishAck>, PipelineError> {
        let stored_at = self.shared.now();
        let window = self.shared.config.duplicate_window;
        let mut state = self.running()?;
        let fault = state.draw_fault();
        let slot = state.slot(&self.namespace);
        let log = slot.log.as_mut().ok_or_else(|| self.missing())?;
        let ack = match fault {
            Some(Fault::Unavailable) => {
                return Err(PipelineError::Unavailable { reason: "an injected fault".to_owned() });
            }
            Some(Fault::LoseMessage) => return Ok(None),
            Some(Fault::LoseAck) => {
                log.append(message, stored_at, window);
                None
            }
            Some(Fault::StoreTwice) => {
                log.append(message, stored_at, window);
                Some(log.append_regardless(message, stored_at))
            }
            None => Some(log.append(message, stored_at, window)),
        };
        slot.changed.send_replace(());
        Ok(ack)
    }

    /// The same, if the log ends as expected.
    fn store_after(
        &self,
        message: &Entry,
        expected: ExpectedEnd,
    ) -> Result<Option<PublishAck>, PipelineError> {
        let stored_at = self.shared.now();
        let mut state = self.running()?;
        let fault = state.draw_fault();
        let slot = state.slot(&self.namespace);
        let log = slot.log.as_mut().ok_or_else(|| self.missing())?;
        match fault {
            Some(Fault::Unavailable) => {
                return Err(PipelineError::Unavailable { reason: "an injected fault".to_owned() });
            }
            Some(Fault::LoseMessage) => return Ok(None),
            // The second of two does not find the end that it expects.
            Some(Fault::LoseAck | Fault::StoreTwice) | None => {}
        }
        let stored = log.append_after(message, expected, stored_at);
        slot.changed.send_replace(());
        match (stored, fault) {
            (_, Some(Fault::LoseAck)) => Ok(None),
            (Ok(ack), _) => Ok(Some(ack)),
            (Err(last_sequence), _) => Err(PipelineError::WrongLastSequence {
                name: self.namespace.to_string(),
                expected: expected.sequence(),
                last_sequence: Some(last_sequence),
            }),
        }
    }

    /// The message as the broker takes it: whole, or in parts.
    fn entries(&self, message: Outgoing) -> Vec<Entry> {
        let Outgoing { origin, message_id, payload } = message;
        let message_bytes_max = self.shared.config.message_bytes_max.max(1);
        if payload.len() <= message_bytes_max {
            return vec![Entry { origin, message_id, payload, part: None }];
        }
        let parts = split(&message_id, payload.len(), message_bytes_max).into_iter();
        let entry = |(part, place): (Part, _)| Entry {
            origin: origin.clone(),
            message_id: part.message_id(),
            payload: payload.slice(place),
            part: Some(part),
        };
        parts.map(entry).collect()
    }

    fn lost_ack(
        &self,
        permit: OwnedSemaphorePermit,
    ) -> BoxFuture<'static, Result<PublishAck, PipelineError>> {
        let deadline = self.shared.config.ack_timeout;
        let at = Instant::now() + deadline;
        async move {
            tokio::time::sleep_until(at).await;
            drop(permit);
            Err(PipelineError::AckTimeout { deadline })
        }
        .boxed()
    }
}

/// An answer, which the message takes a place among those in flight until it is looked at.
fn keeping(permit: OwnedSemaphorePermit, answer: Result<PublishAck, PipelineError>) -> PendingAck {
    async move {
        drop(permit);
        answer
    }
    .boxed()
}

fn stopped() -> PipelineError {
    PipelineError::Unavailable { reason: Shared::STOPPED.to_owned() }
}

#[async_trait]
impl Pipeline for MemoryPipeline {
    async fn open_above(&self, sequence: u64) -> Result<LogState, PipelineError> {
        check_name(&self.namespace)?;
        let now = self.shared.now();
        let mut state = self.running()?;
        if state.slot(&self.namespace).log.is_none() {
            state.create_log(&self.namespace, sequence, now);
        }
        state.slot(&self.namespace).log.as_ref().map(|log| log.state()).ok_or_else(|| self.missing())
    }

    async fn state(&self) -> Result<LogState, PipelineError> {
        let mut state = self.running()?;
        state.slot(&self.namespace).log.as_ref().map(|log| log.state()).ok_or_else(|| self.missing())
    }

    async fn publish(&self, message: Outgoing) -> Result<PendingAck, PipelineError> {
        check_name(&message.origin)?;
        check_message_id(&message.message_id)?;
        self.check_size(&message.payload)?;
        let permit = self.in_flight.clone().acquire_owned().await.expect("the semaphore is never closed");
        let mut acks = Vec::new();
        for entry in self.entries(message) {
            if !acks.is_empty() {
                // What others publish may stand between two parts, and the broker may go down there.
                tokio::task::yield_now().await;
            }
            acks.push(self.store(&entry)?);
        }
        Ok(match acks.into_iter().collect::<Option<Vec<_>>>() {
            Some(acks) => keeping(permit, Ok(PublishAck::of_parts(&acks))),
            None => self.lost_ack(permit),
        })
    }

    async fn append(
        &self,
        origin: &str,
        payload: Bytes,
        expected: ExpectedEnd,
    ) -> Result<Appending, PipelineError> {
        check_name(origin)?;
        self.check_size(&payload)?;
        let permit = self.in_flight.clone().acquire_owned().await.expect("the semaphore is never closed");
        let message_id = self.names.next_name();
        let entries = self.entries(Outgoing { origin: origin.into(), message_id, payload });
        let sequence = expected.sequence().saturating_add(entries.len() as u64);
        let mut answers = Vec::new();
        let expected = match expected {
            // As in a cluster, which knows whose a message is once it is agreed upon.
            ExpectedEnd::Own(sequence) if !self.is_alone() => ExpectedEnd::At(sequence),
            expected => expected,
        };
        let next_parts = (expected.sequence().saturating_add(1)..).map(ExpectedEnd::At);
        for (entry, expected) in entries.iter().zip(std::iter::once(expected).chain(next_parts)) {
            if !answers.is_empty() {
                // What others append may stand between two parts, and the broker may go down there.
                tokio::task::yield_now().await;
            }
            match self.store_after(entry, expected) {
                Ok(answer) => answers.push(answer),
                // It is the broker's answer, and comes as such.
                Err(error @ PipelineError::WrongLastSequence { .. }) => {
                    return Ok(Appending { sequence, ack: keeping(permit, Err(error)) });
                }
                // The first parts may be there: the log ends elsewhere.
                Err(PipelineError::Unavailable { .. }) if !answers.is_empty() => {
                    return Ok(Appending { sequence, ack: self.lost_ack(permit) });
                }
                Err(error) => return Err(error),
            }
        }
        let ack = match answers.into_iter().collect::<Option<Vec<_>>>() {
            Some(acks) => keeping(permit, Ok(PublishAck::of_parts(&acks))),
            None => self.lost_ack(permit),
        };
        Ok(Appending { sequence, ack })
    }

    async fn lease(&self, ttl: Duration) -> Result<Arc<dyn Lease>, PipelineError> {
        check_name(&self.namespace)?;
        Ok(Arc::new(MemoryLease::open(self.shared.clone(), self.namespace.clone(), ttl)?))
    }

    async fn subscribe(&self, after: u64) -> Result<Box<dyn Subscription>, PipelineError> {
        let mut state = self.running()?;
        let slot = state.slot(&self.namespace);
        let log = slot.log.as_ref().ok_or_else(|| self.missing())?;
        if after > log.last_sequence() {
            return Err(PipelineError::LogRegressed {
                name: self.namespace.to_string(),
                after,
                last_sequence: log.last_sequence(),
            });
        }
        let id = log.id().clone();
        let changed = slot.changed.subscribe();
        drop(state);
        Ok(Box::new(MemorySubscription::new(self.shared.clone(), id, after, changed)))
    }

    async fn trim(&self, up_to: u64) -> Result<(), PipelineError> {
        let mut state = self.running()?;
        let slot = state.slot(&self.namespace);
        slot.log.as_mut().ok_or_else(|| self.missing())?.trim(up_to);
        slot.changed.send_replace(());
        Ok(())
    }

    async fn announce(&self, from: &str, payload: Bytes) -> Result<(), PipelineError> {
        check_name(from)?;
        self.check_size(&payload)?;
        self.running()?.slot(&self.namespace).listeners.announce(from, &payload);
        Ok(())
    }

    async fn ask(&self, to: &str, payload: Bytes, deadline: Duration) -> Result<Bytes, PipelineError> {
        check_name(to)?;
        self.check_size(&payload)?;
        let unanswered = || PipelineError::NoAnswer { name: to.to_owned(), deadline };
        let bytes_max = self.shared.config.payload_bytes_max;
        let answer = self.running()?.slot(&self.namespace).listeners.ask(to, payload, bytes_max);
        let answer = tokio::time::timeout(deadline, answer.ok_or_else(unanswered)?).await;
        answer.map_err(|_| unanswered())?.map_err(|_| unanswered())
    }

    async fn listen(&self, name: &str) -> Result<Box<dyn Listener>, PipelineError> {
        check_name(name)?;
        Ok(Box::new(self.running()?.slot(&self.namespace).listeners.listen(name)))
    }

    fn status(&self) -> watch::Receiver<PipelineStatus> {
        self.shared.status.subscribe()
    }

    fn payload_bytes_max(&self) -> Option<usize> {
        Some(self.shared.config.payload_bytes_max)
    }

    fn payload_bytes_good(&self) -> Option<usize> {
        let config = &self.shared.config;
        Some(config.message_bytes_max.clamp(1, config.payload_bytes_max.max(1)))
    }
}
