use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::{broadcast, watch};

use super::{
    Checkpoint, SUBSCRIBER_NOTICES_MAX, SubscriberError, SubscriberMetrics, SubscriberNotice,
    SubscriberStatus, telemetry::Telemetry,
};
use crate::seldom::Seldom;

/// What the task of a subscriber and its handles share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) status: watch::Sender<SubscriberStatus>,
    pub(super) checkpoint: watch::Sender<Option<Checkpoint>>,
    metrics: Mutex<SubscriberMetrics>,
    telemetry: Telemetry,
    /// Messages that cannot be read are told.
    pub(super) unreadable: Seldom,
    /// `None` once the subscriber has ended, so that listeners learn of it.
    notices: RwLock<Option<broadcast::Sender<SubscriberNotice>>>,
}

impl Shared {
    pub(super) fn new(checkpoint: Option<Checkpoint>, telemetry: Telemetry) -> Self {
        Shared {
            status: watch::Sender::new(SubscriberStatus::Connecting),
            checkpoint: watch::Sender::new(checkpoint),
            metrics: Mutex::default(),
            telemetry,
            unreadable: Seldom::default(),
            notices: RwLock::new(Some(broadcast::Sender::new(SUBSCRIBER_NOTICES_MAX))),
        }
    }

    pub(super) fn metrics(&self) -> SubscriberMetrics {
        *self.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut SubscriberMetrics)) {
        let mut metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut metrics);
        self.telemetry.counted(&metrics);
    }

    pub(super) fn notify(&self, notice: SubscriberNotice) {
        if let Some(notices) = &*self.notices.read().unwrap_or_else(PoisonError::into_inner) {
            let _ = notices.send(notice);
        }
    }

    pub(super) fn notices(&self) -> broadcast::Receiver<SubscriberNotice> {
        match &*self.notices.read().unwrap_or_else(PoisonError::into_inner) {
            Some(notices) => notices.subscribe(),
            None => broadcast::Sender::new(1).subscribe(),
        }
    }

    /// The subscriber has ended: there is nothing more to tell.
    pub(super) fn ended(&self, outcome: Result<(), SubscriberError>) {
        let status = match outcome {
            Ok(()) => SubscriberStatus::Closed,
            Err(error) => {
                tracing::error!(%error, "the subscriber stops");
                SubscriberStatus::Stopped { error: Arc::new(error) }
            }
        };
        self.status.send_replace(status);
        self.notices.write().unwrap_or_else(PoisonError::into_inner).take();
    }
}
