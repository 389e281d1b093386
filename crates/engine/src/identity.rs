//! A replica whose identity is in other hands takes a new one, and what it wrote since it was started goes with it.
//!
//! That happens if its store was restored from an old copy, or if two processes run on copies of one store: the same
//! dots then stand for different writes. What this replica wrote in this session may be such writes, so they become
//! writes of the new identity, in the state itself; they reach the others by repair. All before is common to both.

use std::sync::Arc;

use archipelago_clock::{Dot, ReplicaId};
use archipelago_proto::Record;

use crate::{Engine, Notice, ReadError, Records, digest::entity_digest, mutated, own_writes::OwnWrites};

/// How many dots of the index are looked at at a time.
const DOTS_PAGE: usize = 256;

/// A change of identity: what was `old` above the sequence `fork` is `new` from sequence 1 on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reincarnation {
    /// The identity until now. Its writes up to `fork` stay what they are, and more of them may come from elsewhere.
    pub old: ReplicaId,
    /// The last sequence of `old` that is its own for sure. Messages of later ones must not leave this replica.
    pub fork: u64,
    /// The identity from now on.
    pub new: ReplicaId,
    /// Up to this sequence, writes of `old` above `fork` come by repair only.
    pub by_repair: u64,
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
        let (old, fork) = (self.config.replica.clone(), self.session_start);
        let last = self.vector.get(&old);
        let mut after = fork;
        loop {
            let dots = self.live_dots(&old, after, DOTS_PAGE, records)?;
            let Some((sequence, _)) = dots.last() else { break };
            after = *sequence;
            for (_, entity) in dots {
                let record = self.record(&entity, records)?;
                let renamed = renamed(&record, &old, fork, &new);
                if renamed == record || mutated!(KeepOldDots) {
                    continue;
                }
                let family = self.config.strategies.strategy(&entity).family();
                let before = entity_digest(&entity, &record, family, &mut self.scratch);
                let now = entity_digest(&entity, &renamed, family, &mut self.scratch);
                self.digest_changes(&entity, before, now);
                self.open.touch(&entity, &record, family);
                self.open.set_entity(&entity, renamed);
            }
        }
        self.vector.remove(&old);
        for (replica, sequence) in [(&old, fork), (&new, last - fork)] {
            self.open.vector.insert(replica.clone(), sequence);
            self.vector.raise(replica.clone(), sequence);
        }
        self.config.replica = new.clone();
        // A write that had seen one of these may have superseded it here, and would not do so again.
        let by_repair = std::mem::take(&mut self.seen_of_own);
        if by_repair > fork {
            self.disowned.insert(old.clone(), by_repair);
        }
        self.session_start = last - fork;
        self.own_writes = OwnWrites::default();
        let mut deps = self.vector.clone();
        deps.remove(&new);
        self.deps = Arc::new(deps);
        self.fenced = None;
        self.is_exclusive = true;
        // What came under the old name was not taken, or was taken for an echo; it is somebody else's now. So all of this
        // session is read again, and in the order of the log every replica finds the same writes under the old name.
        self.reset_log(self.start_checkpoint);
        self.reread = true;
        self.notices.push(Notice::Reincarnated { old: old.clone(), new: new.clone(), writes: last - fork });
        self.open.reincarnation = Some(Reincarnation { old, fork, new, by_repair });
        Ok(())
    }
}

fn renamed(record: &Record, old: &ReplicaId, fork: u64, new: &ReplicaId) -> Record {
    let mut renamed = record.clone();
    for version in &mut renamed.versions {
        if version.dot.actor == *old && version.dot.sequence > fork {
            version.dot = Dot::new(new.clone(), version.dot.sequence - fork);
        }
    }
    renamed.versions.sort_by(|one, other| one.dot.cmp(&other.dot));
    renamed
}
