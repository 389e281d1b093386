//! Writes that depend on what stands: it is read, changed and written where no other write of this master comes between.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

use archipelago_engine::{Change, LocalWrite};
use archipelago_proto::EntityId;
use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    MultiMasterManager, UpdateError, WriteError, WriteOptions, WriteReceipt,
    intent::Intent,
    replica::Command,
    schema::{LooksAt, Writing},
};

impl MultiMasterManager {
    /// Reads the entity, changes it by `change`, and writes what is different, all in one: no other write of this master
    /// comes between. `change` gets [`T::default`](Default) if there is no entity, and may be an error, which is given
    /// back; then nothing is written.
    ///
    /// Only what `change` changed is written: fields that `T` does not know stay, also in maps within maps. Lists are
    /// replaced as a whole, and what was in them that `T` does not know is gone if `change` changed them. Under field
    /// merge only the changed fields travel, under CRDT merge also of each CRDT only what is new. An update that changes
    /// nothing is a write all the same. `change` runs where all writes of this master wait for it: keep it short. If it
    /// panics, so does this call, and nothing else.
    ///
    /// # Errors
    /// [`UpdateError`]; nothing was written, except after [`WriteError::StoreFailed`], where that is unknown.
    pub async fn update<T, E, F>(
        &self,
        entity_id: impl Into<EntityId>,
        change: F,
    ) -> Result<WriteReceipt, UpdateError<E>>
    where
        T: Serialize + DeserializeOwned + Default,
        E: Send + 'static,
        F: FnOnce(&mut T) -> Result<(), E> + Send + 'static,
    {
        self.update_with(entity_id, WriteOptions::default(), change).await
    }

    /// [`update`](Self::update) with options: how far the write must have come, what its author had seen, and what the
    /// entity must be.
    ///
    /// # Errors
    /// As [`update`](Self::update). A deadline that passes is none: the receipt says what was
    /// [reached](crate::Reached).
    pub async fn update_with<T, E, F>(
        &self,
        entity_id: impl Into<EntityId>,
        options: WriteOptions,
        change: F,
    ) -> Result<WriteReceipt, UpdateError<E>>
    where
        T: Serialize + DeserializeOwned + Default,
        E: Send + 'static,
        F: FnOnce(&mut T) -> Result<(), E> + Send + 'static,
    {
        let (ack, deadline, intent) = options.into_parts();
        let edit = |writing: &Writing<'_>, standing: Option<&Bytes>| writing.update(standing, change);
        let mut receipt = self.edit(entity_id.into(), intent, LooksAt::Value, edit).await?;
        receipt.reached = self.reach(&receipt.dot, ack, deadline).await;
        Ok(receipt)
    }

    pub(crate) async fn change(
        &self,
        entity: EntityId,
        change: Change,
        intent: Intent,
    ) -> Result<WriteReceipt, WriteError> {
        let writing = Writing::new(&entity, self.shared());
        if let Some(looks_at) = writing.looks_at(&change) {
            let edit = |writing: &Writing<'_>, standing: Option<&Bytes>| writing.change(change, standing);
            return self.edit(entity, intent, looks_at, edit).await;
        }
        let change = writing.change(change, None)?;
        let Intent { context, expected, trace } = intent;
        let write = LocalWrite { entity, change, context, trace };
        self.command(|reply| Command::Write { write, expected, reply }).await
    }

    /// Writes what `edit` makes of the visible value. An error or a panic of `edit` is the caller's, not the master's.
    async fn edit<E, F>(
        &self,
        entity: EntityId,
        intent: Intent,
        looks_at: LooksAt,
        edit: F,
    ) -> Result<WriteReceipt, E>
    where
        E: From<WriteError> + Send + 'static,
        F: FnOnce(&Writing<'_>, Option<&Bytes>) -> Result<Change, E> + Send + 'static,
    {
        let (shared, id) = (self.shared_handle(), entity.clone());
        let (refusal, refused) = std::sync::mpsc::channel::<Result<E, Box<dyn Any + Send>>>();
        let edit = move |standing: Option<Bytes>| {
            let edited =
                catch_unwind(AssertUnwindSafe(|| edit(&Writing::new(&id, &shared), standing.as_ref())));
            let refused = match edited {
                Ok(Ok(change)) => return Some(change),
                Ok(Err(error)) => Ok(error),
                Err(panic) => Err(panic),
            };
            // Whoever gave up waiting is told nothing.
            let _ = refusal.send(refused);
            None
        };
        let edit = Box::new(edit);
        let write = move |reply| Command::Update { entity, edit, looks_at, intent, reply };
        match (self.command(write).await?, refused.try_recv()) {
            (Some(receipt), _) => Ok(receipt),
            (None, Ok(Ok(error))) => Err(error),
            (None, Ok(Err(panic))) => resume_unwind(panic),
            (None, Err(_)) => Err(WriteError::Closed.into()),
        }
    }
}
