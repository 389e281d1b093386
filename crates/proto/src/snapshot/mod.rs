//! A whole state as bytes that may lie anywhere: chunks, and a manifest that says what they are. The layout is described
//! in `docs/FORMAT.md`.

mod chunk;
mod manifest;

pub use chunk::{ChunkEntry, SnapshotChunk};
pub use manifest::SnapshotManifest;
