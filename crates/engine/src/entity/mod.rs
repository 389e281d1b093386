//! The replicated state of one entity: what an event does to it, what of it is visible, and its digest.

mod crdts;
mod fields;
mod merge;
mod reclaim;
mod siblings;
mod view;
mod whole;

use archipelago_clock::{Dot, Hlc};
use archipelago_conflict::{Family, Join};
use archipelago_proto::{Body, Event, Limits, Op, Record, Slot, Version};
use bytes::Bytes;

use crate::mutated;

pub(crate) use crdts::{has_unknown_crdt, holds_unknown_crdt};
pub(crate) use fields::{change, difference};
pub(crate) use merge::{Side, in_one_form, merge};
pub(crate) use reclaim::reclaim;
pub use reclaim::tombstones;
pub(crate) use view::live_fields;
pub use view::{FieldView, Visible, is_held_elsewhere, visible};
pub(crate) use whole::patched;

/// Two writes of the same thing that did not know of each other, and which of them is visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    /// The field both wrote; `None` if they clash over the entity as a whole.
    pub field: Option<Slot>,
    /// The side with the greater stamp.
    pub winner: Contender,
    /// The other side.
    pub loser: Contender,
}

/// One side of a [`Clash`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    /// The write.
    pub dot: Dot,
    /// When it was written.
    pub hlc: Hlc,
    /// What it wrote, as MessagePack; `None` if it removed.
    pub value: Option<Bytes>,
}

/// Applies `event` to `record` and gives what it clashed with: empty exactly if every live version that the event
/// touches was known to its author.
///
/// Whatever order causality allows events to come in, the outcome is the same: see the invariants in the crate's docs.
pub(crate) fn place(record: &mut Record, event: &Event, family: Family, limits: &Limits) -> Vec<Clash> {
    match family {
        Family::Siblings => whole::place(record, event, whole::Keep::Siblings),
        Family::Joined(Join::Fields) => fields::place(record, event, limits),
        Family::Joined(Join::Crdts) => crdts::place(record, event, limits),
        Family::Joined(_) => whole::place(record, event, whole::Keep::Greatest),
    }
}

/// True if several siblings are live and not all of them are removals.
pub fn is_contested(record: &Record) -> bool {
    record.versions.len() > 1 && record.versions.iter().any(|version| version.body != Body::Tombstone)
}

/// A version of which `event`'s author knew, or a tombstone of which its admitting replica knew: it is superseded.
///
/// Tombstones go by the admitting replica because they may be reclaimed once everyone has them: from then on their
/// effect must be the same as if they were never there.
fn superseded(event: &Event, dot: &Dot, is_tombstone: bool) -> bool {
    if mutated!(SupersedeNothing) {
        return false;
    }
    event.context_contains(dot) || (is_tombstone && event.deps_contain(dot) && !mutated!(TombstonesByContext))
}

/// True if the write `(hlc, dot)` wins over the event.
fn beats(hlc: Hlc, dot: &Dot, event: &Event) -> bool {
    (hlc, dot) > (event.hlc, &event.dot)
}

fn clash(field: Option<Slot>, standing: Contender, event: &Event, value: Option<Bytes>) -> Clash {
    let arriving = Contender { dot: event.dot.clone(), hlc: event.hlc, value };
    let (winner, loser) =
        if beats(standing.hlc, &standing.dot, event) { (standing, arriving) } else { (arriving, standing) };
    Clash { field, winner, loser }
}

fn contender(version: &Version, value: Option<Bytes>) -> Contender {
    Contender { dot: version.dot.clone(), hlc: version.hlc, value }
}

/// Puts `version` in its place by dot.
fn insert(record: &mut Record, version: Version) {
    let by_dot = record.versions.partition_point(|other| other.dot < version.dot);
    let at = if mutated!(SiblingsByArrival) { record.versions.len() } else { by_dot };
    record.versions.insert(at, version);
}

/// The value that an operation writes as a whole.
fn whole_value(op: &Op) -> Option<Bytes> {
    match op {
        Op::Delete => None,
        Op::Put(value) => Some(value.clone()),
        Op::Patch(fields) => Some(view::assemble(fields)),
    }
}
