use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Checkpoint, CheckpointStore, DeadLetter, DeadLetterError, DeadLetterId, EventSubscriberBuilder,
    ReplayError, SubscriberError, SubscriberMetrics, SubscriberNotices, SubscriberStatus,
    dead_letter::DeadLetters, delivery::Command, handler::is_within_handler, shared::Shared,
};

/// From where the log is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayFrom {
    /// The first message.
    Start,
    /// This message; the first one of a log is 1.
    Sequence(u64),
    /// The first message that the broker stored at this time or later, by the broker's clock. With
    /// `SystemTime::now()`, what is new from now on.
    Time(SystemTime),
}

/// Follows the log of a namespace from a checkpoint on and calls a handler with each event, in the order of the log.
///
/// A handle: clones are the same subscriber. It stops when it is [closed](Self::close), when the last handle is
/// dropped, or by itself if something is wrong that it must not pass over; [`status`](Self::status) says so.
#[derive(Clone)]
pub struct EventSubscriber {
    running: Arc<Running>,
}

struct Running {
    name: String,
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    checkpoints: Option<Arc<dyn CheckpointStore>>,
    letters: Option<DeadLetters>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
    close_timeout: Duration,
    _stop_when_dropped: DropGuard,
}

impl EventSubscriber {
    /// The options to start a subscriber with.
    pub fn builder() -> EventSubscriberBuilder {
        EventSubscriberBuilder::default()
    }

    #[allow(clippy::too_many_arguments, reason = "the builder is the only caller")]
    pub(super) fn new(
        name: String,
        shared: Arc<Shared>,
        commands: mpsc::Sender<Command>,
        checkpoints: Option<Arc<dyn CheckpointStore>>,
        letters: Option<DeadLetters>,
        stop: CancellationToken,
        task: JoinHandle<()>,
        close_timeout: Duration,
    ) -> Self {
        let _stop_when_dropped = stop.clone().drop_guard();
        let task = Mutex::new(Some(task));
        let running = Running {
            name,
            shared,
            commands,
            checkpoints,
            letters,
            stop,
            task,
            close_timeout,
            _stop_when_dropped,
        };
        EventSubscriber { running: Arc::new(running) }
    }

    /// The name it was given.
    pub fn name(&self) -> &str {
        &self.running.name
    }

    /// How it is now.
    pub fn status(&self) -> SubscriberStatus {
        self.running.shared.status.borrow().clone()
    }

    /// Waits until it has ended: the reason if it stopped by itself, `None` if it was closed. Cancel safe.
    pub async fn stopped(&self) -> Option<Arc<SubscriberError>> {
        let mut status = self.running.shared.status.subscribe();
        let ended = |status: &SubscriberStatus| {
            matches!(status, SubscriberStatus::Stopped { .. } | SubscriberStatus::Closed)
        };
        match status.wait_for(ended).await.ok().as_deref() {
            Some(SubscriberStatus::Stopped { error }) => Some(error.clone()),
            _ => None,
        }
    }

    /// What happens to it, from now on.
    pub fn notices(&self) -> SubscriberNotices {
        SubscriberNotices(self.running.shared.notices())
    }

    /// Counts and gauges.
    pub fn metrics(&self) -> SubscriberMetrics {
        self.running.shared.metrics()
    }

