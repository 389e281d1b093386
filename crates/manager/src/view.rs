use archipelago_clock::{Dot, Hlc, VersionVector};
use archipelago_conflict::{Attention, ConflictStrategy, Family, Join};
use archipelago_crdt::Value;
use archipelago_engine::{Clash, Conflict, Contender, is_held_elsewhere};
use archipelago_proto::{Body, EntityId, Limits, Record, Slot, decode_value};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Schema, SessionToken, schema::Lifted};

/// All that a master holds of one entity.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EntityView {
    /// The id of the entity.
    pub id: EntityId,
    /// The visible value; `None` if the entity was removed.
    pub value: Option<Value>,
    /// The version of its schema in which the visible value is stored. 1 if it names none.
    pub schema_version: u32,
    /// Why values are shown as they are stored instead of lifted, one text for each; almost always none. They can be
    /// overwritten and resolved all the same.
    pub schema_errors: Vec<String>,
    /// True if several siblings are live: the value is one of them, or computed from them. Never under the joined
    /// strategies.
    pub conflicted: bool,
    /// The live versions, in order of dot. Almost always one; under field merge one for each write that still wins a
    /// field.
    pub versions: Vec<VersionView>,
    /// All that this master had applied when it was looked at: a write that carries it supersedes what is shown here,
    /// and nothing that was written meanwhile.
    pub token: SessionToken,
}

/// One live version of an entity.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VersionView {
    /// The write that made it.
    pub dot: Dot,
    /// When that was.
    pub hlc: Hlc,
    /// What of that write is still live.
    pub content: VersionContent,
}

/// What a live version holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VersionContent {
    /// The entity was removed.
    Removed,
    /// The value as a whole.
    Whole(Value),
    /// The fields that this version wins, with `None` for a removed one.
    Fields(Vec<(String, Option<Value>)>),
}

/// Why an entity has the value that it has.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The entity as it is.
    pub entity: EntityView,
    /// The name of the strategy that holds for it.
    pub strategy: String,
    /// What that strategy does, for a person to read.
    pub rule: String,
    /// The conflicts about it that are remembered, oldest first: what lost, to whom, and why.
    pub conflicts: Vec<ConflictReport>,
}

pub(crate) fn rule(strategy: &dyn ConflictStrategy) -> &'static str {
    match strategy.family() {
        Family::Joined(Join::Whole) => "of concurrent writes the one with the greatest stamp is the record",
        Family::Joined(Join::Fields) => {
            "of concurrent writes of a field the one with the greatest stamp is the field"
        }
        Family::Joined(_) => {
            "concurrent updates of CRDTs join; of plain writes of a field the one with the greatest stamp is the field"
        }
        Family::Siblings => match strategy.attention() {
            Attention::Resolve => {
                "concurrent writes wait for someone to resolve them; the greatest stamp is visible"
            }
            Attention::Report => "concurrent writes are reported; the greatest stamp is visible",
            _ => "concurrent writes are all kept, and what is visible is computed from them",
        },
    }
}

/// Two or more writes that did not know of each other, and how they were brought together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConflictReport {
    /// The entity written.
    pub entity_id: EntityId,
    /// The name of the strategy that decided.
    pub strategy: String,
    /// The write that revealed the conflict.
    pub dot: Dot,
    /// What clashed: under field merge one a field.
    pub clashes: Vec<ClashReport>,
}

/// Two writes of the same thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClashReport {
    /// The field that both wrote; `None` if they clash over the entity as a whole.
    pub field: Option<String>,
    /// The side that is visible.
    pub winner: ClashSide,
    /// The other side.
    pub loser: ClashSide,
    /// Why the winner won, for a person to read.
    pub reason: String,
}

/// One side of a clash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClashSide {
    /// The write.
    pub dot: Dot,
    /// When it was written.
    pub hlc: Hlc,
    /// What it wrote; `None` if it removed.
    pub value: Option<Value>,
}

/// The text that stands for the record as a whole where names of fields are listed.
const ROOT: &str = "";

fn slot_name(slot: &Slot) -> String {
    match slot {
        Slot::Root => ROOT.to_owned(),
        Slot::Field(name) => name.to_string(),
    }
}

/// A value for a person to look at: bytes that are no value are shown as bytes.
fn shown(value: &Bytes, limits: &Limits) -> Value {
    decode_value(value, &limits.for_state()).unwrap_or_else(|_| Value::Bytes(value.to_vec()))
}

impl EntityView {
    pub(crate) fn new(
        id: EntityId,
        record: &Record,
        strategy: &dyn ConflictStrategy,
        schema: &Schema,
        mut seen: VersionVector,
        limits: &Limits,
    ) -> Self {
        // The record may be a moment newer than the vector. What is in it is applied, and with it all before it.
        for version in &record.versions {
            seen.raise(version.dot.actor.clone(), version.dot.sequence);
        }
        let siblings = strategy.family() == Family::Siblings;
        let visible = archipelago_engine::visible(record, strategy, limits);
        let mut schema_errors = Vec::new();
        let mut lifted = |stored: &Bytes| match Lifted::new(stored, schema, limits) {
            Ok(lifted) => (shown(&lifted.value, limits), lifted.version),
            Err(error) => {
                schema_errors.push(error.to_string());
                (shown(stored, limits), Lifted::version_of(stored, limits))
            }
        };
        let visible = visible.map(|visible| lifted(&visible.value));
        let schema_version = visible.as_ref().map_or(1, |(_, version)| *version);
        let value = visible.map(|(value, _)| value);
        let versions = record.versions.iter().map(|version| VersionView {
            dot: version.dot.clone(),
            hlc: version.hlc,
            content: match &version.body {
                Body::Tombstone => VersionContent::Removed,
                Body::Whole(value) => VersionContent::Whole(lifted(value).0),
                Body::Fields(fields) => VersionContent::Fields(
                    fields
                        .iter()
                        .filter(|(_, value)| !value.as_ref().is_some_and(|value| is_held_elsewhere(value)))
                        .map(|(slot, value)| {
                            (slot_name(slot), value.as_ref().map(|value| shown(value, limits)))
                        })
                        .collect(),
                ),
            },
        });
        let versions = versions.collect();
        schema_errors.sort();
        schema_errors.dedup();
        let conflicted = siblings && archipelago_engine::is_contested(record);
        EntityView { id, value, schema_version, schema_errors, conflicted, versions, token: seen.into() }
    }
}

impl ConflictReport {
    pub(crate) fn new(conflict: &Conflict, limits: &Limits) -> Self {
        ConflictReport {
            entity_id: conflict.entity.clone(),
            strategy: conflict.strategy.clone(),
            dot: conflict.dot.clone(),
            clashes: conflict.clashes.iter().map(|clash| ClashReport::new(clash, limits)).collect(),
        }
    }
}

impl ClashReport {
    fn new(clash: &Clash, limits: &Limits) -> Self {
        let side = |contender: &Contender| ClashSide {
            dot: contender.dot.clone(),
            hlc: contender.hlc,
            value: contender.value.as_ref().map(|value| shown(value, limits)),
        };
        let reason = if clash.winner.hlc > clash.loser.hlc {
            "it was written later"
        } else if clash.winner.dot.actor != clash.loser.dot.actor {
            "both have the same time, and its master's id is higher"
        } else {
            "both have the same time, and its sequence is higher"
        };
        ClashReport {
            field: clash.field.as_ref().map(slot_name),
            winner: side(&clash.winner),
            loser: side(&clash.loser),
            reason: reason.to_owned(),
        }
    }
}
