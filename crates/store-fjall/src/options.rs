use std::path::Path;

use archipelago_store::StoreError;

use crate::FjallStore;

/// What may be tuned about a [`FjallStore`]. None of it changes what is on the disk.
///
/// ```
/// # fn main() -> Result<(), archipelago_store::StoreError> {
/// # let folder = tempfile::tempdir().unwrap();
/// use archipelago_store_fjall::FjallOptions;
///
/// let store = FjallOptions::new().cache_bytes(256 << 20).open(folder.path())?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FjallOptions {
    pub(crate) cache_bytes: u64,
    pub(crate) row_cache_bytes: u64,
    pub(crate) journal_bytes_max: u64,
}

const JOURNAL_BYTES_MAX_LEAST: u64 = 64 << 20;

impl Default for FjallOptions {
    fn default() -> Self {
        Self { cache_bytes: 32 << 20, row_cache_bytes: 64 << 20, journal_bytes_max: 256 << 20 }
    }
}

impl FjallOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How much memory the cache of blocks read from disk may take, in bytes. Default: 32 MiB. Beside it
    /// recent writes take memory: 32 MiB for the entities and 4 MiB for each other table, and up to four times that
    /// while the disk cannot keep up.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// How much memory the entities that are written again and again may take, in bytes; 0 for none of them. Default:
    /// 64 MiB. Each write of an entity reads it first, and here it need not be searched for in fjall's tables.
    #[must_use]
    pub fn row_cache_bytes(mut self, bytes: u64) -> Self {
        self.row_cache_bytes = bytes;
        self
    }

    /// How large all journals may grow, in bytes, before tables that are seldom flushed are flushed to let the oldest
    /// journal go. Default: 256 MiB, least: 64 MiB (less is taken as that). The journals are read again by every
    /// opening, which takes seconds for a few hundred MiB; less means a faster opening and less disk space, more
    /// means fewer flushes.
    #[must_use]
    pub fn journal_bytes_max(mut self, bytes: u64) -> Self {
        self.journal_bytes_max = bytes.max(JOURNAL_BYTES_MAX_LEAST);
        self
    }

    /// Opens the store in this folder with these options, see [`FjallStore::open`].
    ///
    /// # Errors
    ///
    /// Those of [`FjallStore::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<FjallStore, StoreError> {
        FjallStore::open_with(path.as_ref(), self)
    }
}
