use std::{ops::Bound, sync::Arc};

use archipelago_store::{Batch, Store, Table};

use crate::{ConflictReport, StartError};

/// How many rows are read at a time.
const PAGE_ROWS: usize = 1_024;

/// The most recent conflicts with the values that lost, as rows of the store. Bounded: the oldest go first.
#[derive(Debug)]
pub(crate) struct Journal {
    conflicts_max: u64,
    /// The number of the oldest row, if there is one.
    first: u64,
    /// The number that the next row gets.
    next: u64,
}

impl Journal {
    /// The journal in the store, and the last of its conflicts, oldest first, up to `latest_max`.
    ///
    /// Conflicts that a newer build wrote and this one cannot read are left where they are.
    pub(crate) fn load(
        store: &dyn Store,
        conflicts_max: u64,
        latest_max: usize,
    ) -> Result<(Self, Vec<Arc<ConflictReport>>), StartError> {
        let mut journal = Journal { conflicts_max, first: 0, next: 0 };
        let mut latest = Vec::new();
        let mut from = Bound::Unbounded;
        loop {
            let page = store.scan(
                Table::Journal,
                from.as_ref().map(|key: &bytes::Bytes| &key[..]),
                Bound::Unbounded,
                PAGE_ROWS,
            )?;
            let Some(last) = page.last() else { return Ok((journal, latest)) };
            from = Bound::Excluded(last.key.clone());
            for row in page {
                let number = <[u8; 8]>::try_from(&row.key[..]).map(u64::from_be_bytes);
                let number = number.map_err(|_| StartError::Row {
                    row: row.key.escape_ascii().to_string(),
                    reason: "not a number of the conflict journal".into(),
                })?;
                if journal.next == 0 {
                    journal.first = number;
                }
                journal.next = number + 1;
                latest.extend(rmp_serde::from_slice(&row.value).ok().map(Arc::new));
            }
            latest.drain(..latest.len().saturating_sub(latest_max));
        }
    }

    /// Adds a conflict to a batch of the store, and takes out the oldest if there are too many.
    pub(crate) fn put(&mut self, batch: &mut Batch, conflict: &ConflictReport) {
        if self.conflicts_max == 0 {
            return;
        }
        let bytes = rmp_serde::to_vec_named(conflict).expect("a report is plain data");
        batch.put(Table::Journal, self.next.to_be_bytes().to_vec(), bytes);
        self.next += 1;
        while self.next - self.first > self.conflicts_max {
            batch.remove(Table::Journal, self.first.to_be_bytes().to_vec());
            self.first += 1;
        }
    }
}
