//! What the nodes of a leader–follower namespace say to one another: the entries of the log, and beside the log what a
//! node says of itself and asks of others. The layout is described in `docs/FORMAT.md`.

mod beat;
mod entries;
mod entry;
mod talk;

pub use beat::{NodeBeat, NodeRole};
pub use entries::{EntryBatch, EntryBatchBuilder};
pub use entry::{Entry, Operation, PutKind, chain};
pub use talk::{ForwardedWrite, NodeAnswer, NodeQuestion, StatePage, WriteRefusal};

#[cfg(test)]
mod tests;
