//! How much may wait for the log.

use std::ops::Bound;

use archipelago_store::{Batch, Store, Table};

use crate::{
    StartError, WriteError,
    persist::{self, OutboxKey},
};

/// How many rows are looked at at a time, at most.
const PAGE_ROWS: usize = 256;

/// The bound of the outbox. With a pipeline, writes are refused at it until the broker has taken some. Without one nothing
/// ever would: the oldest leave instead, and whoever is met later gets them from the state, by repair.
#[derive(Debug)]
pub(crate) struct Outbox {
    events_max: u64,
    has_pipeline: bool,
    /// Everything before has left. Kept, because a scan from the very start walks over everything that was ever removed.
    start: Bound<OutboxKey>,
}

impl Outbox {
    pub(crate) fn new(events_max: u64, has_pipeline: bool) -> Self {
        Outbox { events_max, has_pipeline, start: Bound::Unbounded }
    }

    /// Whether one more event may wait where `outbox_events` do.
    pub(crate) fn check_room(&self, outbox_events: u64) -> Result<(), WriteError> {
        if self.has_pipeline && outbox_events >= self.events_max {
            return Err(WriteError::OutboxFull { outbox_events });
        }
        Ok(())
    }

    /// Takes the oldest out in `batch` if more than the bound wait in `store` once `batch` is stored. Gives how many events
    /// those were.
    pub(crate) fn make_room(
        &mut self,
        batch: &mut Batch,
        store: &dyn Store,
        outbox_events: u64,
    ) -> Result<u64, StartError> {
        if self.has_pipeline {
            return Ok(0);
        }
        let (surplus, mut left) = (outbox_events.saturating_sub(self.events_max), 0);
        while left < surplus {
            // Each row is an event at least: no more are read than have to leave.
            let rows = usize::try_from(surplus - left).map_or(PAGE_ROWS, |rows| rows.min(PAGE_ROWS));
            let page = persist::outbox(store, self.start, rows)?;
            if page.is_empty() {
                // What is about to be stored is more than the bound all by itself; the next commit takes it out.
                break;
            }
            for waiting in page {
                if left >= surplus {
                    break;
                }
                left += waiting.key.events();
                self.start = Bound::Excluded(waiting.key);
                batch.remove(Table::Outbox, waiting.key.bytes());
            }
        }
        Ok(left)
    }
}
