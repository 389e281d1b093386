use std::time::{Duration, SystemTime};

use archipelago_clock::Dot;
use rand::RngExt;
use tokio::time::Instant;

use super::{
    Cause, Checkpoint, DeadLetter, DeadLetterError, DeadLetterId, DeliveryFailure, LoggedEvent, NextStep,
    SubscriberError, SubscriberNotice,
    delivery::{Delivery, Halt},
};

/// The longest wait before a handler is called again.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(30);

/// What became of events that were delivered.
pub(super) enum Delivered {
    /// They are handled, or put aside.
    Done,
    /// They are to be delivered each by itself.
    OneByOne,
}

/// Calling the handler, and what follows if it fails.
impl Delivery {
    /// Calls the handler until it succeeds or its retries are used up.
    pub(super) async fn deliver(
        &mut self,
        events: &[LoggedEvent],
        next: &Checkpoint,
    ) -> Result<Delivered, Halt> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let Err(reason) = self.call(events.to_vec(), attempt, next.clone()).await else {
                self.shared.count(|metrics| metrics.events_handled += events.len() as u64);
                return Ok(Delivered::Done);
            };
            if attempt <= self.options.max_retries {
                let after = self.retry_delay(attempt);
                self.failed(events, attempt, reason, NextStep::Retry { after });
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => return Err(Halt::Closed),
                    () = tokio::time::sleep(after) => {}
                }
                continue;
            }
            if events.len() > 1 {
                self.failed(events, attempt, reason, NextStep::OneByOne);
                return Ok(Delivered::OneByOne);
            }
            return self.put_aside(&events[0], next, attempt, reason).await;
        }
    }

    async fn put_aside(
        &mut self,
        event: &LoggedEvent,
        next: &Checkpoint,
        attempts: u32,
        reason: String,
    ) -> Result<Delivered, Halt> {
        let (dot, sequence) = (event.event.dot.clone(), event.sequence);
        let Some(letters) = self.letters.clone() else {
            self.failed(std::slice::from_ref(event), attempts, reason.clone(), NextStep::Stop);
            return Err(SubscriberError::HandlerFailed { event: dot, sequence, attempts, reason }.into());
        };
        let dead_letters = self.shared.metrics().dead_letters;
        if dead_letters >= self.options.dead_letters_max {
            self.failed(std::slice::from_ref(event), attempts, reason, NextStep::Stop);
            return Err(SubscriberError::DeadLettersFull { dead_letters }.into());
        }
        self.failed(std::slice::from_ref(event), attempts, reason.clone(), NextStep::DeadLetter);
        let letter = DeadLetter {
            id: DeadLetterId { sequence, event: dot.clone() },
            event: event.event.clone(),
            log: next.log().clone(),
            stored_at: event.stored_at,
            attempts,
            reason: reason.clone(),
            failed_at: SystemTime::now(),
        };
        let put = move || match letters.find(&letter.id) {
            // Put aside before a crash that kept the checkpoint from moving.
            Ok(_) => letters.put(&letter).map(|()| 0),
            Err(DeadLetterError::Unknown { .. }) => letters.put(&letter).map(|()| 1),
            Err(error) => Err(error),
        };
        let failed = |reason: String| SubscriberError::DeadLetterStore { reason };
        let new = tokio::task::spawn_blocking(put).await.map_err(|error| failed(error.to_string()))?;
        let new = new.map_err(|error| failed(error.to_string()))?;
        self.shared.count(|metrics| {
            metrics.dead_letters += new;
            metrics.events_dead_lettered += 1;
        });
        self.shared.notify(SubscriberNotice::DeadLettered { event: dot, reason });
        Ok(Delivered::Done)
    }

    /// Calls the handler once, and tells if it takes suspiciously long.
    async fn call(&mut self, events: Vec<LoggedEvent>, attempt: u32, next: Checkpoint) -> Result<(), String> {
        let (began, event) = (Instant::now(), events[0].event.dot.clone());
        let calling = self.handler.call(events, attempt, next);
        tokio::pin!(calling);
        loop {
            tokio::select! {
                biased;
                outcome = &mut calling => return outcome,
                () = tokio::time::sleep(self.options.stall_timeout) => {
                    let busy = began.elapsed();
                    tracing::warn!(%event, ?busy, "the handler is busy for a long time");
                    self.shared.notify(SubscriberNotice::HandlerStalled { event: event.clone(), busy });
                }
            }
        }
    }

    fn failed(&mut self, events: &[LoggedEvent], attempt: u32, reason: String, next: NextStep) {
        let sequence = events[0].sequence;
        tracing::warn!(sequence, attempt, %reason, ?next, "the handler failed");
        self.shared.count(|metrics| metrics.failures += 1);
        let events: Vec<Dot> = events.iter().map(|event| event.event.dot.clone()).collect();
        if let Some(told) = &mut self.on_error {
            told(&DeliveryFailure { events, sequence, attempt, reason, next });
        }
    }

    /// Twice as long after each failure, with jitter.
    pub(super) fn retry_delay(&self, failures: u32) -> Duration {
        let doubled = self.options.retry_delay.saturating_mul(1 << (failures - 1).min(20));
        let share: f64 = rand::rng().random_range(0.5..=1.0);
        doubled.min(RETRY_DELAY_MAX).mul_f64(share)
    }

    pub(super) async fn retry(&mut self, id: DeadLetterId) -> Result<(), DeadLetterError> {
        let letters = self.letters.clone().ok_or(DeadLetterError::NoStore)?;
        let checkpoint = self.progress.clone().ok_or(DeadLetterError::Stopped)?;
        let store = |error: tokio::task::JoinError| DeadLetterError::Store { reason: error.to_string() };
        let found = tokio::task::spawn_blocking({
            let (letters, id) = (letters.clone(), id.clone());
            move || letters.find(&id)
        });
        let mut letter = found.await.map_err(store)??;
        letter.attempts = letter.attempts.saturating_add(1);
        let event = LoggedEvent {
            event: letter.event.clone(),
            sequence: id.sequence,
            stored_at: letter.stored_at,
            cause: Cause::DeadLetter,
        };
        match self.call(vec![event], letter.attempts, checkpoint).await {
            Ok(()) => {
                tokio::task::spawn_blocking(move || letters.remove(&id)).await.map_err(store)??;
                self.shared.count(|metrics| {
                    metrics.dead_letters = metrics.dead_letters.saturating_sub(1);
                    metrics.events_handled += 1;
                });
                Ok(())
            }
            Err(reason) => {
                self.shared.count(|metrics| metrics.failures += 1);
                (letter.reason, letter.failed_at) = (reason.clone(), SystemTime::now());
                tokio::task::spawn_blocking(move || letters.put(&letter)).await.map_err(store)??;
                Err(DeadLetterError::Failed { reason })
            }
        }
    }
}
