use std::{
    fmt::Debug,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::task::{AbortHandle, JoinHandle, JoinSet};

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
}

/// A future that runs on only when it is its turn.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct InTurn<F> {
    turns: Arc<dyn Turns>,
    task: u64,
    future: Pin<Box<F>>,
}

impl<F> InTurn<F> {
    /// Wraps a future, which is a new task.
    pub fn new(turns: Arc<dyn Turns>, future: F) -> InTurn<F> {
        InTurn { task: turns.enter(), turns, future: Box::pin(future) }
    }
}

impl<F: Future> Future for InTurn<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        ready!(this.turns.poll_turn(this.task, context));
        this.future.as_mut().poll(context)
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
