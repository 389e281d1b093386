use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};

use archipelago_clock::{Dot, VECTOR_ENTRIES_MAX};
use archipelago_pipeline::{LogState, Pipeline, PipelineError};
use archipelago_proto::{Event, Limits};
use futures::future::BoxFuture;
use rand::RngExt;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    Cause, Checkpoint, CheckpointMode, CheckpointStore, DeadLetter, DeadLetterError, DeadLetterId,
    DeliveryFailure, Gap, GapAction, LoggedEvent, NextStep, ReplayError, ReplayFrom, SubscriberError,
    SubscriberNotice, SubscriberStatus,
    dead_letter::DeadLetters,
    handler::{Handler, guarded},
    seek::first_since,
    shared::Shared,
    window::Window,
};
use crate::{
    backoff::Backoff,
    error::LogLost,
    log_reader::{Decoded, LogReader, Read, compare, decode},
};

/// The longest wait before a handler is called again.
const RETRY_DELAY_MAX: Duration = Duration::from_secs(30);

pub(super) type OnError = Box<dyn FnMut(&DeliveryFailure) + Send>;
pub(super) type OnGap = Box<dyn FnMut(Gap) -> BoxFuture<'static, GapAction> + Send>;

/// What the task of a subscriber is asked to do.
pub(super) enum Command {
    Replay { from: ReplayFrom, reply: oneshot::Sender<Result<u64, ReplayError>> },
    RetryDeadLetter { id: DeadLetterId, reply: oneshot::Sender<Result<(), DeadLetterError>> },
}

/// The options that the task needs; the builder says what they mean.
pub(super) struct Options {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) start_from: ReplayFrom,
    pub(super) dead_letters_max: u64,
    pub(super) batch_size: usize,
    pub(super) poll_interval: Duration,
    pub(super) checkpoint_mode: CheckpointMode,
    pub(super) checkpoint_gaps_max: usize,
    pub(super) max_retries: u32,
    pub(super) retry_delay: Duration,
    pub(super) stall_timeout: Duration,
    pub(super) limits: Limits,
}

/// The task of a subscriber: takes messages from the log, calls the handler, and moves the checkpoint.
pub(super) struct Delivery {
    pub(super) options: Options,
    pub(super) shared: Arc<Shared>,
    pub(super) pipeline: Arc<dyn Pipeline>,
    pub(super) handler: Handler,
    pub(super) on_error: Option<OnError>,
    pub(super) on_gap: OnGap,
    pub(super) checkpoints: Option<Arc<dyn CheckpointStore>>,
    pub(super) letters: Option<DeadLetters>,
    pub(super) stop: CancellationToken,
    pub(super) window: Window,
    /// What is handled; `None` before the log was seen for the first time.
    pub(super) progress: Option<Checkpoint>,
    /// What was read and is not handled: at most one message more than what fills a batch.
    pub(super) pending: VecDeque<Item>,
    /// How many events are in `pending`.
    pub(super) pending_events: usize,
    /// So many events are to be delivered each by itself, because the batch of them failed.
    pub(super) one_by_one: usize,
    /// A message was passed that a newer build can read: the checkpoint must not pass it.
    pub(super) held_back: bool,
    pub(super) unsaved: bool,
    pub(super) saved_at: Instant,
}

/// What a message of the log becomes: its events, and its end.
pub(super) enum Item {
    Event { event: Event, sequence: u64, stored_at: SystemTime },
    End { sequence: u64, stored_at: SystemTime },
}

/// Why reading comes to a halt.
enum Halt {
    /// The subscriber is closed.
    Closed,
    /// Reading goes on from the checkpoint, which was moved.
    Moved,
    Lost(LogLost),
    Failed(SubscriberError),
}

impl From<LogLost> for Halt {
    fn from(lost: LogLost) -> Self {
        Halt::Lost(lost)
    }
}

impl From<SubscriberError> for Halt {
    fn from(error: SubscriberError) -> Self {
        Halt::Failed(error)
    }
}

/// What became of events that were delivered.
enum Delivered {
    /// They are handled, or put aside.
    Done,
    /// They are to be delivered each by itself.
    OneByOne,
}

