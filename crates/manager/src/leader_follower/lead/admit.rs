use archipelago_engine::leader_follower::{Demand, Proposal, Refusal};
use archipelago_proto::{EncodeError, Entry, EntryBatchBuilder, ForwardedWrite, Operation, Text};
use archipelago_store::StoreError;
use bytes::Bytes;

use super::{
    super::{WriteError, command::Command, metrics::add, node::Node},
    End,
    leading::{Leading, Reply, Waiter},
};

/// How many commands are taken in before what they ask for is sent.
const GROUP_COMMANDS_MAX: usize = 512;

impl Node {
    /// Takes in a command, and whatever else waits.
    pub(super) async fn handle_commands(
        &mut self,
        leading: &mut Leading,
        first: Command,
    ) -> Result<Option<End>, StoreError> {
        let mut next = Some(first);
        for _ in 0..GROUP_COMMANDS_MAX {
            let Some(command) = next else { break };
            match command {
                Command::Write { write, reply } => self.propose(leading, write, reply)?,
                Command::Push { operation, reply } => {
                    let index = leading.proposer.push(operation);
                    leading.waiters.push_back(Waiter { index, reply, refused: None });
                }
                Command::Promote { reply } => drop(reply.send(Ok(()))),
                Command::Demote { reply } => return Ok(Some(End::Asked(reply))),
                Command::Resync => {}
            }
            if leading.proposer.is_full() {
                self.send(leading).await;
                if leading.proposer.is_full() {
                    break;
                }
            }
            next = self.commands.try_recv().ok();
        }
        Ok(None)
    }

    fn propose(
        &mut self,
        leading: &mut Leading,
        write: ForwardedWrite,
        reply: Reply,
    ) -> Result<(), StoreError> {
        let ForwardedWrite { key, value, kind, expected_version } = write;
        if let Err(error) = self.check(&key, value.as_ref()) {
            add(&self.shared.counters.writes_refused, 1);
            let _ = reply.send(Err(error.into()));
            return Ok(());
        }
        // The buffer that they came in may be a large one.
        let key = key.detached();
        let proposal = match value {
            Some(value) => Proposal::Put { key: key.clone(), value, kind },
            None => Proposal::Delete { key: key.clone() },
        };
        let shared = &self.shared;
        let demand = Demand { version: expected_version };
        let proposed = leading.proposer.propose(proposal, demand, |key| {
            Ok::<_, StoreError>(shared.row(key.as_bytes())?.map(|row| row.version))
        })?;
        match proposed {
            Ok(index) => {
                add(&shared.counters.writes, 1);
                leading.waiters.push_back(Waiter { index, reply, refused: None });
            }
            Err(refusal) => {
                add(&shared.counters.writes_refused, 1);
                let key = key.to_string();
                let refused = match refusal {
                    Refusal::Exists { version } => WriteError::AlreadyExists { key, version },
                    Refusal::Missing => WriteError::NotFound { key },
                    Refusal::Version { found } => {
                        let expected = expected_version.unwrap_or_default();
                        WriteError::VersionMismatch { key, expected, found }
                    }
                };
                if self.lease.is_none() && leading.proposer.is_empty() {
                    // Only an entry behind what it rests on shows that this node still leads.
                    leading.proposer.push(Operation::Nothing);
                }
                let index = leading.proposer.index();
                leading.waiters.push_back(Waiter { index, reply, refused: Some(refused) });
                leading.answer(self.state.history().index);
            }
        }
        Ok(())
    }

    /// A refusal tells of the state as a read does. All that it rests on is stored; it is told once this node is known to
    /// lead after that.
    pub(super) fn answer_refused(&self, leading: &mut Leading) {
        if leading.refused.is_empty() {
            return;
        }
        let refused = std::mem::take(&mut leading.refused);
        let (lease, token) = (self.lease.clone(), self.token);
        self.shared.tasks.spawn(async move {
            let leads = match lease {
                Some(lease) => lease.confirm(token).await,
                None => true,
            };
            for (reply, error) in refused {
                let unsure = || WriteError::NotWritten { reason: "it is not sure who leads".to_owned() };
                let _ = reply.send(Err(if leads { error } else { unsure() }));
            }
        });
    }

    fn check(&self, key: &Text, value: Option<&Bytes>) -> Result<(), EncodeError> {
        let limits = &self.shared.options.limits;
        let within = |limit, found: usize, max: usize| match found <= max {
            true => Ok(()),
            false => Err(EncodeError::OverLimit { limit, found: found as u64, max: max as u64 }),
        };
        if key.is_empty() {
            return Err(EncodeError::Unrepresentable { reason: "a key has at least one byte".into() });
        }
        within("entity_id_bytes_max", key.len(), limits.entity_id_bytes_max)?;
        let bytes = value.map_or(0, Bytes::len);
        within("value_bytes_max", bytes, limits.value_bytes_max)?;
        if let Some(value) = value {
            archipelago_proto::check_value(value, limits)
                .map_err(|error| EncodeError::Unrepresentable { reason: error.to_string() })?;
        }
        let payload_bytes_max = self.shared.pipeline.payload_bytes_max().unwrap_or(usize::MAX);
        within("payload_bytes_max", (bytes + key.len()).saturating_add(1_024), payload_bytes_max)?;
        if bytes > limits.batch_bytes_target {
            let entry = Entry::new(Operation::Put {
                key: key.clone(),
                value: value.cloned().unwrap_or_default(),
                kind: archipelago_proto::PutKind::Upsert,
            });
            EntryBatchBuilder::check(&entry, limits)?;
        }
        Ok(())
    }
}
