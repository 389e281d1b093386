use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// How a link stands.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LinkState {
    pub(super) cut: bool,
    pub(super) held: bool,
    /// How many cuts there were: an acknowledgement does not survive one.
    pub(super) cuts: u64,
}

impl LinkState {
    pub(super) fn is_open(&self) -> bool {
        !self.cut && !self.held
    }
}

/// The state of a link, as its switch has it.
///
/// It is much like a [`watch`](tokio::sync::watch) channel, which wakes those who wait in an order of chance: they wait
/// here for what a test may have to do again in the same way, and are woken in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Link(Arc<Cell>);

#[derive(Debug, Default)]
struct Cell {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Clone, Copy, Debug, Default)]
struct Inner {
    state: LinkState,
    is_dropped: bool,
}

impl Cell {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.0.lock().is_dropped = true;
        self.0.changed.notify_waiters();
    }
}

impl Link {
    pub(super) fn state(&self) -> LinkState {
        self.0.lock().state
    }

    /// Changes it. What `change` gives is whether it did; if so, those who wait for it look again.
    pub(super) fn change(&self, change: impl FnOnce(&mut LinkState) -> bool) -> bool {
        let is_changed = change(&mut self.0.lock().state);
        if is_changed {
            self.0.changed.notify_waiters();
        }
        is_changed
    }

    pub(super) fn subscribe(&self) -> LinkView {
        LinkView(self.0.clone())
    }
}

/// The switch is gone, and what is waited for does not come about any more.
#[derive(Debug)]
pub(super) struct Dropped;

/// The state of a link, for those who wait for it to change.
#[derive(Clone, Debug)]
pub(super) struct LinkView(Arc<Cell>);

impl LinkView {
    pub(super) fn state(&self) -> LinkState {
        self.0.lock().state
    }

    /// Waits until the state is as wanted. Cancel safe.
    pub(super) async fn wait_for(&self, wanted: impl Fn(&LinkState) -> bool) -> Result<(), Dropped> {
        loop {
            // Whatever changes from here on wakes it.
            let changed = self.0.changed.notified();
            let Inner { state, is_dropped } = *self.0.lock();
            if wanted(&state) {
                return Ok(());
            }
            if is_dropped {
                return Err(Dropped);
            }
            changed.await;
        }
    }
}
