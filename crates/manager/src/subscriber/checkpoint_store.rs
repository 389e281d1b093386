use archipelago_store::{Batch, Durability, Store, Table};

use super::{Checkpoint, HandlerError};

/// Where a subscriber keeps its checkpoint between its lives. Every [`Store`] is one; any other database becomes one by
/// implementing two methods.
///
/// This is not the way to exactly once: what stores effects and checkpoint together is
/// [`CheckpointMode::Manual`](super::CheckpointMode::Manual).
pub trait CheckpointStore: Send + Sync + 'static {
    /// The checkpoint stored last for the subscriber of this name; `None` if there was none. May block.
    ///
    /// # Errors
    /// Whatever went wrong; the subscriber does not start then.
    fn load(&self, subscriber: &str) -> Result<Option<Checkpoint>, HandlerError>;

    /// Stores a checkpoint in place of the one before. May block.
    ///
    /// # Errors
    /// Whatever went wrong; it is tried again as often as a handler is, and then the subscriber stops.
    fn save(&self, subscriber: &str, checkpoint: &Checkpoint) -> Result<(), HandlerError>;
}

/// In the row `subscriber/<name>/checkpoint` of [`Table::Meta`]. A checkpoint lost with the power costs a redelivery and nothing
/// else, so it is not synced.
impl<S: Store> CheckpointStore for S {
    fn load(&self, subscriber: &str) -> Result<Option<Checkpoint>, HandlerError> {
        let row = self.get(Table::Meta, checkpoint_row(subscriber).as_bytes())?;
        Ok(row.map(|bytes| Checkpoint::decode(&bytes)).transpose()?)
    }

    fn save(&self, subscriber: &str, checkpoint: &Checkpoint) -> Result<(), HandlerError> {
        let mut batch = Batch::new();
        put_checkpoint(&mut batch, subscriber, checkpoint);
        Ok(self.commit(batch, Durability::Os)?)
    }
}

/// Adds the checkpoint of a subscriber to a batch of a store, so that it is stored together with the effects that are
/// in the same batch.
pub fn put_checkpoint(batch: &mut Batch, subscriber: &str, checkpoint: &Checkpoint) {
    batch.put(Table::Meta, checkpoint_row(subscriber), checkpoint.encode());
}

/// The key in [`Table::Meta`] under which a store has the checkpoint of a subscriber.
pub(super) fn checkpoint_row(subscriber: &str) -> String {
    format!("subscriber/{subscriber}/checkpoint")
}
