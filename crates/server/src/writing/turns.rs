use std::fmt;

use tokio::sync::{Mutex, MutexGuard};
use xxhash_rust::xxh3::xxh3_64;

/// How many patches of different entities may go on at the same time, at most.
const TURNS: usize = 256;

/// Patches of one entity go one after the other on this node, or each would find that another one was faster.
pub(crate) struct PatchTurns([Mutex<()>; TURNS]);

impl Default for PatchTurns {
    fn default() -> Self {
        PatchTurns(std::array::from_fn(|_| Mutex::default()))
    }
}

impl fmt::Debug for PatchTurns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PatchTurns").finish_non_exhaustive()
    }
}

impl PatchTurns {
    /// Waits until no other patch of this entity goes on.
    pub(crate) async fn of(&self, id: &str) -> MutexGuard<'_, ()> {
        let turn = usize::try_from(xxh3_64(id.as_bytes()) % TURNS as u64).unwrap_or_default();
        self.0[turn].lock().await
    }
}
