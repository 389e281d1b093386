//! Local writes: admitted into the commit at hand, and acknowledged once that is stored.

use archipelago_engine::{Change, LocalWrite, Written};
use archipelago_proto::EntityId;
use archipelago_store::Table;
use bytes::Bytes;
use tokio::sync::oneshot;

use super::{Edit, Replica, Stored};
use crate::{
    Expected, Reached, SessionToken, WriteError, WriteReceipt, metrics,
    schema::{LooksAt, Writing, may_be_marked},
    writes::Given,
};

/// Who waits for the commit at hand to be stored.
#[derive(Default)]
pub(crate) struct Unacknowledged {
    waiting: Vec<Waiting>,
    /// How many writes are part of the commit.
    admitted: u64,
}

enum Waiting {
    One(Admitted, Acknowledgement),
    Many(Vec<Result<Admitted, WriteError>>, oneshot::Sender<Vec<Result<WriteReceipt, WriteError>>>),
}

/// A write that is part of the commit at hand.
struct Admitted {
    written: Written,
    entity_id: EntityId,
}

/// Who waits for the receipt of one write.
pub(super) enum Acknowledgement {
    Write(oneshot::Sender<Result<WriteReceipt, WriteError>>),
    Update(oneshot::Sender<Result<Option<WriteReceipt>, WriteError>>),
}

impl Acknowledgement {
    fn send(self, outcome: Result<WriteReceipt, WriteError>) {
        // Whoever gave up waiting is told nothing; the write stands.
        match self {
            Acknowledgement::Write(reply) => drop(reply.send(outcome)),
            Acknowledgement::Update(reply) => drop(reply.send(outcome.map(Some))),
        }
    }
}

impl Replica {
    pub(super) fn admit(&mut self, write: LocalWrite, records: &Stored<'_>, reply: Acknowledgement) {
        match self.admitted(write, records) {
            Ok(admitted) => self.unacknowledged.waiting.push(Waiting::One(admitted, reply)),
            Err(error) => reply.send(Err(error)),
        }
    }

    /// Admits what can be of these, in their order; each has an outcome of its own.
    pub(super) fn admit_many(
        &mut self,
        given: Vec<Given>,
        records: &Stored<'_>,
        reply: oneshot::Sender<Vec<Result<WriteReceipt, WriteError>>>,
    ) {
        let outcomes = given.into_iter().map(|given| {
            let (entity, change) = match given {
                Given::Change(entity, change) => (entity, change),
                Given::Depending(entity, change) => {
                    let change = self.depending(&entity, change)?;
                    (entity, change)
                }
                Given::Refused(error) => return Err(error),
            };
            self.admitted(LocalWrite { entity, change, context: None, trace: None }, records)
        });
        let outcomes = outcomes.collect();
        self.unacknowledged.waiting.push(Waiting::Many(outcomes, reply));
    }

    /// What a change becomes that depends on what stands.
    fn depending(&self, entity: &EntityId, change: Change) -> Result<Change, WriteError> {
        let writing = Writing::new(entity, &self.shared);
        let standing = match writing.looks_at(&change) {
            Some(looks_at) => self.standing(entity, looks_at)?,
            None => None,
        };
        writing.change(change, standing.as_ref())
    }

    fn admitted(&mut self, write: LocalWrite, records: &Stored<'_>) -> Result<Admitted, WriteError> {
        let entity_id = write.entity.clone();
        Ok(Admitted { written: self.write(write, records)?, entity_id })
    }

    pub(super) fn expect(&self, entity: &EntityId, expected: &Expected) -> Result<(), WriteError> {
        if let Some(reason) = &self.failed {
            return Err(WriteError::StoreFailed { reason: reason.clone() });
        }
        expected.check(entity, &self.engine, &self.shared.stored())
    }

    pub(super) fn edit(
        &self,
        entity: &EntityId,
        looks_at: LooksAt,
        edit: Edit,
    ) -> Result<Option<Change>, WriteError> {
        Ok(edit(self.standing(entity, looks_at)?))
    }

    /// The visible value of the entity. Where only marks are looked at, one without any may be left out.
    fn standing(&self, entity: &EntityId, looks_at: LooksAt) -> Result<Option<Bytes>, WriteError> {
        if let Some(reason) = &self.failed {
            return Err(WriteError::StoreFailed { reason: reason.clone() });
        }
        if entity.is_empty() {
            // Stores have no row without a key. The engine refuses the write, and says why.
            return Ok(None);
        }
        let records = self.shared.stored();
        if looks_at == LooksAt::Marks && !self.engine.is_open(entity) {
            let stored = self.shared.store.get(Table::Entities, entity.as_bytes());
            if stored.is_ok_and(|stored| !stored.is_some_and(|stored| may_be_marked(&stored))) {
                return Ok(None);
            }
        }
        let visible = self.engine.visible(entity, &records);
        let visible = visible.map_err(archipelago_engine::WriteError::from)?;
        Ok(visible.map(|visible| visible.value))
    }

    pub(super) fn compacted(&self, entity: &EntityId) -> Result<Option<Change>, WriteError> {
        let compacted = self.engine.compacted(entity, &self.shared.stored());
        Ok(compacted.map_err(archipelago_engine::WriteError::from)?)
    }

    fn write(&mut self, write: LocalWrite, records: &Stored<'_>) -> Result<Written, WriteError> {
        if let Some(reason) = &self.failed {
            return Err(WriteError::StoreFailed { reason: reason.clone() });
        }
        let outbox_events = metrics::value(&self.shared.counters.outbox_len) + self.unacknowledged.admitted;
        self.outbox.check_room(outbox_events)?;
        let trace = write.trace;
        let written = self.engine.handle_write(write, self.clock.now_unix_ms(), records)?;
        if let Some(trace) = trace {
            tracing::info!(dot = %written.dot, %trace, "written");
        }
        self.unacknowledged.admitted += 1;
        Ok(written)
    }

    /// The commit is stored, or failed.
    pub(super) fn acknowledge_writes(&mut self) {
        let (queued, master_id) = (self.shared.link.borrow().queues(), self.shared.replica());
        let receipt = |Admitted { written, entity_id }| match &self.failed {
            Some(reason) => Err(WriteError::StoreFailed { reason: reason.clone() }),
            None => Ok(WriteReceipt {
                dot: written.dot.clone(),
                entity_id,
                master_id: master_id.clone(),
                hlc: written.hlc,
                token: SessionToken::of(written),
                queued,
                reached: Reached { enough: true, ..Reached::default() },
            }),
        };
        for waiting in self.unacknowledged.waiting.drain(..) {
            match waiting {
                Waiting::One(admitted, reply) => reply.send(receipt(admitted)),
                Waiting::Many(outcomes, reply) => {
                    let outcomes = outcomes.into_iter().map(|outcome| outcome.and_then(receipt));
                    let _ = reply.send(outcomes.collect());
                }
            }
        }
        self.unacknowledged.admitted = 0;
    }
}
