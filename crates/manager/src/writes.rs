//! Many writes handed over together.

use std::collections::VecDeque;

use archipelago_engine::Change;
use archipelago_proto::{EntityId, encode_value};
use serde::Serialize;
use tokio::sync::oneshot;

use crate::{MultiMasterManager, WriteError, WriteReceipt, replica::Command, schema::Writing};

/// How many writes are handed over at a time.
pub(crate) const TOGETHER: usize = 64;
/// How many times that many are under way at once.
const UNDER_WAY: usize = 4;

/// One of the writes that are handed over together.
pub(crate) enum Given {
    /// This change.
    Change(EntityId, Change),
    /// What this change becomes depends on what stands.
    Depending(EntityId, Change),
    /// None: it has failed already.
    Refused(WriteError),
}

impl Given {
    pub(crate) fn entity(&self) -> Option<&EntityId> {
        match self {
            Given::Change(entity, _) | Given::Depending(entity, _) => Some(entity),
            Given::Refused(_) => None,
        }
    }
}

impl MultiMasterManager {
    /// Gives many entities values, with an outcome for each, in their order.
    ///
    /// Each is a write of its own, as by [`write`](Self::write), admitted in the order given: some may be refused while
    /// others stand, and between them others may write. What is saved is handing over each and waiting for each:
    /// writes that are there all at once, as in a bulk load, take less time together. Memory holds a receipt for each;
    /// hand millions over in portions.
    pub async fn write_many<K, T>(
        &self,
        values: impl IntoIterator<Item = (K, T)>,
    ) -> Vec<Result<WriteReceipt, WriteError>>
    where
        K: Into<EntityId>,
        T: Serialize,
    {
        let (mut values, mut outcomes) = (values.into_iter(), Vec::new());
        let mut under_way = VecDeque::new();
        loop {
            let given: Vec<Given> = values
                .by_ref()
                .take(TOGETHER)
                .map(|(entity, value)| self.given(entity.into(), &value))
                .collect();
            if under_way.len() == UNDER_WAY || given.is_empty() {
                match under_way.pop_front() {
                    Some(portion) => outcomes.extend(outcomes_of(portion).await),
                    None => return outcomes,
                }
            }
            if !given.is_empty() {
                under_way.push_back(self.hand_over(given).await);
            }
        }
    }

    fn given<T: Serialize>(&self, entity: EntityId, value: &T) -> Given {
        let change = match encode_value(value, self.limits()) {
            Ok(value) => Change::Put(value),
            Err(error) => return Given::Refused(error.into()),
        };
        let writing = Writing::new(&entity, self.shared());
        match writing.looks_at(&change) {
            Some(_) => Given::Depending(entity, change),
            None => match writing.change(change, None) {
                Ok(change) => Given::Change(entity, change),
                Err(error) => Given::Refused(error),
            },
        }
    }

    async fn hand_over(&self, given: Vec<Given>) -> Portion {
        let (reply, receipts) = oneshot::channel();
        let writes = given.len();
        let sent = self.send_write(Command::WriteMany { given, reply }).await;
        Portion { writes, receipts: sent.is_ok().then_some(receipts) }
    }
}

/// Writes that were handed over together; the manager may have been closed before that.
struct Portion {
    writes: usize,
    receipts: Option<oneshot::Receiver<Vec<Result<WriteReceipt, WriteError>>>>,
}

async fn outcomes_of(Portion { writes, receipts }: Portion) -> Vec<Result<WriteReceipt, WriteError>> {
    let outcomes = match receipts {
        Some(receipts) => receipts.await.ok(),
        None => None,
    };
    outcomes.unwrap_or_else(|| (0..writes).map(|_| Err(WriteError::Closed)).collect())
}
