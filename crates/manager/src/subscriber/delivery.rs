use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};

use archipelago_clock::VECTOR_ENTRIES_MAX;
use archipelago_pipeline::Pipeline;
use archipelago_proto::{Event, Limits};
use futures::future::BoxFuture;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    Cause, Checkpoint, CheckpointMode, CheckpointStore, DeadLetterError, DeadLetterId, DeliveryFailure, Gap,
    GapAction, LoggedEvent, ReplayError, ReplayFrom, SubscriberError, SubscriberNotice, SubscriberStatus,
    attempt::Delivered, dead_letter::DeadLetters, handler::Handler, place::lost_for_good, shared::Shared,
    window::Window,
};
use crate::{
    error::LogLost,
    log_reader::{Decoded, LogReader, Read, decode},
};

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
pub(super) enum Halt {
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
            // It is the masters' business.
            Decoded::Floor(_) => {}
            Decoded::Part => {}
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
        if let Some(unreadable) = self.shared.unreadable.happened(&reason) {
            tracing::warn!(sequence, %reason, newer_build, unreadable, "a message of the log cannot be read");
        }
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

    pub(super) fn proceed(&mut self, progress: Checkpoint) {
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
    pub(super) async fn save(&mut self) -> Result<(), SubscriberError> {
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
