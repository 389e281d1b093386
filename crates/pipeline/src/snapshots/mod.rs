//! Where snapshots are kept: the contract, and two keepers of it.
//!
//! A snapshot has a name, chunks numbered from 0, and a manifest. What is in them is the business of whoever writes
//! them; here they are bytes.
//!
//! ```
//! use archipelago_pipeline::snapshots::{MemorySnapshots, SnapshotStore};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), archipelago_pipeline::snapshots::SnapshotStoreError> {
//! let store = MemorySnapshots::default();
//! let mut writer = store.begin("monday").await?;
//! writer.chunk("first".into()).await?;
//! writer.chunk("second".into()).await?;
//! assert!(store.list().await?.is_empty(), "not before it is finished");
//! writer.finish("two chunks".into()).await?;
//!
//! assert_eq!(store.list().await?, ["monday"]);
//! assert_eq!(store.manifest("monday").await?, "two chunks");
//! assert_eq!(store.chunk("monday", 1).await?, "second");
//! # Ok(())
//! # }
//! ```
//!
//! | where | what |
//! |---|---|
//! | [`SnapshotStore`], [`SnapshotWriter`], [`SnapshotStoreError`] | the contract |
//! | [`MemorySnapshots`] | in memory, for tests |
//! | [`SnapshotFolder`] | one file for each snapshot, which can be copied elsewhere |
//! | [`SnapshotFile`] | one such file, wherever it lies |
//! | [`conformance`] | what every implementation must do, as tests |
//!
//! In the JetStream object store they are kept by `NatsSnapshots` of the crate `archipelago-pipeline-nats`.

pub mod conformance;
mod error;
mod file;
mod folder;
mod layout;
mod memory;

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;

pub use error::SnapshotStoreError;
pub use file::SnapshotFile;
pub use folder::SnapshotFolder;
pub use memory::MemorySnapshots;

/// The largest chunk, and the largest manifest, in bytes: 64 MiB. More is refused with
/// [`SnapshotStoreError::TooLarge`].
pub const SNAPSHOT_CHUNK_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The longest name, in bytes.
const NAME_BYTES_MAX: usize = 200;

/// A place where snapshots are kept. Every call is checked against the rules for names, and fails with
/// [`SnapshotStoreError::InvalidName`] otherwise: 1 to 200 of `A-Z a-z 0-9 _ . -`, with no dot at the beginning.
///
/// A snapshot is there as a whole or not at all, and never changes once it is.
#[async_trait]
pub trait SnapshotStore: Debug + Send + Sync + 'static {
    /// The names of all snapshots that were finished, sorted.
    async fn list(&self) -> Result<Vec<String>, SnapshotStoreError>;

    /// The manifest of a snapshot.
    ///
    /// # Errors
    /// [`SnapshotStoreError::NotFound`] unless a snapshot of that name is listed; [`SnapshotStoreError::Damaged`] if the
    /// bytes are not those that were written.
    async fn manifest(&self, name: &str) -> Result<Bytes, SnapshotStoreError>;

    /// The chunk number `index` of a snapshot.
    ///
    /// # Errors
    /// As [`manifest`](Self::manifest); also [`SnapshotStoreError::NotFound`] if the snapshot has no such chunk.
    async fn chunk(&self, name: &str, index: u64) -> Result<Bytes, SnapshotStoreError>;

    /// Removes a snapshot, and what writers left that never finished. Does nothing more if there is none of that name.
    async fn remove(&self, name: &str) -> Result<(), SnapshotStoreError>;

    /// Begins a snapshot, and removes what writers left that never finished. Those that are at work are not touched, under
    /// whatever name. Of two writers with one name, the first to finish has it.
    ///
    /// # Errors
    /// [`SnapshotStoreError::AlreadyExists`] if a snapshot of that name is listed.
    async fn begin(&self, name: &str) -> Result<Box<dyn SnapshotWriter>, SnapshotStoreError>;
}

/// A snapshot that is being written. Dropped before it is finished, it leaves nothing that is listed.
///
/// After an error, or if the future of a call was dropped, it cannot be finished any more: begin another one.
#[async_trait]
pub trait SnapshotWriter: Debug + Send {
    /// Appends a chunk. The first one has the number 0.
    ///
    /// # Errors
    /// [`SnapshotStoreError::TooLarge`] over [`SNAPSHOT_CHUNK_BYTES_MAX`]; nothing was written and the writer is as before.
    async fn chunk(&mut self, bytes: Bytes) -> Result<(), SnapshotStoreError>;

    /// Adds the manifest and makes the snapshot complete. Once this returns, it is listed and survives a crash, as far as
    /// the place it is kept in does.
    ///
    /// # Errors
    /// As [`chunk`](Self::chunk); [`SnapshotStoreError::AlreadyExists`] if another writer finished one of that name
    /// meanwhile.
    async fn finish(self: Box<Self>, manifest: Bytes) -> Result<(), SnapshotStoreError>;
}

/// Checks the name of a snapshot: 1 to 200 of `A-Z a-z 0-9 _ . -`, with no dot at the beginning, so that it is part of a
/// file's name on every system and of an object's.
///
/// # Errors
/// [`SnapshotStoreError::InvalidName`].
pub fn check_snapshot_name(name: &str) -> Result<(), SnapshotStoreError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let length = (1..=NAME_BYTES_MAX).contains(&name.len());
    if length && !name.starts_with('.') && name.bytes().all(fits) {
        Ok(())
    } else {
        Err(SnapshotStoreError::InvalidName { name: name.to_owned() })
    }
}

/// Checks the size of a chunk or a manifest, for implementations of [`SnapshotStore`].
///
/// # Errors
/// [`SnapshotStoreError::TooLarge`].
pub fn check_snapshot_chunk(bytes: &Bytes) -> Result<(), SnapshotStoreError> {
    match bytes.len() {
        0..=SNAPSHOT_CHUNK_BYTES_MAX => Ok(()),
        bytes => Err(SnapshotStoreError::TooLarge { bytes, bytes_max: SNAPSHOT_CHUNK_BYTES_MAX }),
    }
}
