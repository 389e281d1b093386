//! Local writes: checked, made into events, and part of the next commit.

use std::{collections::BTreeSet, sync::Arc};

use archipelago_clock::{ClockError, Dot, Hlc, VersionVector};
use archipelago_conflict::{Family, Join};
use archipelago_crdt::dynamic;
use archipelago_proto::{
    DecodeError, EncodeError, EntityId, Event, FieldName, Op, Record, Slot, TraceId, check_value,
    split_fields,
};
use bytes::Bytes;

use crate::{
    Engine, Records, WriteError, entity, mutated,
    packing::{bytes_at_most, pack},
};

/// A write that this replica admits.
#[derive(Clone, Debug)]
pub struct LocalWrite {
    /// The record to write to.
    pub entity: EntityId,
    /// What to do to it.
    pub change: Change,
    /// What the author had seen; `None` for all that this replica has applied.
    pub context: Option<VersionVector>,
    /// What the write is a part of, to be told wherever it comes.
    pub trace: Option<TraceId>,
}

/// What a local write does.
#[derive(Clone, Debug)]
pub enum Change {
    /// The entity has this value, as MessagePack, from now on.
    Put(Bytes),
    /// These fields of the entity have these values, as MessagePack, or are removed; the others stay.
    Patch(Vec<(FieldName, Option<Bytes>)>),
    /// The entity is removed.
    Delete,
}

/// A local write that is part of the next commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The unique name of the write.
    pub dot: Dot,
    /// When it was written.
    pub hlc: Hlc,
    /// What this replica had applied of others, shared with the writes before and after.
    pub deps: Arc<VersionVector>,
}

impl Written {
    /// All that this replica had applied, with the write: whoever waits until another replica covers it reads the
    /// write there.
    pub fn token(&self) -> VersionVector {
        let mut token = (*self.deps).clone();
        if !mutated!(TokenWithoutWrite) {
            token.raise(self.dot.actor.clone(), self.dot.sequence);
        }
        token
    }
}

impl Engine {
    /// Admits a local write. Its receipt may be given out once the next commit is stored.
    ///
    /// # Errors
    /// Every [`WriteError`]; the state is unchanged then.
    pub fn handle_write(
        &mut self,
        write: LocalWrite,
        now_unix_ms: u64,
        records: &dyn Records,
    ) -> Result<Written, WriteError> {
        self.check(&write)?;
        let record = self.record(&write.entity, records)?;
        let op = self.op(&write.entity, write.change, &record, write.context.as_ref())?;
        let mut clock = self.clock.clone();
        let hlc = clock.tick(now_unix_ms)?;
        let own = &self.config.replica;
        let sequence = self.vector.get(own).checked_add(1).ok_or(ClockError::SequenceExhausted)?;
        let dot = Dot::new(own.clone(), sequence);
        let context = write.context.filter(|_| !mutated!(IgnoreStaleToken)).map(Arc::new);
        let event = Event {
            dot: dot.clone(),
            hlc,
            deps: self.deps.clone(),
            context,
            entity: write.entity,
            op,
            trace: write.trace,
        };
        self.check_event(&event)?;

        // From here on nothing can fail.
        self.clock = clock;
        self.vector.see(&dot);
        self.own_writes.made(sequence, hlc);
        if self.is_alone {
            self.alone_until = sequence;
        }
        self.place(record, &event);
        self.open.applied(&dot.actor, dot.sequence);
        self.open.local_events.push(event);
        self.counters.writes_local += 1;
        Ok(Written { dot, hlc, deps: self.deps.clone() })
    }

    fn check(&self, write: &LocalWrite) -> Result<(), WriteError> {
        let limits = &self.config.limits;
        if let Some(dot) = &self.fenced {
            return Err(WriteError::Fenced { dot: dot.clone() });
        }
        let bytes = write.entity.len();
        if bytes == 0 || bytes > limits.entity_id_bytes_max {
            return Err(WriteError::EntityId { bytes, bytes_max: limits.entity_id_bytes_max });
        }
        match &write.change {
            Change::Delete => {}
            Change::Put(value) => check_value(value, limits)?,
            Change::Patch(fields) => {
                let mut bytes = 0;
                for (name, value) in fields {
                    let value = value.as_ref();
                    value.map_or(Ok(()), |value| check_value(value, limits))?;
                    bytes += value.map_or(0, Bytes::len);
                    over("field_name_bytes_max", name.len(), limits.field_name_bytes_max)?;
                }
                over("value_bytes_max", bytes, limits.value_bytes_max)?;
                over("fields_max", fields.len(), limits.fields_max)?;
                let distinct: BTreeSet<&FieldName> = fields.iter().map(|(name, _)| name).collect();
                if distinct.len() < fields.len() {
                    return Err(malformed("a patch", "the same field twice").into());
                }
            }
        }
        match &write.context {
            Some(context) if !self.vector.dominates(context) && !mutated!(AdmitAheadOfState) => {
                Err(WriteError::ContextAhead)
            }
            _ => Ok(()),
        }
    }

