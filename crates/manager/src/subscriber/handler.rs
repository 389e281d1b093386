use std::panic::AssertUnwindSafe;

use futures::{FutureExt, future::BoxFuture};

use super::{BatchDelivery, Checkpoint, EventDelivery, HandlerError, LoggedEvent};

tokio::task_local! {
    /// Set while a function of the application runs that the task of the subscriber waits for.
    static WITHIN_HANDLER: ();
}

/// The function of the application that events are for.
pub(super) enum Handler {
    Event(Box<dyn FnMut(EventDelivery) -> BoxFuture<'static, Result<(), HandlerError>> + Send>),
    Batch(Box<dyn FnMut(BatchDelivery) -> BoxFuture<'static, Result<(), HandlerError>> + Send>),
}

impl Handler {
    /// How many events it takes at once.
    pub(super) fn events_max(&self, batch_size: usize) -> usize {
        match self {
            Handler::Event(_) => 1,
            Handler::Batch(_) => batch_size,
        }
    }

    /// Calls it with one event or more. A panic is a failure like any other.
    pub(super) async fn call(
        &mut self,
        mut events: Vec<LoggedEvent>,
        attempt: u32,
        checkpoint: Checkpoint,
    ) -> Result<(), String> {
        let calling = async move {
            match self {
                Handler::Event(handler) => {
                    let event = events.swap_remove(0);
                    handler(EventDelivery { event, attempt, checkpoint }).await
                }
                Handler::Batch(handler) => handler(BatchDelivery { events, attempt, checkpoint }).await,
            }
        };
        match guarded(calling).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(chain(&*error)),
            Err(panic) => Err(panic),
        }
    }
}

/// Runs a function of the application, marked as such; gives what it said if it panics.
pub(super) async fn guarded<T>(call: impl Future<Output = T>) -> Result<T, String> {
    let outcome = WITHIN_HANDLER.scope((), AssertUnwindSafe(call).catch_unwind()).await;
    outcome.map_err(|panic| {
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
        format!("it panicked: {}", message.unwrap_or("with something that is no text"))
    })
}

/// True if the caller is a function of the application that the task of a subscriber waits for.
pub(super) fn is_within_handler() -> bool {
    WITHIN_HANDLER.try_with(|()| ()).is_ok()
}

/// An error with those that caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
