use std::collections::BTreeMap;

use archipelago_clock::{ReplicaId, VersionVector};
use archipelago_conflict::{Family, Join};
use archipelago_crdt::{GSet, PnCounter};
use archipelago_engine::{Change, LocalWrite, WriteError};
use archipelago_proto::{EntityId, encode_value};
use bytes::Bytes;

use super::{World, process::Input};
use crate::simulation::{
    Author, Edit, Turn,
    checkers::{Seen, clocks},
    island::Standing,
    ledger::{Deed, Fate, NewEntry},
    turn::Wanted,
};

/// The field in which a counter is.
pub(in crate::simulation) const COUNTER: &str = "count";
/// The field in which a set is.
pub(in crate::simulation) const SET: &str = "set";

/// A client: what it has seen.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) token: VersionVector,
    pub(super) seen: BTreeMap<EntityId, Seen>,
}

impl World<'_> {
    pub(super) fn client_writes(
        &mut self,
        at: usize,
        client: usize,
        entity: usize,
        edit: Edit,
        author: Author,
    ) {
        let at = at % self.islands.len();
        let entity = self.entity(entity);
        let deed = edit.deed(self.scenario.strategies().strategy(&entity).family());
        let Some(change) = self.change(at, &entity, deed) else { return };
        let token = self.clients.entry(client).or_default().token.clone();
        let context = match author {
            Author::UpToDate => None,
            Author::Stale => Some(token),
        };
        self.writes(at, client, entity, deed, change, context);
    }

    fn change(&mut self, at: usize, entity: &EntityId, deed: Deed) -> Option<Change> {
        let number = self.ledger.next_number();
        let limits = self.limits.clone();
        let value = |number: u64| encode_value(&number, &limits).expect("a number is a value");
        let field = |field: u8| format!("f{field}").as_str().into();
        Some(match deed {
            Deed::Put => Change::Put(value(number)),
            Deed::SetField(name) => Change::Patch(vec![(field(name), Some(value(number)))]),
            Deed::RemoveField(name) => Change::Patch(vec![(field(name), None)]),
            Deed::Delete => Change::Delete,
            Deed::Increment(by) => {
                let actor = self.islands[at].replica().clone();
                let mut counter: PnCounter<ReplicaId> = self.crdt(at, entity, COUNTER)?;
                counter.increment(actor, u64::from(by)).ok()?;
                let counter = encode_value(&counter, &limits).expect("a counter is a value");
                Change::Patch(vec![(COUNTER.into(), Some(counter))])
            }
            Deed::Insert => {
                let mut set: GSet<u64> = self.crdt(at, entity, SET)?;
                set.insert(number);
                let set = encode_value(&set, &limits).expect("a set is a value");
                Change::Patch(vec![(SET.into(), Some(set))])
            }
            Deed::Other => return None,
        })
    }

    /// The CRDT in a field as the replica shows it, or an empty one; `None` if the replica is down.
    fn crdt<T: serde::de::DeserializeOwned + Default>(
        &mut self,
        at: usize,
        entity: &EntityId,
        field: &str,
    ) -> Option<T> {
        let limits = self.limits.clone();
        let (engine, rows, _) = self.process(at)?;
        let visible = engine.visible(entity, rows).ok()?;
        Some(
            visible
                .and_then(|visible| crate::simulation::view::field(&visible.value, field, &limits))
                .unwrap_or_default(),
        )
    }

    /// A turn of a workload of the user.
    pub(super) fn client_turns(&mut self, at: usize, client: usize, dice: u64) {
        let at = at % self.islands.len();
        let Some(workload) = self.scenario.workload() else { return };
        let (number, limits) = (self.ledger.next_number(), self.limits.clone());
        let replica = self.islands[at].replica().clone();
        let Some((engine, rows, _)) = self.process(at) else { return };
        let read = |entity: &EntityId| -> Option<Bytes> {
            engine.visible(entity, rows).ok().flatten().map(|visible| visible.value)
        };
        let mut turn = Turn::new(dice, number, (at, client), replica, &read, &limits);
        workload(&mut turn);
        for Wanted { entity, deed, change, note } in turn.into_writes() {
            let number = self.ledger.next_number();
            self.writes(at, client, entity, deed, change, None);
            if let Some(note) = note.filter(|_| self.ledger.next_number() > number) {
                self.notes.push((number, note));
            }
        }
    }

    fn writes(
        &mut self,
        at: usize,
        client: usize,
        entity: EntityId,
        deed: Deed,
        change: Change,
        context: Option<VersionVector>,
    ) {
        if self.islands[at].standing != Standing::Member {
            return;
        }
        let (lineage, is_shared) = (self.islands[at].lineage, self.islands[at].shares_identity);
        let Some((engine, rows, now)) = self.process(at) else { return };
        let write = LocalWrite { entity: entity.clone(), change, context: context.clone(), trace: None };
        let written = match engine.handle_write(write, now, rows) {
            Ok(written) => written,
            Err(WriteError::ContextAhead) => return self.tally.effect("tokens_ahead", 1),
            Err(error) => {
                self.trace.note(self.now_ms, || format!("{at} refuses a write: {error}"));
                return self.tally.effect("writes_refused", 1);
            }
        };
        self.steps += 1;
        let (token, deps) = (written.token(), (*written.deps).clone());
        let (dot, hlc) = (written.dot, written.hlc);
        let entry = NewEntry {
            island: at,
            lineage,
            is_shared,
            entity: entity.clone(),
            deed,
            value: None,
            dot: dot.clone(),
            hlc,
            deps,
            context,
        };
        let number = self.ledger.write(entry);
        self.trace.note(self.now_ms, || {
            format!(
                "{at} writes {dot} at {}: {entity} {deed:?} #{number}",
                crate::simulation::trace::stamp(hlc)
            )
        });
        if let Some(running) = &mut self.islands[at].running {
            running.unacknowledged.push(number);
        }
        if let Err((checker, detail)) = clocks::made(self.ledger.entry(number), &self.ledger) {
            self.violates(checker, detail);
        }
        self.flush(at, Input::Write);
        if self.ledger.fate(number) == Fate::Acknowledged {
            // What was written may have another name by now, which the token does not know.
            let client = self.clients.entry(client).or_default();
            if self.islands[at].replica() == &dot.actor {
                client.token.merge(&token);
                let seen = client.seen.entry(entity).or_default();
                seen.wrote(hlc);
            }
        }
    }

    pub(super) fn client_reads(&mut self, at: usize, client: usize, entity: usize) {
        let at = at % self.islands.len();
        let entity = self.entity(entity);
        let Some((engine, rows, _)) = self.process(at) else { return };
        let vector = engine.vector().clone();
        let visible = match engine.visible(&entity, rows) {
            Ok(visible) => visible,
            Err(error) => return self.violates("digest", error.to_string()),
        };
        let known = self.clients.entry(client).or_default();
        if !vector.dominates(&known.token) {
            // It waits until the replica has caught up.
            self.tally.effect("reads_that_waited", 1);
            return;
        }
        let mut seen = known.seen.get(&entity).cloned().unwrap_or_default();
        let is_joined = self.scenario.strategies().strategy(&entity).family() == Family::Joined(Join::Whole);
        let found = match is_joined {
            true => seen.reads(&entity, visible.as_ref(), &vector, &self.ledger),
            false => Ok(()),
        };
        let known = self.clients.entry(client).or_default();
        known.token = vector;
        known.seen.insert(entity, seen);
        self.tally.effect("reads", 1);
        if let Err(detail) = found {
            self.violates("sessions", format!("client {client} at {at}: {detail}"));
        }
    }

    /// What was `old` above `fork` has another name now, which tokens of before do not know.
    pub(super) fn forget_tokens_of(&mut self, old: &ReplicaId, fork: u64) {
        for client in self.clients.values_mut() {
            if client.token.get(old) > fork {
                *client = Client::default();
            }
        }
    }
}
