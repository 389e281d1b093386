use std::collections::BTreeMap;

use crate::mutated;

/// Up to where the log is done with: the checkpoint to store with the state.
#[derive(Debug)]
pub(crate) struct Progress {
    /// The last message handled.
    last: u64,
    /// Messages of which something still waits, and how many things.
    open: BTreeMap<u64, usize>,
}

impl Progress {
    pub(crate) fn new(checkpoint: u64) -> Self {
        Progress { last: checkpoint, open: BTreeMap::new() }
    }

    /// The message at `position` was handled, as far as it could be.
    pub(crate) fn handled(&mut self, position: u64) {
        self.last = self.last.max(position);
    }

    /// Something of the message at `position` waits.
    pub(crate) fn hold(&mut self, position: u64) {
        *self.open.entry(position).or_default() += 1;
    }

    /// Something that waited is done.
    pub(crate) fn release(&mut self, position: u64) {
        if let Some(count) = self.open.get_mut(&position) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&position);
            }
        }
    }

    /// Every message up to here is done with: whatever it said is in the state.
    pub(crate) fn checkpoint(&self) -> u64 {
        if mutated!(CheckpointPassesWaiting) {
            return self.last;
        }
        self.open.keys().next().map_or(self.last, |first| self.last.min(first - 1))
    }

    /// Starts over from the checkpoint, which it gives.
    pub(crate) fn rewind(&mut self) -> u64 {
        self.last = self.checkpoint();
        self.open.clear();
        self.last
    }
}
