use std::collections::HashMap;

use archipelago_clock::{Hlc, ReplicaId};
use archipelago_proto::{BatchEncoder, EncodeError, EntityId, Event, Limits, Record, ReplicaTable};

use crate::effect::{Commit, Outboxed};

/// Changes since the last commit, kept decoded: a second change of an entity finds the first.
#[derive(Debug, Default)]
pub(crate) struct OpenCommit {
    pub(crate) entities: HashMap<EntityId, Record>,
    pub(crate) local_events: Vec<Event>,
    pub(crate) vector: HashMap<ReplicaId, u64>,
}

impl OpenCommit {
    /// What to store; afterwards nothing is open. `table` has grown by the replicas that were new.
    pub(crate) fn close(
        &mut self,
        namespace: &str,
        table: &mut ReplicaTable,
        limits: &Limits,
        hlc_ceiling: Option<Hlc>,
    ) -> Result<Commit, EncodeError> {
        let known = table.replicas().len();
        let mut commit = Commit { hlc_ceiling, ..Commit::default() };
        commit.entities =
            self.entities.drain().map(|(entity, record)| (entity, record.encode(table))).collect();
        commit.vector =
            self.vector.drain().map(|(replica, sequence)| (table.intern(&replica), sequence)).collect();
        if table.replicas().len() > known {
            let first = u32::try_from(known).expect("fewer than 2^32 replicas");
            commit.replicas = Some((first, table.replicas()[known..].to_vec()));
        }
        commit.outbox = pack(namespace, &std::mem::take(&mut self.local_events), limits)?;
        Ok(commit)
    }
}

/// Packs events of one origin into as few messages as the limits allow.
///
/// # Errors
/// [`EncodeError::OverLimit`] if a single event makes a message over `batch_bytes_max`.
pub fn pack(namespace: &str, events: &[Event], limits: &Limits) -> Result<Vec<Outboxed>, EncodeError> {
    let mut outbox = Vec::new();
    let mut rest = events;
    while let Some(first) = rest.first() {
        let mut encoder = BatchEncoder::new(namespace, limits);
        let packed = rest.iter().take_while(|event| encoder.push(event)).count();
        let last_sequence = first.dot.sequence + packed as u64 - 1;
        if let Some(message) = encoder.finish()? {
            outbox.push(Outboxed { first_sequence: first.dot.sequence, last_sequence, message });
        }
        rest = &rest[packed..];
    }
    Ok(outbox)
}
