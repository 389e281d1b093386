//! The properties that make a type a [`Store`], as tests that any backend runs.
//!
//! ```
//! use archipelago_store::{MemoryStore, StoreError, conformance::Backend};
//!
//! struct Memory(MemoryStore);
//!
//! impl Backend for Memory {
//!     type Store = MemoryStore;
//!
//!     fn open(&self) -> Result<MemoryStore, StoreError> {
//!         Ok(self.0.reopen())
//!     }
//! }
//!
//! // One `#[test]` for each property, each with a backend of its own.
//! archipelago_store::conformance_tests!(Memory(MemoryStore::new()));
//! ```

mod commits;
mod concurrency;
mod limits;
mod lives;
mod model;
mod scans;

use std::ops::Bound;

use bytes::Bytes;

pub use self::{commits::*, concurrency::*, limits::*, lives::*, model::*, scans::*};
use crate::{Batch, Durability, Row, Store, StoreError, Table};

/// One place that keeps the rows of one store, for one test.
pub trait Backend {
    /// The store under test.
    type Store: Store;

    /// Opens the store in this place: empty the first time, and afterwards with all that was committed.
    ///
    /// # Errors
    ///
    /// Those of opening a store; [`StoreError::Locked`] if it is open already and [`Backend::locks`] says so.
    fn open(&self) -> Result<Self::Store, StoreError>;

    /// Whether a second [`open`](Backend::open) beside the first is refused with [`StoreError::Locked`]. A store in
    /// memory may choose to close the first one instead. Default: false.
    fn locks(&self) -> bool {
        false
    }

    /// Makes the next commit of this store fail with [`StoreError::Io`], or returns false if that cannot be arranged
    /// here, and the properties of failed commits are not tested. Default: false.
    fn fail_next_commit(&self, _store: &Self::Store) -> bool {
        false
    }
}

/// Makes one `#[test]` of every property in [`conformance`](crate::conformance). The expression makes the
/// [`Backend`](crate::conformance::Backend) and is evaluated anew for each test.
#[macro_export]
macro_rules! conformance_tests {
    ($backend:expr) => {
        $crate::conformance_tests! { @each $backend;
            a_row_is_found_after_its_commit_and_not_before
            a_later_change_of_the_same_row_wins
            a_removed_row_is_gone_and_removing_none_is_no_error
            tables_are_separate
            a_batch_is_applied_across_tables
            an_empty_batch_changes_nothing_at_any_durability
            a_batch_of_ten_thousand_rows_is_applied_whole
            many_rows_are_read_as_each_of_them_is
            many_rows_are_read_up_to_so_many_bytes
            a_scan_is_in_byte_order
            scan_bounds_are_included_excluded_or_open
            bounds_that_no_key_lies_between_give_no_rows
            a_scan_gives_the_first_rows_up_to_its_limit
            paging_visits_every_row_exactly_once
            an_empty_value_is_not_a_missing_row
            the_longest_key_is_kept_in_order
            a_value_of_a_mebibyte_is_kept
            a_batch_beyond_a_limit_is_refused_whole_and_the_store_goes_on
            a_key_that_no_row_may_have_is_not_found
            a_store_that_was_closed_has_its_rows_when_opened_again
            a_store_that_was_dropped_has_its_rows_when_opened_again
            a_closed_store_refuses_every_call
            a_second_opener_is_refused_until_the_first_closes
            a_failed_commit_poisons_the_store_until_it_is_opened_again
            a_scan_never_sees_a_part_of_a_batch
            a_row_is_never_seen_torn_or_older_than_before
            commits_of_many_threads_are_all_there
            a_row_that_many_threads_write_is_the_same_for_every_reader
            any_sequence_of_calls_does_what_an_ordered_map_does
        }
    };
    (@each $backend:expr; $($property:ident)*) => {
        $(
            #[test]
            fn $property() {
                $crate::conformance::$property(&$backend);
            }
        )*
    };
}

/// Opens a store, or fails the test.
fn open<B: Backend>(backend: &B) -> B::Store {
    backend.open().expect("the backend opens its store")
}

/// A batch of one put.
fn put(table: Table, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Batch {
    let mut batch = Batch::new();
    batch.put(table, key, value);
    batch
}

fn commit(store: &impl Store, batch: Batch) {
    store.commit(batch, Durability::Memory).expect("the store commits");
}

fn get(store: &impl Store, table: Table, key: &[u8]) -> Option<Bytes> {
    store.get(table, key).expect("the store reads a row")
}

fn get_many(store: &impl Store, table: Table, keys: &[&[u8]], bytes_max: usize) -> Vec<Option<Bytes>> {
    store.get_many(table, keys, bytes_max).expect("the store reads rows")
}

fn scan(store: &impl Store, table: Table, from: Bound<&[u8]>, to: Bound<&[u8]>, limit: usize) -> Vec<Row> {
    store.scan(table, from, to, limit).expect("the store scans")
}

fn scan_all(store: &impl Store, table: Table) -> Vec<Row> {
    scan(store, table, Bound::Unbounded, Bound::Unbounded, usize::MAX)
}

fn keys(rows: &[Row]) -> Vec<&[u8]> {
    rows.iter().map(|row| &row.key[..]).collect()
}
