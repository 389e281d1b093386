use std::{collections::BTreeMap, time::Duration};

use archipelago::{
    LeaderFollowerManager, Value,
    leader_follower::{Ack, Found, ReadConsistency, Write, WriteError},
};
use axum::http::HeaderMap;

use super::PatchTurns;
use crate::{
    app::App,
    namespace::Namespace,
    problem::{Problem, ProblemType},
    receipt::{Outcome, Receipt},
    session::{self, CONTEXT_HEADER, Condition, Consistency},
};

/// How long a write is waited for unless the request says so: longer than another leader takes to be elected.
const WAIT_DEFAULT: Duration = Duration::from_secs(5);

/// How often a patch is tried while others change the same entity.
const PATCH_ATTEMPTS_MAX: usize = 16;

/// Writes at a node that leads, or follows.
#[derive(Clone, Debug)]
pub(crate) struct LeaderWriter<'a> {
    pub(super) node: &'a LeaderFollowerManager,
    pub(super) turns: &'a PatchTurns,
    pub(super) condition: Condition,
    pub(super) ack: Ack,
    pub(super) wait: Duration,
}

impl<'a> LeaderWriter<'a> {
    pub(super) fn new(
        app: &App,
        namespace: &'a Namespace,
        node: &'a LeaderFollowerManager,
        headers: &HeaderMap,
        consistency: &Consistency,
    ) -> Result<LeaderWriter<'a>, Problem> {
        if headers.contains_key(CONTEXT_HEADER) {
            let detail =
                format!("a leader has no conflicts to show: send If-Match instead of {CONTEXT_HEADER}");
            return Err(Problem::new(ProblemType::WrongMode, detail));
        }
        let configured = Ack::from(namespace.options.ack);
        Ok(LeaderWriter {
            node,
            turns: &namespace.patch_turns,
            condition: Condition::of(headers)?,
            ack: consistency.ack.as_deref().map_or(Ok(configured), session::leader_ack)?,
            wait: session::wait(consistency.wait_ms, WAIT_DEFAULT, app.wait_max())?,
        })
    }

    pub(super) async fn put(self, id: String, value: Value) -> Result<Receipt, Problem> {
        let write = match &self.condition {
            Condition::Anything => Write::upsert(&*id, &value),
            Condition::Present => Write::update(&*id, &value),
            Condition::Absent => Write::create(&*id, &value),
            Condition::OneOf(tags) => {
                Write::upsert(&*id, &value).expecting(self.version_of(&id, tags).await?)
            }
        };
        Ok(self.write(id, write, Outcome::Written).await?)
    }

    pub(super) async fn delete(self, id: String) -> Result<Receipt, Problem> {
        let write = match &self.condition {
            Condition::Anything | Condition::Present => Write::delete(&*id),
            Condition::Absent => return Err(Problem::invalid("what is not there cannot be removed")),
            Condition::OneOf(tags) => Write::delete(&*id).expecting(self.version_of(&id, tags).await?),
        };
        match self.write(id.clone(), write, Outcome::Removed).await {
            Err(WriteError::NotFound { .. }) if self.condition == Condition::Anything => {
                Err(Problem::no_such_entity(&id))
            }
            outcome => Ok(outcome?),
        }
    }

    /// Reads, changes, and writes if nobody was faster.
    pub(super) async fn patch(self, id: String, fields: Value) -> Result<Receipt, Problem> {
        let Value::Map(fields) = fields else { return Err(Problem::no_fields()) };
        let _turn = self.turns.of(&id).await;
        let mut consistency = ReadConsistency::Eventual;
        if let Condition::OneOf(tags) = &self.condition
            && !self.node.is_leader()
        {
            // Of a write that this node, a follower, may not have applied yet.
            self.node.wait_for_sequence(self.version_of(&id, tags).await?, self.wait).await;
        }
        for _ in 0..PATCH_ATTEMPTS_MAX {
            let found: Found<Value> = self.node.read_within(&*id, consistency, self.wait).await?;
            self.judge(&id, &found)?;
            let patched = Value::Map(patched(found.value, &fields));
            let write = Write::upsert(&*id, &patched).expecting(found.version);
            match self.write(id.clone(), write, Outcome::Written).await {
                Err(WriteError::VersionMismatch { found: Some(version), .. }) => {
                    self.node.wait_for_sequence(version, self.wait).await;
                }
                // It was removed; when, only the leader knows.
                Err(WriteError::VersionMismatch { .. }) => consistency = ReadConsistency::Linearizable,
                outcome => return Ok(outcome?),
            }
        }
        let detail = format!("{id:?} was changed by others {PATCH_ATTEMPTS_MAX} times meanwhile; try again");
        Err(Problem::new(ProblemType::NotWritten, detail))
    }

    fn judge(&self, id: &str, found: &Found<Value>) -> Result<(), Problem> {
        let is_met = match &self.condition {
            Condition::Anything => true,
            Condition::Present => found.value.is_some(),
            Condition::Absent => found.value.is_none(),
            Condition::OneOf(tags) => versions(tags).any(|version| version == found.version),
        };
        if is_met { Ok(()) } else { Err(mismatch(id)) }
    }

    /// Which of the states is to be expected: a write can name one. That which the entity has here, or else the newest.
    async fn version_of(&self, id: &str, tags: &[String]) -> Result<u64, Problem> {
        let newest = versions(tags).max().ok_or_else(|| mismatch(id))?;
        if tags.len() == 1 {
            return Ok(newest);
        }
        let here: Found<Value> = self.node.read(id, ReadConsistency::Eventual).await?;
        Ok(versions(tags).find(|version| *version == here.version).unwrap_or(newest))
    }

    async fn write(&self, id: String, write: Write, outcome: Outcome) -> Result<Receipt, WriteError> {
        let receipt = self.node.write(write.ack(self.ack).within(self.wait)).await?;
        Ok(Receipt::of_leader(id, &receipt, outcome))
    }
}

/// The versions that tags name; 0 is that of what is not there, which has no tag.
fn versions(tags: &[String]) -> impl Iterator<Item = u64> {
    tags.iter().filter_map(|tag| tag.parse().ok()).filter(|version| *version > 0)
}

fn mismatch(id: &str) -> Problem {
    let detail = format!("{id:?} is not in the state that the condition names; read it again");
    Problem::new(ProblemType::VersionMismatch, detail)
}

fn patched(standing: Option<Value>, fields: &BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let mut whole = match standing {
        Some(Value::Map(standing)) => standing,
        _ => BTreeMap::new(),
    };
    whole.extend(fields.iter().map(|(name, value)| (name.clone(), value.clone())));
    whole
}
