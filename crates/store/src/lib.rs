//! Where a replica keeps its state (crate docs to be written with the memory implementation).

mod batch;
mod error;
mod store;

pub use batch::{Batch, Change};
pub use error::StoreError;
pub use store::{Durability, Row, Store, Table};