    /// Whether others will read the event as it will be encoded, which is known only now.
    fn check_event(&self, event: &Event) -> Result<(), EncodeError> {
        let limits = &self.config.limits;
        if let Op::Patch(fields) = &event.op {
            over("fields_max", fields.len(), limits.fields_max)?;
        }
        over("replicas_max", event.deps.len() + 1, limits.replicas_max)?;
        if bytes_at_most(event) > limits.batch_bytes_max {
            pack(&self.config.namespace, std::slice::from_ref(event), limits)?;
        }
        Ok(())
    }

    fn op(
        &self,
        entity: &EntityId,
        change: Change,
        record: &Record,
        context: Option<&VersionVector>,
    ) -> Result<Op, WriteError> {
        let limits = &self.config.limits;
        let strategy = self.config.strategies.strategy(entity);
        let by_field = match strategy.family() {
            Family::Joined(join @ (Join::Fields | Join::Crdts)) => Some(join),
            _ => None,
        };
        Ok(match (change, by_field) {
            (Change::Delete, _) => Op::Delete,
            (Change::Put(value), Some(join)) => {
                split_fields(&value, limits)?;
                let fields = normal(entity::difference(record, &value, join, context, limits), join)?;
                check_kinds(&fields, record, join)?;
                Op::Patch(fields)
            }
            (Change::Put(value), None) => Op::Put(value),
            (Change::Patch(fields), Some(join)) => {
                let standing = entity::live_fields(record);
                let changed = fields.into_iter().filter_map(|(name, value)| {
                    let slot = Slot::Field(name);
                    // A field that is set to what it is already, or removed where there is none, is written all the
                    // same: the caller names it, and it meets what others write meanwhile. Of a CRDT only what is new
                    // in it is an update.
                    let change = match (join, &value) {
                        (Join::Crdts, Some(update)) if dynamic::is_crdt(update) => {
                            let standing = standing.iter().find(|field| field.slot == slot);
                            entity::change(Some(update), standing.map(|field| &field.value), join)?
                        }
                        _ => value,
                    };
                    Some((slot, change))
                });
                let mut fields: Vec<(Slot, Option<Bytes>)> = changed.collect();
                fields.sort_by(|a, b| a.0.cmp(&b.0));
                let fields = normal(fields, join)?;
                check_kinds(&fields, record, join)?;
                Op::Patch(fields)
            }
            (Change::Patch(fields), None) => Op::Put(entity::patched(record, fields, &**strategy, limits)?),
        })
    }
}

/// The fields with each CRDT in its one canonical form, which also shows that others can read it.
fn normal(
    mut fields: Vec<(Slot, Option<Bytes>)>,
    join: Join,
) -> Result<Vec<(Slot, Option<Bytes>)>, WriteError> {
    for (_, value) in &mut fields {
        if let (Join::Crdts, Some(crdt)) = (join, value.as_mut().filter(|value| dynamic::is_crdt(value))) {
            *crdt = dynamic::normalize(crdt).map_err(|error| malformed("a CRDT", &error.to_string()))?.into();
        }
    }
    Ok(fields)
}

/// That no field that is a CRDT becomes one of another kind: as an update that could not be joined it would be of no
/// effect, here or elsewhere. Once the field is removed it may.
fn check_kinds(fields: &[(Slot, Option<Bytes>)], record: &Record, join: Join) -> Result<(), WriteError> {
    let kind = |value: &Bytes| dynamic::kind_of(value).ok();
    let updates: Vec<_> =
        fields.iter().filter_map(|(slot, value)| Some((slot, kind(value.as_ref()?)?))).collect();
    if join != Join::Crdts || updates.is_empty() {
        return Ok(());
    }
    for standing in entity::live_fields(record) {
        let Some(old) = kind(&standing.value) else { continue };
        if let Some((_, new)) = updates.iter().find(|(slot, new)| **slot == standing.slot && *new != old) {
            let reason = format!("of the kind {new} in place of one of the kind {old}: remove it first");
            return Err(malformed("a CRDT", &reason).into());
        }
    }
    Ok(())
}

pub(crate) fn malformed(what: &'static str, reason: &str) -> DecodeError {
    DecodeError::Malformed { what, reason: reason.to_owned() }
}

fn over(limit: &'static str, found: usize, max: usize) -> Result<(), EncodeError> {
    if found > max {
        let (found, max) = (found as u64, max as u64);
        return Err(EncodeError::OverLimit { limit, found, max });
    }
    Ok(())
}