    /// How far it is: all that is handled, stored or not. `None` until it has seen the log for the first time.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        self.running.shared.checkpoint.borrow().clone()
    }

    /// Waits until the checkpoint is as `wanted`; false if the subscriber ended before. Cancel safe.
    pub async fn wait_for(&self, mut wanted: impl FnMut(&Checkpoint) -> bool) -> bool {
        let mut checkpoint = self.running.shared.checkpoint.subscribe();
        tokio::select! {
            biased;
            reached = checkpoint.wait_for(|checkpoint| checkpoint.as_ref().is_some_and(&mut wanted)) => {
                reached.is_ok()
            }
            _ = self.stopped() => false,
        }
    }

    /// Stores a checkpoint that came with events, under [`CheckpointMode::Manual`](super::CheckpointMode::Manual): all
    /// events up to it are handled, and are not delivered again after the next start. Call it in the order of the
    /// events; the last call counts.
    ///
    /// # Errors
    /// [`SubscriberError::CheckpointStore`] if it cannot be stored, and [`SubscriberError::Option`] if there is no
    /// `checkpoint_store`: an application that keeps the checkpoint itself has nothing to commit here.
    pub async fn commit(&self, checkpoint: &Checkpoint) -> Result<(), SubscriberError> {
        let Some(checkpoints) = self.running.checkpoints.clone() else {
            let reason = "there is none to commit to: the application stores the checkpoint".to_owned();
            return Err(SubscriberError::Option { option: "checkpoint_store", reason });
        };
        let (name, checkpoint) = (self.running.name.clone(), checkpoint.clone());
        let saved = tokio::task::spawn_blocking(move || checkpoints.save(&name, &checkpoint)).await;
        let failed = |reason| SubscriberError::CheckpointStore { action: "saved", reason };
        saved.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
    }

    /// Delivers again what the log has from there on up to its present end, each event once, and then goes on. Gives
    /// the message it begins with.
    ///
    /// The replayed events come with [`Cause::Replay`](super::Cause::Replay) although they were handled before:
    /// idempotency is suspended for them, and their effects happen once more. The checkpoint remembers that a replay is
    /// under way, so that it goes on after a restart. Waits for the handler to be done with what it has, and for the
    /// broker.
    ///
    /// # Errors
    /// [`ReplayError`]; nothing is replayed then.
    pub async fn replay(&self, from: ReplayFrom) -> Result<u64, ReplayError> {
        if is_within_handler() {
            return Err(ReplayError::WithinHandler);
        }
        let (reply, answer) = oneshot::channel();
        self.running
            .commands
            .send(Command::Replay { from, reply })
            .await
            .map_err(|_| ReplayError::Stopped)?;
        answer.await.map_err(|_| ReplayError::Stopped)?
    }

    /// Up to `limit` dead letters after the one named, in the order of the log. Works after the subscriber has stopped
    /// too.
    ///
    /// # Errors
    /// [`DeadLetterError::NoStore`] and [`DeadLetterError::Store`].
    pub async fn dead_letters(
        &self,
        after: Option<&DeadLetterId>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, DeadLetterError> {
        let after = after.cloned();
        self.with_letters(move |letters| letters.list(after.as_ref(), limit)).await
    }

    /// Calls the handler with a dead letter once more, and removes it if that succeeds. Later events were handled
    /// before it. Effect and removal are two steps: after a crash in between the letter is still there, and retrying it
    /// repeats the effect, unless the handler looks at the event's id.
    ///
    /// # Errors
    /// [`DeadLetterError::Failed`] if the handler failed again, and [`DeadLetterError`] otherwise; the letter stays.
    pub async fn retry_dead_letter(&self, id: &DeadLetterId) -> Result<(), DeadLetterError> {
        if is_within_handler() {
            return Err(DeadLetterError::WithinHandler);
        }
        let (reply, answer) = oneshot::channel();
        let command = Command::RetryDeadLetter { id: id.clone(), reply };
        self.running.commands.send(command).await.map_err(|_| DeadLetterError::Stopped)?;
        answer.await.map_err(|_| DeadLetterError::Stopped)?
    }

    /// Removes a dead letter: its event never takes effect. Works after the subscriber has stopped too.
    ///
    /// # Errors
    /// [`DeadLetterError`]; the letter stays.
    pub async fn discard_dead_letter(&self, id: &DeadLetterId) -> Result<(), DeadLetterError> {
        let id = id.clone();
        self.with_letters(move |letters| letters.remove(&id)).await?;
        self.running.shared.count(|metrics| metrics.dead_letters = metrics.dead_letters.saturating_sub(1));
        Ok(())
    }

    async fn with_letters<T: Send + 'static>(
        &self,
        call: impl FnOnce(&DeadLetters) -> Result<T, DeadLetterError> + Send + 'static,
    ) -> Result<T, DeadLetterError> {
        let letters = self.running.letters.clone().ok_or(DeadLetterError::NoStore)?;
        let called = tokio::task::spawn_blocking(move || call(&letters)).await;
        called.map_err(|error| DeadLetterError::Store { reason: error.to_string() })?
    }

    /// Takes no more messages, waits up to `close_timeout` for the handler to finish its call, and saves the checkpoint
    /// as the mode says. A handler that takes longer is cut off at its next `.await`; its events are delivered again
    /// next time. Called from within a handler, it only tells the subscriber to end.
    ///
    /// # Errors
    /// The reason if the subscriber had stopped by itself, or could not save its checkpoint.
    pub async fn close(&self) -> Result<(), Arc<SubscriberError>> {
        self.running.stop.cancel();
        if is_within_handler() {
            return Ok(());
        }
        let task = self.running.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut task) = task
            && tokio::time::timeout(self.running.close_timeout, &mut task).await.is_err()
        {
            task.abort();
            let _ = task.await;
        }
        match self.stopped().await {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for EventSubscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSubscriber")
            .field("name", &self.running.name)
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
