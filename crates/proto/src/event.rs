use std::sync::Arc;

use archipelago_clock::{Dot, Hlc, VersionVector};
use bytes::Bytes;

use crate::{EntityId, FieldName, TraceId};

/// One write, as it travels between replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The unique name of the write: the admitting replica and its sequence.
    pub dot: Dot,
    /// When it was written.
    pub hlc: Hlc,
    /// What the admitting replica had applied *of the others*. Of itself it had applied every sequence below the
    /// dot's, which is why its own entry is left out. The event waits until this is covered.
    pub deps: Arc<VersionVector>,
    /// What the author of the write had seen, where that is less than the admitting replica had applied; `None` if
    /// it is the same.
    pub context: Option<Arc<VersionVector>>,
    /// The record written.
    pub entity: EntityId,
    /// What was done to it.
    pub op: Op,
    /// What the write is a part of, if its author told.
    pub trace: Option<TraceId>,
}

impl Event {
    /// True if the admitting replica had applied the write named by `dot`.
    pub fn deps_contain(&self, dot: &Dot) -> bool {
        if dot.actor == self.dot.actor { dot.sequence < self.dot.sequence } else { self.deps.contains(dot) }
    }

    /// True if the author had seen the write named by `dot`.
    pub fn context_contains(&self, dot: &Dot) -> bool {
        match &self.context {
            Some(context) => context.contains(dot),
            None => self.deps_contain(dot),
        }
    }
}

/// What a write does to an entity. Values are MessagePack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Replaces the value.
    Put(Bytes),
    /// Sets and removes single fields. Slots are distinct.
    Patch(Vec<(Slot, Option<Bytes>)>),
    /// Removes the entity.
    Delete,
}

/// A part of a record that has a register of its own under field merge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slot {
    /// The record as a whole, where it is not a map with fields: a number, a list, or a map without fields.
    Root,
    /// A field at the top of the record.
    Field(FieldName),
}
