//! Where a replica keeps its state: the [`Store`] trait, an in-memory implementation, and the suite that every
//! backend runs.
//!
//! A store is a few ordered tables from bytes to bytes, changed by atomic batches. It never looks inside the
//! bytes; what they mean is the business of the layers above.
//!
//! ```
//! use std::ops::Bound;
//!
//! use archipelago_store::{Batch, Durability, MemoryStore, Store, Table};
//!
//! # fn main() -> Result<(), archipelago_store::StoreError> {
//! let store = MemoryStore::new();
//!
//! // The state and the event that tells others about it: together or not at all.
//! let mut batch = Batch::new();
//! batch.put(Table::Entities, "lighthouse/1", "lit");
//! batch.put(Table::Outbox, 1u64.to_be_bytes().to_vec(), "lighthouse/1 was lit");
//! store.commit(batch, Durability::Fsync)?;
//!
//! assert_eq!(store.get(Table::Entities, b"lighthouse/1")?.as_deref(), Some(&b"lit"[..]));
//! assert_eq!(store.scan(Table::Outbox, Bound::Unbounded, Bound::Unbounded, 10)?.len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Map
//!
//! | module | what is in it |
//! |---|---|
//! | `store` | the trait, the tables, the durabilities: the contract |
//! | `batch` | the changes of one commit |
//! | `error` | everything that can go wrong |
//! | `limits` | how long keys and values may be; the same in every backend |
//! | `range` | the bounds of a scan, normalised once for all backends |
//! | `memory` | [`MemoryStore`], for tests, simulations and replicas that may forget |
//! | [`conformance`] | the properties that make a type a `Store`, as tests |
//!
//! # Invariants
//!
//! - A batch is there as a whole or not at all, and no batch is there without all earlier ones.
//! - One [`Store::scan`] never sees a part of a batch. Two calls may see different batches.
//! - A batch that breaks a limit is refused before any of it is stored, and the store goes on.
//! - After any other failed commit the store takes no further commit until it is opened again.
//!
//! # Writing a backend
//!
//! Implement [`Store`]; check batches with [`limits::check`] and bounds with [`KeyRange::new`], so that limits
//! and odd bounds mean the same everywhere; implement [`conformance::Backend`] in a test and invoke
//! [`conformance_tests!`].

mod batch;
pub mod conformance;
mod error;
pub mod limits;
mod memory;
mod range;
mod store;

pub use batch::{Batch, Change};
pub use error::StoreError;
pub use memory::MemoryStore;
pub use range::KeyRange;
pub use store::{Durability, Row, Store, Table};
