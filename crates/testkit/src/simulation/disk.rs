use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    rc::Rc,
};

use archipelago_clock::{Hlc, Incarnation, ReplicaId, VersionVector};
use archipelago_engine::{Commit, Records, Reincarnation, Restored};
use archipelago_proto::{EntityId, Member, ReplicaTable};
use bytes::Bytes;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Index = BTreeMap<(u32, u64), EntityId>;

/// A message that waits for the broker: the incarnation of its writer, its first sequence and its last.
pub(super) type OutboxKey = (Incarnation, u64, u64);

/// What a replica has stored.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    pub(super) replica: ReplicaId,
    pub(super) entities: BTreeMap<EntityId, Bytes>,
    live: Index,
    tombstones: Index,
    members: Vec<Member>,
    heard: BTreeMap<ReplicaId, VersionVector>,
    floors: (VersionVector, VersionVector),
    pub(super) vector: VersionVector,
    replicas: Vec<ReplicaId>,
    hlc_ceiling: Hlc,
    checkpoint: u64,
    doubtful_above: Option<u64>,
    /// Which log the checkpoint is of; `None` before any was read.
    pub(super) log: Option<u64>,
    pub(super) outbox: BTreeMap<OutboxKey, Bytes>,
}

/// A change of what is stored, atomic.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Commit { commit: Rc<Commit>, log: Option<u64> },
    Emitted(OutboxKey),
    Opened { log: u64, checkpoint: u64 },
}

/// A disk: what is stored on it, and how much of that would outlive a loss of power.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) rows: Rows,
    /// Whether any process ever ran on it, or on what it was copied from.
    pub(super) has_run: bool,
    /// Without what came since the last sync, and that: only kept if the power may fail.
    synced: Option<(Box<Rows>, VecDeque<Change>)>,
}

impl Rows {
    fn new(replica: ReplicaId) -> Self {
        Rows {
            replica,
            entities: BTreeMap::new(),
            live: Index::new(),
            tombstones: Index::new(),
            members: Vec::new(),
            heard: BTreeMap::new(),
            floors: Default::default(),
            vector: VersionVector::new(),
            replicas: Vec::new(),
            hlc_ceiling: Hlc::ZERO,
            checkpoint: 0,
            doubtful_above: None,
            log: None,
            outbox: BTreeMap::new(),
        }
    }

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Commit { commit, log } => {
                if commit.checkpoint.is_some() {
                    self.log = *log;
                }
                self.store(commit);
            }
            Change::Emitted(key) => drop(self.outbox.remove(key)),
            Change::Opened { log, checkpoint } => (self.log, self.checkpoint) = (Some(*log), *checkpoint),
        }
    }

    fn store(&mut self, commit: &Commit) {
        for (entity, record) in &commit.entities {
            match record {
                Some(record) => drop(self.entities.insert(entity.clone(), record.clone())),
                None => drop(self.entities.remove(entity)),
            }
        }
        for (index, changes) in [(&mut self.live, &commit.live), (&mut self.tombstones, &commit.tombstones)] {
            for change in changes {
                let dot = (change.replica, change.sequence);
                match change.is_there {
                    true => drop(index.insert(dot, change.entity.clone())),
                    false => drop(index.remove(&dot)),
                }
            }
        }
        if let Some(members) = &commit.members {
            self.members.clone_from(members);
        }
        if let Some(heard) = &commit.heard {
            self.heard.clone_from(heard);
        }
        if let Some(floors) = &commit.floors {
            self.floors.clone_from(floors);
        }
        if let Some((_, replicas)) = &commit.replicas {
            self.replicas.extend(replicas.iter().cloned());
        }
        if let Some(Reincarnation { old, fork, new }) = &commit.reincarnation {
            self.vector.remove(old);
            let incarnation = old.incarnation();
            self.outbox.retain(|key, _| key.0 != incarnation || key.1 <= *fork);
            self.replica = new.clone();
        }
        for (number, sequence) in &commit.vector {
            let replica = self.replicas.get(*number as usize).expect("it has a number");
            // Lower than before if what others wrote after an own write in doubt is to be read again.
            self.vector.remove(replica);
            self.vector.raise(replica.clone(), *sequence);
        }
        self.hlc_ceiling = commit.hlc_ceiling.unwrap_or(self.hlc_ceiling);
        self.checkpoint = commit.checkpoint.unwrap_or(self.checkpoint);
        self.doubtful_above = commit.doubtful_above.unwrap_or(self.doubtful_above);
        let incarnation = self.replica.incarnation();
        self.outbox.extend(commit.outbox.iter().map(|outboxed| {
            ((incarnation, outboxed.first_sequence, outboxed.last_sequence), outboxed.message.clone())
        }));
    }

    /// What an engine starts from.
    pub(super) fn restored(&self) -> Restored {
        Restored {
            vector: self.vector.clone(),
            replicas: ReplicaTable::new(self.replicas.clone()),
            hlc_ceiling: self.hlc_ceiling,
            checkpoint: self.checkpoint,
            has_run: true,
            doubtful_above: self.doubtful_above,
            members: self.members.clone(),
            heard: self.heard.clone(),
            floors: self.floors.clone(),
        }
    }

    pub(super) fn checkpoint(&self) -> u64 {
        self.checkpoint
    }
}

