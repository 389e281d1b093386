//! A replica whose identity is in other hands takes a new one, and what it wrote since it was started goes with it.
//!
//! That happens if its store was restored from an old copy, or if two processes run on copies of one store: the same
//! dots then stand for different writes. What this replica wrote in this session may be such writes, so they become
//! writes of the new identity, in the state itself; they reach the others by repair. All before is common to both.
//!
//! What others wrote after such a write was written after one of the two, and nobody here knows which. So it counts as not
//! applied any more, and is read again behind what stands under the old name elsewhere. What of it is live here becomes a
//! write of the new identity as well: should it be nowhere else, it is not lost, and else it stands beside itself.

use std::{collections::BTreeMap, sync::Arc};

use archipelago_clock::{Dot, ReplicaId};
use archipelago_proto::{Event, Record};

use crate::{
    Engine, Notice, ReadError, Records,
    causal_buffer::Covered,
    digest::entity_digest,
    entity, mutated,
    own_writes::{Doubt, OwnWrites},
};

/// How many earlier identities of a session are remembered.
const DISOWNED_MAX: usize = 8;

/// A change of identity: what was `old` above the sequence `fork` is `new` from sequence 1 on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reincarnation {
    /// The identity until now. Its writes up to `fork` stay what they are, and more of them may come from elsewhere.
    pub old: ReplicaId,
    /// The last sequence of `old` that is its own for sure. Messages of later ones must not leave this replica.
    pub fork: u64,
    /// The identity from now on.
    pub new: ReplicaId,
}

impl Engine {
    /// Whether the identity of this replica is in other hands: it takes no writes until it has
    /// [another](Self::reincarnate).
    pub fn is_fenced(&self) -> bool {
        self.fenced.is_some()
    }

    /// Takes the identity `new`, as part of the next commit. Call it with nothing open: right after the effects of
    /// [`flush`](Self::flush) are carried out.
    ///
    /// Inside of CRDTs actors keep their names: what two copies of one store counted under one name is the greater of
    /// the two there, not the sum.
    ///
    /// # Errors
    /// [`ReadError`]; drop the engine then.
    pub fn reincarnate(&mut self, new: ReplicaId, records: &dyn Records) -> Result<(), ReadError> {
        let old = self.config.replica.clone();
        let Doubt { fork, after } =
            self.doubt.take().unwrap_or_else(|| self.own_writes.doubt(self.session_start));
        let last = self.vector.get(&old);
        let mut entities = self.entities_above(&old, fork, records)?;
        for (origin, first) in &after {
            entities.extend(self.entities_above(origin, first - 1, records)?);
        }
        let mut naming =
            Naming { old: &old, fork, after: &after, new: &new, made: last - fork, anew: Vec::new() };
        for entity in entities {
            let record = self.record(&entity, records)?;
            let renamed = naming.renamed(&record);
            if renamed == record || mutated!(KeepOldDots) {
                continue;
            }
            let family = self.config.strategies.strategy(&entity).family();
            let mut seen = self.vector.clone();
            seen.raise(new.clone(), naming.made);
            let renamed = entity::in_one_form(&renamed, &seen, family);
            let before = entity_digest(&entity, &record, family, &mut self.scratch);
            let now = entity_digest(&entity, &renamed, family, &mut self.scratch);
            self.digest_changes(&entity, before, now);
            let touched = self.open.touch(&entity, &record, family);
            self.open.set(touched, renamed);
        }
        let Naming { made, anew, .. } = naming;
        self.open.rewritten.extend(anew);
        self.covered = Covered::default();
        let lowered = after.into_iter().map(|(origin, first)| (origin, first - 1));
        for (replica, sequence) in lowered.chain([(old.clone(), fork), (new.clone(), made)]) {
            self.vector.remove(&replica);
            self.open.applied(&replica, sequence);
            self.vector.raise(replica, sequence);
        }
        self.config.replica = new.clone();
        self.session_start = made;
        (self.is_alone, self.alone_until) = (false, made);
        let former = std::mem::replace(&mut self.own_writes, OwnWrites::new(made));
        self.disowned.push_back(Disowned { replica: old.clone(), fork, writes: former });
        if self.disowned.len() > DISOWNED_MAX {
            self.disowned.pop_front();
        }
        let mut deps = self.vector.clone();
        deps.remove(&new);
        self.deps = Arc::new(deps);
        // A floor that was found may cover what has other names now.
        self.floors.take_told();
        self.fenced = None;
        self.is_exclusive = true;
        // What came under the old name was not taken, or was taken for an echo; it is somebody else's now. So all of this
        // session is read again, and in the order of the log every replica finds the same writes under the old name.
        self.reset_log(self.start_checkpoint);
        self.reread = true;
        self.notices.push(Notice::Reincarnated { old: old.clone(), new: new.clone(), writes: last - fork });
        self.open.reincarnation = Some(Reincarnation { old, fork, new });
        Ok(())
    }
}

/// What this replica wrote under an identity that it had before in this session.
#[derive(Debug)]
pub(crate) struct Disowned {
    replica: ReplicaId,
    fork: u64,
    writes: OwnWrites,
}

impl Disowned {
    /// Whether the event is one of the writes that go by another name here.
    pub(crate) fn is_of(&self, event: &Event) -> bool {
        event.dot.actor == self.replica
            && event.dot.sequence > self.fork
            && self.writes.is_stamped(event.dot.sequence, event.hlc)
    }
}

/// Gives writes in doubt their new names.
struct Naming<'a> {
    old: &'a ReplicaId,
    fork: u64,
    /// Of each other replica the first sequence that is in doubt.
    after: &'a BTreeMap<ReplicaId, u64>,
    new: &'a ReplicaId,
    /// How many writes the new identity has by now.
    made: u64,
    /// Writes of others, and what they become.
    anew: Vec<(Dot, Dot)>,
}

impl Naming<'_> {
    fn renamed(&mut self, record: &Record) -> Record {
        let mut renamed = record.clone();
        // Among equal stamps the greater dot wins, also from now on.
        renamed.versions.sort_by(|one, other| (one.hlc, &one.dot).cmp(&(other.hlc, &other.dot)));
        for version in &mut renamed.versions {
            let dot = &version.dot;
            if dot.actor == *self.old && dot.sequence > self.fork {
                version.dot = Dot::new(self.new.clone(), dot.sequence - self.fork);
            } else if self.after.get(&dot.actor).is_some_and(|first| dot.sequence >= *first) {
                self.made += 1;
                let anew = Dot::new(self.new.clone(), self.made);
                self.anew.push((dot.clone(), anew.clone()));
                version.dot = anew;
            }
        }
        renamed.versions.sort_by(|one, other| one.dot.cmp(&other.dot));
        renamed
    }
}
