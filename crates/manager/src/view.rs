use archipelago_clock::{Dot, Hlc};
use archipelago_conflict::ConflictStrategy;
use archipelago_crdt::Value;
use archipelago_engine::{Clash, Conflict, Contender};
use archipelago_proto::{Body, EntityId, Limits, Record, Slot, decode_value};
use bytes::Bytes;
use serde::Serialize;

/// All that a master holds of one entity.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EntityView {
    /// The id of the entity.
    pub id: EntityId,
    /// The visible value; `None` if the entity was removed.
    pub value: Option<Value>,
    /// The live versions, in order of dot. Almost always one; under field merge one for each write that still wins a
    /// field.
    pub versions: Vec<VersionView>,
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

/// Two or more writes that did not know of each other, and how they were brought together.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClashReport {
    /// The field that both wrote; `None` if they clash over the entity as a whole.
    pub field: Option<String>,
    /// The side that is visible.
    pub winner: ClashSide,
    /// The other side.
    pub loser: ClashSide,
    /// Why the winner won, for a person to read.
    pub reason: &'static str,
}

/// One side of a clash.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
    decode_value(value, limits).unwrap_or_else(|_| Value::Bytes(value.to_vec()))
}

impl EntityView {
    pub(crate) fn new(
        id: EntityId,
        record: &Record,
        strategy: &dyn ConflictStrategy,
        limits: &Limits,
    ) -> Self {
        let visible = archipelago_engine::visible(record, strategy, limits);
        let value = visible.map(|visible| shown(&visible.value, limits));
        let versions = record.versions.iter().map(|version| VersionView {
            dot: version.dot.clone(),
            hlc: version.hlc,
            content: match &version.body {
                Body::Tombstone => VersionContent::Removed,
                Body::Whole(value) => VersionContent::Whole(shown(value, limits)),
                Body::Fields(fields) => VersionContent::Fields(
                    fields
                        .iter()
                        .map(|(slot, value)| {
                            (slot_name(slot), value.as_ref().map(|value| shown(value, limits)))
                        })
                        .collect(),
                ),
            },
        });
        EntityView { id, value, versions: versions.collect() }
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
            reason,
        }
    }
}