impl Disk {
    /// An empty one, given to a replica.
    pub(super) fn new(replica: ReplicaId, may_lose_power: bool) -> Self {
        Disk { has_run: false, ..Self::holding(Rows::new(replica), may_lose_power) }
    }

    /// One that holds what was copied from elsewhere.
    pub(super) fn holding(rows: Rows, may_lose_power: bool) -> Self {
        let synced = may_lose_power.then(|| (Box::new(rows.clone()), VecDeque::new()));
        Disk { rows, has_run: true, synced }
    }

    pub(super) fn change(&mut self, change: Change) {
        self.rows.apply(&change);
        if let Some((_, since)) = &mut self.synced {
            since.push_back(change);
        }
    }

    /// What is stored by now outlives a loss of power.
    pub(super) fn sync(&mut self) {
        if let Some((rows, since)) = &mut self.synced {
            for change in since.drain(..) {
                rows.apply(&change);
            }
        }
    }

    /// Of what was not synced only the first `keep` changes are left. Gives how many are lost.
    pub(super) fn lose_power(&mut self, keep: u64) -> usize {
        let Some((rows, since)) = &mut self.synced else { return 0 };
        let keep = usize::try_from(keep).unwrap_or(usize::MAX).min(since.len());
        let lost = since.len() - keep;
        for change in since.drain(..).take(keep) {
            rows.apply(&change);
        }
        self.rows = (**rows).clone();
        lost
    }
}

impl Records for Rows {
    fn record(&self, entity: &EntityId) -> Result<Option<Bytes>, Failure> {
        Ok(self.entities.get(entity).cloned())
    }

    fn live_dots(&self, replica: u32, after: u64, limit: usize) -> Result<Vec<(u64, EntityId)>, Failure> {
        Ok(dots(&self.live, replica, after, limit))
    }

    fn tombstones(&self, replica: u32, after: u64, limit: usize) -> Result<Vec<(u64, EntityId)>, Failure> {
        Ok(dots(&self.tombstones, replica, after, limit))
    }

    fn entities(&self, after: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>, Failure> {
        let rows = self.entities.range::<[u8], _>((Bound::Excluded(after), Bound::Unbounded)).take(limit);
        Ok(rows.map(|(entity, record)| (entity.as_bytes().clone(), record.clone())).collect())
    }
}

fn dots(index: &Index, replica: u32, after: u64, limit: usize) -> Vec<(u64, EntityId)> {
    let Some(first) = after.checked_add(1) else { return Vec::new() };
    let dots = index.range((replica, first)..=(replica, u64::MAX)).take(limit);
    dots.map(|((_, sequence), entity)| (*sequence, entity.clone())).collect()
}
