//! Brings the messages of the log, from a place on, whatever becomes of the connection and of the log.

use std::{sync::Arc, time::Duration};

use archipelago_pipeline::{Incoming, LogId, LogState, PipelineError, PipelineStatus};
use rand::{RngExt, rngs::StdRng};
use tokio::{sync::mpsc, task::AbortHandle, time::Instant};

use super::{shared::Shared, state::Place};

/// How many messages are read ahead.
const MESSAGES_MAX: usize = 64;
/// How often a log is looked at for having lost something.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// For how long a log may have more than it delivers before it is subscribed to anew.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks for a log that does not exist.
const MISSING_PAUSE: Duration = Duration::from_millis(100);

/// What is brought.
#[derive(Debug)]
pub(super) enum Pulled {
    /// From here on messages are of this log, behind `after`.
    Opened { log: LogState, after: u64 },
    /// The next message.
    Message(Incoming),
    /// The log cannot be read now, for a person to read. It is tried again.
    Down(String),
}

/// A running reading. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Puller {
    pulled: mpsc::Receiver<Pulled>,
    task: AbortHandle,
}

impl Drop for Puller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Puller {
    /// Begins at `place`, or at the beginning of the log if that is not a place in it.
    pub(super) fn start(shared: &Arc<Shared>, place: Option<Place>, random: StdRng) -> Puller {
        let (sender, pulled) = mpsc::channel(MESSAGES_MAX);
        let task = Task { shared: shared.clone(), place, sender, random, failures: 0 };
        Puller { pulled, task: shared.tasks.spawn(task.run()).abort_handle() }
    }

    /// What comes next. Cancel safe.
    pub(super) async fn next(&mut self) -> Pulled {
        match self.pulled.recv().await {
            Some(pulled) => pulled,
            None => std::future::pending().await,
        }
    }

    pub(super) fn next_now(&mut self) -> Option<Pulled> {
        self.pulled.try_recv().ok()
    }
}

struct Task {
    shared: Arc<Shared>,
    place: Option<Place>,
    sender: mpsc::Sender<Pulled>,
    random: StdRng,
    failures: u32,
}

impl Task {
    async fn run(mut self) {
        loop {
            match self.pull().await {
                Ok(()) => return,
                // Whoever leads puts back what it held. A mirror has nobody else who makes it.
                Err(PipelineError::LogMissing { .. }) => {
                    if let Err(error) = self.shared.open_log().await {
                        if self.sender.send(Pulled::Down(error.to_string())).await.is_err() {
                            return;
                        }
                        tokio::time::sleep(MISSING_PAUSE).await;
                    }
                }
                Err(error) if error.is_loss() => {}
                Err(error) => {
                    if self.sender.send(Pulled::Down(error.to_string())).await.is_err() {
                        return;
                    }
                    self.back_off().await;
                }
            }
        }
    }

    /// Longer after each failure; but a connection that comes back is used at once.
    async fn back_off(&mut self) {
        let options = &self.shared.options;
        let ceiling =
            options.reconnect_base.saturating_mul(1 << self.failures.min(16)).min(options.reconnect_cap);
        self.failures += 1;
        let wait = ceiling.mul_f64(self.random.random_range(0.5..=1.0));
        let mut status = self.shared.pipeline.status();
        if *status.borrow_and_update() == PipelineStatus::Up {
            tokio::time::sleep(wait).await;
            return;
        }
        let up = status.wait_for(|status| *status == PipelineStatus::Up);
        let _ = tokio::time::timeout(wait, up).await;
    }

    /// Reads one log until it is no longer what it was. Returns once nobody takes what is brought.
    async fn pull(&mut self) -> Result<(), PipelineError> {
        let state = self.shared.pipeline.state().await?;
        let after = self.start_in(&state).await?;
        let mut subscription = self.shared.pipeline.subscribe(after).await?;
        // After the subscription, so that no replacement of the log slips in between.
        let state = same_log(&state.id, self.shared.pipeline.state().await?)?;
        let log = state.id.clone();
        if self.sender.send(Pulled::Opened { log: state, after }).await.is_err() {
            return Ok(());
        }
        self.place = Some(Place { log: log.clone(), sequence: after });
        self.failures = 0;
        let mut last = after;
        let mut behind_since = None;
        let mut watch = tokio::time::interval(WATCH_INTERVAL);
        watch.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.sender.closed() => return Ok(()),
                message = subscription.next() => {
                    let message = message?;
                    if message.sequence <= last {
                        continue;
                    }
                    (last, behind_since) = (message.sequence, None);
                    self.place = Some(Place { log: log.clone(), sequence: last });
                    if self.sender.send(Pulled::Message(message)).await.is_err() {
                        return Ok(());
                    }
                }
                _ = watch.tick() => {
                    let state = match self.shared.pipeline.state().await {
                        Ok(state) => same_log(&log, state)?,
                        Err(error) if error.is_retryable() => continue,
                        Err(error) => return Err(error),
                    };
                    if state.last_sequence < last {
                        let name = log.name;
                        let last_sequence = state.last_sequence;
                        return Err(PipelineError::LogRegressed { name, after: last, last_sequence });
                    }
                    if state.last_sequence == last {
                        behind_since = None;
                    } else if behind_since.get_or_insert_with(Instant::now).elapsed() >= STALL_TIMEOUT {
                        return Err(PipelineError::Refused { reason: "nothing was delivered".into() });
                    }
                }
            }
        }
    }

    /// After which message of this log reading begins: before everything that may be new. What is delivered again does no
    /// harm.
    async fn start_in(&self, state: &LogState) -> Result<u64, PipelineError> {
        let beginning = state.first_sequence - 1;
        let Some(place) = &self.place else { return Ok(beginning) };
        if place.log == state.id
            || place.sequence <= state.last_sequence && is_mirrored(&place.log, &state.id)
        {
            return Ok(match place.sequence {
                sequence if sequence <= state.last_sequence => sequence.max(beginning),
                // It lost its tail: the last message that is left tells how far it goes.
                _ => state.last_sequence.saturating_sub(1).max(beginning),
            });
        }
        Ok(beginning)
    }
}

/// A mirror has the sequences of its origin, whatever it is called; two logs of one name are different logs.
fn is_mirrored(one: &LogId, other: &LogId) -> bool {
    one.name != other.name
}

fn same_log(expected: &LogId, found: LogState) -> Result<LogState, PipelineError> {
    if found.id == *expected {
        return Ok(found);
    }
    Err(PipelineError::LogReplaced { expected: expected.clone(), found: found.id })
}