impl Delivery {
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let guard = EndGuard { shared: self.shared.clone(), stop: self.stop.clone() };
        let mut outcome = loop {
            match self.follow(&mut commands).await {
                Halt::Closed => break Ok(()),
                Halt::Moved => {}
                Halt::Lost(lost) => match self.gap(lost).await {
                    Ok(()) | Err(Halt::Moved) => {}
                    Err(Halt::Closed) => break Ok(()),
                    Err(Halt::Failed(error)) => break Err(error),
                    Err(Halt::Lost(lost)) => break Err(lost_for_good(&lost)),
                },
                Halt::Failed(error) => break Err(error),
            }
        };
        if let Err(error) = self.save().await {
            outcome = outcome.and(Err(error));
        }
        // Whoever waits for an answer learns that there is none before it sees the status.
        drop(commands);
        guard.shared.ended(outcome);
    }

    /// Reads and delivers until something else has to be done.
    async fn follow(&mut self, commands: &mut mpsc::Receiver<Command>) -> Halt {
        let mut reader = match self.open().await {
            Ok(reader) => reader,
            Err(halt) => return halt,
        };
        self.show_status();
        let mut lost = None;
        loop {
            let turn = match lost.take() {
                // What was read before is delivered first.
                Some(lost) if self.pending.is_empty() => return Halt::Lost(lost),
                Some(_) if self.stop.is_cancelled() => return Halt::Closed,
                Some(found) => {
                    lost = Some(found);
                    Ok(())
                }
                None if self.pending.is_empty() => self.wait(&mut reader, commands).await,
                None => self.look_up(commands).await,
            };
            let turn = match turn {
                Ok(()) => self.gather(&mut reader, lost.is_some()),
                Err(halt) => Err(halt),
            };
            match turn {
                Ok(()) => {}
                Err(Halt::Lost(found)) => lost = Some(found),
                Err(halt) => return halt,
            }
            if let Err(halt) = self.hand_over().await {
                return halt;
            }
            // Where everything is ready at once, others get a turn all the same.
            tokio::task::yield_now().await;
        }
    }

    /// The log at the checkpoint.
    async fn open(&mut self) -> Result<LogReader, Halt> {
        self.shared.status.send_replace(SubscriberStatus::Connecting);
        (self.pending_events, self.one_by_one, self.held_back) = (0, 0, false);
        self.pending.clear();
        let state = self.log_state(self.progress.is_none()).await?;
        let progress = match &self.progress {
            Some(progress) => progress.clone(),
            None => {
                let after = self.begin(&state).await?;
                let progress = Checkpoint::new(state.id.clone(), after);
                // Should the log be lost while the subscriber is away, that is noticed at the next start.
                self.proceed(progress.clone());
                self.save().await?;
                progress
            }
        };
        compare(progress.log(), progress.sequence(), &state)?;
        let mut reader = LogReader::new(self.pipeline.clone(), state, self.options.stall_timeout);
        tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(Halt::Closed),
            sought = reader.seek(progress.sequence(), progress.stored_at()) => sought?,
        }
        Ok(reader)
    }

    /// The state of the log, once it can be had. A log that is not there yet may be waited for.
    async fn log_state(&mut self, wait_for_log: bool) -> Result<LogState, Halt> {
        let mut backoff = Backoff::default();
        loop {
            let state = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Halt::Closed),
                state = self.pipeline.state() => state,
            };
            match state {
                Ok(state) => return Ok(state),
                Err(PipelineError::LogMissing { .. }) if wait_for_log => {}
                Err(error) if error.is_retryable() => {}
                Err(error) => return Err(LogLost::from(error).into()),
            }
            tokio::select! {
                () = self.stop.cancelled() => return Err(Halt::Closed),
                () = backoff.wait() => {}
            }
        }
    }

    /// The message after which a subscriber without a checkpoint begins.
    async fn begin(&mut self, state: &LogState) -> Result<u64, Halt> {
        let refused = |error| Halt::from(SubscriberError::StartFrom(error));
        let first = match self.options.start_from {
            // A log that no longer has its first message is a gap, which is noticed as any other.
            ReplayFrom::Start => 1,
            ReplayFrom::Sequence(asked) => {
                check_held(asked.max(1), state, state.last_sequence + 1).map_err(refused)?
            }
            ReplayFrom::Time(time) => tokio::select! {
                () = self.stop.cancelled() => return Err(Halt::Closed),
                first = first_since(&*self.pipeline, state, time) => first.map_err(refused)?,
            },
        };
        Ok(first - 1)
    }

    /// Waits for something to do: a message, a command, or a checkpoint that is to be saved.
    async fn wait(
        &mut self,
        reader: &mut LogReader,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Result<(), Halt> {
        let save_at = self.save_at();
        let save_time = async {
            match save_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(Halt::Closed),
            Some(command) = commands.recv() => self.obey(command).await,
            () = save_time => Ok(self.save().await?),
            read = reader.next() => {
                self.take_in(read?);
                Ok(())
            }
        }
    }

    /// Looks whether there is a command, without waiting.
    async fn look_up(&mut self, commands: &mut mpsc::Receiver<Command>) -> Result<(), Halt> {
        if self.stop.is_cancelled() {
            return Err(Halt::Closed);
        }
        match commands.try_recv() {
            Ok(command) => self.obey(command).await,
            Err(_) => Ok(()),
        }
    }

    /// Takes what is there already, until a batch is full or has waited for long enough.
    fn gather(&mut self, reader: &mut LogReader, at_end: bool) -> Result<(), Halt> {
        let events_max = self.handler.events_max(self.options.batch_size);
        let began = Instant::now();
        while !at_end && self.pending_events < events_max && began.elapsed() < self.options.poll_interval {
            match reader.next_now() {
                Some(read) => self.take_in(read?),
                None => break,
            }
        }
        Ok(())
    }

    fn take_in(&mut self, read: Read) {
        let incoming = match read {
            Read::Message(incoming) => incoming,
            Read::Trimmed { to } => return self.shared.notify(SubscriberNotice::Trimmed { to }),
            Read::Resubscribed { after, last_sequence } => {
                self.shared.count(|metrics| metrics.resubscribed += 1);
                return self.shared.notify(SubscriberNotice::Resubscribed { after, last_sequence });
            }
        };
        let (sequence, stored_at) = (incoming.sequence, incoming.stored_at);
        match decode(incoming, &self.options.namespace, &self.options.limits) {
            Decoded::Events(events) => {
                self.pending_events += events.len();
                self.pending.extend(events.into_iter().map(|event| Item::Event {
                    event,
                    sequence,
                    stored_at,
                }));
            }
            Decoded::Unusable { reason } => self.unreadable(sequence, reason, false),
            Decoded::Newer(error) => {
                self.held_back = true;
                self.unreadable(sequence, error.to_string(), true);
            }
        }
        if !self.held_back {
            self.pending.push_back(Item::End { sequence, stored_at });
        }
    }

    fn unreadable(&self, sequence: u64, reason: String, newer_build: bool) {
        tracing::warn!(sequence, %reason, newer_build, "a message of the log cannot be read");
        self.shared.count(|metrics| metrics.messages_unreadable += 1);
        self.shared.notify(SubscriberNotice::Unreadable { sequence, reason, newer_build });
    }

    /// Delivers the next events, as many as the handler takes at once, and moves the checkpoint.
    async fn hand_over(&mut self) -> Result<(), Halt> {
        let Some(mut next) = self.progress.clone() else { return Ok(()) };
        let events_max = match self.one_by_one {
            0 => self.handler.events_max(self.options.batch_size),
            _ => 1,
        };
        let (mut taken, mut events, mut roomless) = (Vec::new(), Vec::new(), Vec::new());
        let mut duplicates = 0;
        while let Some(item) = self.pending.front() {
            match item {
                Item::Event { .. } if events.len() == events_max => break,
                Item::Event { event, sequence, stored_at } => {
                    let (dot, sequence, stored_at) = (&event.dot, *sequence, *stored_at);
                    if next.is_done(dot, sequence) || roomless.contains(dot) || self.window.contains(dot) {
                        duplicates += 1;
                    } else {
                        let replayed = next.replays(sequence) && next.contains(dot);
                        let cause = if replayed { Cause::Replay } else { Cause::New };
                        let has_room = next.handle(dot, sequence, self.options.checkpoint_gaps_max);
                        let origins_max = VECTOR_ENTRIES_MAX;
                        if !has_room.map_err(|_| SubscriberError::TooManyOrigins { origins_max })? {
                            roomless.push(dot.clone());
                        }
                        events.push(LoggedEvent { event: event.clone(), sequence, stored_at, cause });
                    }
                }
                Item::End { sequence, stored_at } => {
                    next.finish(*sequence, Some(*stored_at));
                }
            }
            taken.extend(self.pending.pop_front());
        }
        if taken.is_empty() {
            return Ok(());
        }
        if !self.window.has_room_for(roomless.len()) {
            let events_max = self.window.events_max();
            return Err(SubscriberError::WindowFull { events_max }.into());
        }
        if !events.is_empty() && matches!(self.deliver(&events, &next).await?, Delivered::OneByOne) {
            self.one_by_one = events.len();
            taken.into_iter().rev().for_each(|item| self.pending.push_front(item));
            return Ok(());
        }
        self.one_by_one = self.one_by_one.saturating_sub(events.len());
        self.pending_events -= taken.iter().filter(|item| matches!(item, Item::Event { .. })).count();
        roomless.into_iter().for_each(|dot| self.window.insert(dot));
        self.shared.count(|metrics| {
            metrics.duplicates_skipped += duplicates;
            metrics.window_events = self.window.len() as u64;
        });
        self.proceed(next);
        let at_once = self.options.checkpoint_mode == CheckpointMode::Auto && !events.is_empty();
        if at_once || self.save_at().is_some_and(|at| at <= Instant::now()) {
            self.save().await?;
        }
        Ok(())
    }

    /// Calls the handler until it succeeds or its retries are used up.
    async fn deliver(&mut self, events: &[LoggedEvent], next: &Checkpoint) -> Result<Delivered, Halt> {
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
    fn retry_delay(&self, failures: u32) -> Duration {
        let doubled = self.options.retry_delay.saturating_mul(1 << (failures - 1).min(20));
        let share: f64 = rand::rng().random_range(0.5..=1.0);
        doubled.min(RETRY_DELAY_MAX).mul_f64(share)
    }

    async fn obey(&mut self, command: Command) -> Result<(), Halt> {
        match command {
            Command::Replay { from, reply } => {
                let stop = self.stop.clone();
                let replayed = tokio::select! {
                    biased;
                    () = stop.cancelled() => return Err(Halt::Closed),
                    replayed = self.replay(from) => replayed,
                };
                let begins = replayed.is_ok();
                let saved = if begins { self.save().await } else { Ok(()) };
                let _ = reply.send(replayed);
                saved?;
                if begins { Err(Halt::Moved) } else { Ok(()) }
            }
            Command::RetryDeadLetter { id, reply } => {
                let retried = self.retry(id).await;
                let _ = reply.send(retried);
                Ok(())
            }
        }
    }

    /// Moves the checkpoint back.
    async fn replay(&mut self, from: ReplayFrom) -> Result<u64, ReplayError> {
        let Some(mut progress) = self.progress.clone() else { return Err(ReplayError::Stopped) };
        let state = self.pipeline.state().await?;
        if state.id != *progress.log() {
            let (expected, found) = (progress.log().clone(), state.id);
            return Err(PipelineError::LogReplaced { expected, found }.into());
        }
        let next_sequence = progress.sequence() + 1;
        let first = match from {
            ReplayFrom::Start => state.first_sequence,
            ReplayFrom::Sequence(asked) => asked.max(1),
            ReplayFrom::Time(time) => first_since(&*self.pipeline, &state, time).await?.min(next_sequence),
        };
        let first = check_held(first, &state, next_sequence)?;
        progress.replay(first - 1, state.last_sequence);
        self.window.clear();
        self.proceed(progress);
        Ok(first)
    }

    async fn retry(&mut self, id: DeadLetterId) -> Result<(), DeadLetterError> {
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

    /// The log is not what it was: the application decides.
    async fn gap(&mut self, lost: LogLost) -> Result<(), Halt> {
        let Some(mut progress) = self.progress.clone().filter(|_| is_loss(&lost)) else {
            return Err(Halt::Lost(lost));
        };
        let reason = lost.to_string();
        tracing::error!(%reason, "the log is not what it was");
        self.shared.notify(SubscriberNotice::Gap { reason: reason.clone() });
        let gap = Gap { reason: reason.clone(), checkpoint: progress.clone() };
        let action = guarded(async { (self.on_gap)(gap).await }).await;
        if let Err(panic) = &action {
            tracing::error!(%panic, "on_gap failed");
        }
        if action != Ok(GapAction::Resume) {
            return Err(SubscriberError::LogLost { reason }.into());
        }
        let state = self.log_state(true).await?;
        let after = state.first_sequence - 1;
        progress.move_to(state.id, after);
        self.proceed(progress);
        self.shared.notify(SubscriberNotice::Resumed { after });
        Ok(self.save().await?)
    }

    fn proceed(&mut self, progress: Checkpoint) {
        let before = self.progress.as_ref().and_then(Checkpoint::replaying_until);
        self.shared.count(|metrics| metrics.sequence = progress.sequence());
        self.shared.checkpoint.send_replace(Some(progress.clone()));
        let replaying = progress.replaying_until();
        (self.progress, self.unsaved) = (Some(progress), true);
        if let (Some(until), None) = (before, replaying) {
            self.show_status();
            self.shared.notify(SubscriberNotice::ReplayFinished { until });
        }
    }

    fn show_status(&self) {
        let status = match self.progress.as_ref().and_then(Checkpoint::replaying_until) {
            Some(until) => SubscriberStatus::Replaying { until },
            None => SubscriberStatus::Following,
        };
        self.shared.status.send_replace(status);
    }

    /// When the checkpoint is to be saved at the latest.
    fn save_at(&self) -> Option<Instant> {
        let interval = match self.options.checkpoint_mode {
            CheckpointMode::Auto => self.options.poll_interval,
            CheckpointMode::Interval(interval) => interval,
            CheckpointMode::Manual => return None,
        };
        self.saved_at.checked_add(interval).filter(|_| self.unsaved)
    }

    /// Saves the checkpoint, unless that is up to the application or there is nothing new.
    async fn save(&mut self) -> Result<(), SubscriberError> {
        let manual = self.options.checkpoint_mode == CheckpointMode::Manual;
        let (Some(checkpoints), Some(progress)) = (&self.checkpoints, &self.progress) else { return Ok(()) };
        if manual || !self.unsaved {
            return Ok(());
        }
        let mut failures = 0;
        loop {
            let (checkpoints, name, checkpoint) =
                (checkpoints.clone(), self.options.name.clone(), progress.clone());
            let saved = tokio::task::spawn_blocking(move || checkpoints.save(&name, &checkpoint)).await;
            let reason = match saved {
                Ok(Ok(())) => break,
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            failures += 1;
            tracing::warn!(%reason, failures, "the checkpoint was not saved");
            if failures > self.options.max_retries {
                // Not once more at the end: it was tried often enough.
                self.unsaved = false;
                return Err(SubscriberError::CheckpointStore { action: "saved", reason });
            }
            tokio::time::sleep(self.retry_delay(failures)).await;
        }
        (self.unsaved, self.saved_at) = (false, Instant::now());
        self.shared.count(|metrics| metrics.checkpoints_saved += 1);
        Ok(())
    }
}

/// Says that the task ended, if it cannot say so itself.
struct EndGuard {
    shared: Arc<Shared>,
    stop: CancellationToken,
}

impl Drop for EndGuard {
    fn drop(&mut self) {
        let told = matches!(
            *self.shared.status.borrow(),
            SubscriberStatus::Stopped { .. } | SubscriberStatus::Closed
        );
        if !told {
            // Cut off by a close that did not want to wait for the handler any longer, or by nobody knows whom.
            let closed = self.stop.is_cancelled();
            self.shared.ended(if closed { Ok(()) } else { Err(SubscriberError::Aborted) });
        }
    }
}

fn check_held(asked: u64, state: &LogState, next_sequence: u64) -> Result<u64, ReplayError> {
    let first_sequence = state.first_sequence;
    if asked < first_sequence {
        return Err(ReplayError::Gone { asked, first_sequence });
    }
    if asked > next_sequence {
        return Err(ReplayError::Ahead { asked, next_sequence });
    }
    Ok(asked)
}

/// True if the log lost something; otherwise nobody may read it.
fn is_loss(lost: &LogLost) -> bool {
    match lost {
        LogLost::Gap { .. } => true,
        LogLost::Pipeline(error) => matches!(
            error,
            PipelineError::LogMissing { .. }
                | PipelineError::LogReplaced { .. }
                | PipelineError::LogRegressed { .. }
        ),
    }
}

fn lost_for_good(lost: &LogLost) -> SubscriberError {
    match lost {
        LogLost::Pipeline(error) if !is_loss(lost) => SubscriberError::Pipeline(error.clone()),
        lost => SubscriberError::LogLost { reason: lost.to_string() },
    }
}
