use std::{
    fmt::Debug,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::task::{AbortHandle, JoinError, JoinHandle, JoinSet};

/// Decides when the tasks of a manager run on. Simulations give their own: the runtime wakes those who wait for the same
/// thing in an order of its own, and goes on with a process that is to stand still. Without one the runtime decides.
pub trait Turns: Debug + Send + Sync + 'static {
    /// A new task, by whose number it is known from here on.
    fn enter(&self) -> u64;

    /// Whether a task that was woken has its turn: it runs on at once, until it waits again. If not, it is to be woken when
    /// it has.
    fn poll_turn(&self, task: u64, context: &mut Context<'_>) -> Poll<()>;

    /// The task has ended, or was dropped.
    fn leave(&self, task: u64);

    /// Whether the process of the task was killed: the task is dropped then, wherever it is, and whoever waits for its outcome
    /// waits in vain.
    fn is_killed(&self, _task: u64) -> bool {
        false
    }

    /// How long other tasks run on before something that may wait for a disk is done, which is done at once then, where
    /// it was asked for. Default no longer than until it has its turn again.
    fn blocks_for(&self) -> Duration {
        Duration::ZERO
    }
}

/// A future that runs on only when it is its turn.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct InTurn<F> {
    turns: Arc<dyn Turns>,
    task: u64,
    /// `None` once the process was killed.
    future: Option<Pin<Box<F>>>,
}

impl<F> InTurn<F> {
    /// Wraps a future, which is a new task.
    pub fn new(turns: Arc<dyn Turns>, future: F) -> InTurn<F> {
        InTurn { task: turns.enter(), turns, future: Some(Box::pin(future)) }
    }
}

impl<F: Future> Future for InTurn<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        if this.turns.is_killed(this.task) {
            this.future = None;
        }
        let Some(future) = &mut this.future else { return Poll::Pending };
        ready!(this.turns.poll_turn(this.task, context));
        future.as_mut().poll(context)
    }
}

impl<F> Drop for InTurn<F> {
    fn drop(&mut self) {
        self.turns.leave(self.task);
    }
}

/// Starts the tasks of one manager.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    pub(crate) turns: Option<Arc<dyn Turns>>,
}

impl Tasks {
    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        match &self.turns {
            None => tokio::spawn(future),
            Some(turns) => tokio::spawn(InTurn::new(turns.clone(), future)),
        }
    }

    /// Does what may wait for a disk without keeping other tasks waiting.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        let Some(turns) = &self.turns else { return tokio::task::spawn_blocking(work).await };
        match turns.blocks_for() {
            Duration::ZERO => tokio::task::yield_now().await,
            time => tokio::time::sleep(time).await,
        }
        Ok(work())
    }

    pub(crate) fn spawn_on<F>(&self, set: &mut JoinSet<F::Output>, future: F) -> AbortHandle
    where
        F: Future<Output: Send> + Send + 'static,
    {
        match &self.turns {
            None => set.spawn(future),
            Some(turns) => set.spawn(InTurn::new(turns.clone(), future)),
        }
    }
}
