use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use archipelago_clock::{ReplicaId, VersionVector};
use archipelago_engine::{Engine, Round};
use archipelago_proto::{EntityId, Event, Floor, Member, Record};

use super::{
    disk::{Disk, OutboxKey, Rows},
    wall_clock::WallClock,
};

/// One replica, with its machine.
#[derive(Debug)]
pub(super) struct Island {
    pub(super) name: Rc<str>,
    pub(super) disk: Disk,
    pub(super) clock: WallClock,
    pub(super) running: Option<Box<Running>>,
    /// Rises whenever the process dies: what was under way then concerns nobody.
    pub(super) life: u64,
    /// Tells apart copies of one store.
    pub(super) lineage: u64,
    pub(super) backup: Option<(Rows, u64)>,
    pub(super) slow_until_ms: u64,
    pub(super) disk_full_until_ms: u64,
    /// It reads all that is written today.
    pub(super) is_newer_build: bool,
    pub(super) standing: Standing,
    /// The process dies in its next commit, which is stored or not.
    pub(super) dies_in_commit: Option<DiesInCommit>,
    /// For how long it will be away, once it has left.
    pub(super) away_ms: u64,
    /// It runs on a copy of another one's disk.
    pub(super) is_twin: bool,
    /// When its first process started.
    pub(super) settled_ms: u64,
    /// It has less than it once had, whatever others heard of it.
    pub(super) has_receded: bool,
    /// Another copy of its store goes, or went on, by its identity.
    pub(super) shares_identity: bool,
}

/// Whether a machine belongs to the namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Member,
    /// It takes no writes any more, until others know that it has left.
    Leaving,
    /// It is away, having left.
    Away,
    /// It was a copy, and is gone for good.
    Gone,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct DiesInCommit {
    pub(super) is_stored: bool,
    pub(super) down_ms: u64,
}

/// A process: what is lost when it dies.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) engine: Engine,
    pub(super) reader: Option<Reader>,
    /// Behind which message the log has been followed since it was opened, or begun anew.
    pub(super) followed_from: u64,
    pub(super) in_flight: BTreeSet<OutboxKey>,
    /// Messages that were decoded to be sent.
    pub(super) decoded: BTreeMap<OutboxKey, Rc<Vec<Event>>>,
    pub(super) fetch: Option<Fetch>,
    pub(super) delivers: bool,
    /// A floor with its number, which goes into the log behind this replica's own writes up to a sequence.
    pub(super) floor: Option<(Rc<Floor>, u64, u64)>,
    /// Writes of the commit at hand, by number.
    pub(super) unacknowledged: Vec<u64>,
}

/// How far the log is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader {
    pub(super) log: u64,
    pub(super) last: u64,
    pub(super) epoch: u64,
    /// When it was last looked whether the log is still what it was.
    pub(super) looked_ms: u64,
}

/// What is being fetched of another replica's state.
#[derive(Debug)]
pub(super) struct Fetch {
    pub(super) number: u64,
    pub(super) from: ReplicaId,
    pub(super) session: u64,
    pub(super) began_with: VersionVector,
    pub(super) round: Round,
    /// The vector of the piece before.
    pub(super) last: VersionVector,
    pub(super) floor: VersionVector,
    pub(super) members: Vec<Member>,
    pub(super) entities: BTreeMap<EntityId, Record>,
    pub(super) pieces: u64,
    pub(super) rounds: u64,
}

impl Fetch {
    pub(super) fn begin(number: u64, from: ReplicaId, session: u64, since: VersionVector) -> Self {
        Fetch {
            number,
            from,
            session,
            round: Round::first(since.clone()),
            began_with: since,
            last: VersionVector::new(),
            floor: VersionVector::new(),
            members: Vec::new(),
            entities: BTreeMap::new(),
            pieces: 0,
            rounds: 0,
        }
    }
}

impl Island {
    pub(super) fn replica(&self) -> &ReplicaId {
        &self.disk.rows.replica
    }

    pub(super) fn is_up(&self) -> bool {
        self.running.is_some()
    }
}
