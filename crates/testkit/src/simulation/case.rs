use archipelago_conflict::{Family, Join};
use serde::{Deserialize, Serialize};

use super::ledger::Deed;

/// All that decides a run: what holds throughout, and what happens when. A failing one is kept as a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// The [scenario](super::Scenario) that it is of, which says by which rules conflicts are resolved.
    pub scenario: String,
    /// What everything that is not a step is thrown by: delays, losses, incarnations.
    pub seed: u64,
    /// What holds throughout.
    pub settings: Settings,
    /// What happens, in order of time.
    pub steps: Vec<Step>,
}

/// What holds throughout a run. Times are in milliseconds, rates in permille.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// How many replicas there are at first.
    pub replicas: usize,
    /// How many of the entities of the scenario are written to.
    pub entities: usize,
    /// How often each replica tells how far it is.
    pub heartbeat_ms: u64,
    /// How long a replica waits for the log before it asks another replica.
    pub repair_after_ms: u64,
    /// How far ahead a stamp may be.
    pub max_drift_ms: u64,
    /// How many events wait for what they depend on.
    pub event_buffer_events_max: usize,
    /// The least and the greatest time that a message takes.
    pub latency_ms: (u64, u64),
    /// How many of the messages that may be lost are.
    pub loss_permille: u64,
    /// How many messages come twice.
    pub duplication_permille: u64,
    /// How many batches also go straight to another replica.
    pub gossip_permille: u64,
    /// For how long the broker knows a message again.
    pub deduplication_ms: u64,
    /// About how large one piece of a repair is.
    pub piece_bytes: usize,
    /// Whether a write is on the disk for good before it is acknowledged.
    pub durability: Durability,
    /// How many replicas, the last ones, begin with an older build, which cannot read all that a newer one writes.
    pub old_builds: usize,
}

/// What an acknowledged write outlives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// The death of the process.
    Os,
    /// Loss of power.
    Fsync,
}

/// Something that happens at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When, from the start.
    pub at_ms: u64,
    /// What.
    pub act: Act,
}

/// What somebody does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// A client writes. If the replica is down, nothing happens.
    Write {
        /// To which replica.
        island: usize,
        /// Which client.
        client: usize,
        /// Which entity of the scenario.
        entity: usize,
        /// What it does to it.
        edit: Edit,
        /// What it had seen.
        author: Author,
    },
    /// A client takes a turn of a workload of its own.
    Turn {
        /// At which replica.
        island: usize,
        /// Which client.
        client: usize,
        /// What the turn is thrown by.
        dice: u64,
    },
    /// A client reads.
    Read {
        /// At which replica.
        island: usize,
        /// Which client.
        client: usize,
        /// Which entity of the scenario.
        entity: usize,
    },
    /// Something breaks.
    Fault(Fault),
}

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Edit {
    /// The entity becomes the number of the write, which no other write has.
    Put,
    /// A field becomes the number of the write.
    SetField(u8),
    /// A field is removed.
    RemoveField(u8),
    /// A counter in the entity grows.
    Increment(u8),
    /// The number of the write goes into a set in the entity.
    Insert,
    /// The entity is removed.
    Delete,
}

impl Edit {
    /// What it means under a strategy of this family.
    pub(crate) fn deed(self, family: Family) -> Deed {
        match (self, family) {
            (Edit::Delete, _) => Deed::Delete,
            (Edit::SetField(field), Family::Joined(Join::Fields | Join::Crdts)) => Deed::SetField(field),
            (Edit::RemoveField(field), Family::Joined(Join::Fields | Join::Crdts)) => {
                Deed::RemoveField(field)
            }
            (Edit::Increment(by), Family::Joined(Join::Crdts)) => Deed::Increment(by),
            (Edit::Insert, Family::Joined(Join::Crdts)) => Deed::Insert,
            (_, Family::Joined(Join::Fields | Join::Crdts)) => Deed::SetField(0),
            _ => Deed::Put,
        }
    }
}

/// What the author of a write had seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Author {
    /// All that the replica has applied.
    UpToDate,
    /// What the client saw when it read last.
    Stale,
}

/// What breaks. Replicas go by number; `down_ms`, `for_ms` and `away_ms` say for how long, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the fields mean the same in every variant, and are told above")]
pub enum Fault {
    /// The process is killed, and started again later. What it had stored is there.
    Kill { island: usize, down_ms: u64 },
    /// The process is killed while it stores something, which is there or not.
    KillInCommit { island: usize, is_stored: bool, down_ms: u64 },
    /// The power fails: of what was not synced some is lost, from the end.
    PowerLoss { island: usize, keep: u64, down_ms: u64 },
    /// The disk is lost; a new one is put in.
    EmptyDisk { island: usize, down_ms: u64 },
    /// A copy of the disk is put away.
    Backup { island: usize },
    /// The disk becomes what was put away.
    Restore { island: usize, down_ms: u64 },
    /// A second process runs on a copy of the disk.
    Twin { island: usize, for_ms: u64 },
    /// Nothing can be stored for a while.
    DiskFull { island: usize, for_ms: u64 },
    /// The process is as slow as if it had no processor.
    Slow { island: usize, for_ms: u64 },
    /// One does not hear another one any more, which still hears it; the greatest number of all is the broker.
    Cut { from: usize, to: usize, for_ms: u64 },
    /// Some are cut off from the broker and the others.
    Partition { islands: Vec<usize>, for_ms: u64 },
    /// The wall clock goes by another time for a while.
    Skew { island: usize, by_ms: i64, for_ms: u64 },
    /// The wall clock stands still for a while.
    StopClock { island: usize, for_ms: u64 },
    /// The broker is restarted.
    BrokerRestart { down_ms: u64 },
    /// The broker is restarted, and has lost the last messages, which it had acknowledged.
    LoseTail { messages: u64, down_ms: u64 },
    /// The log is removed, and made anew by whoever comes first.
    Recreate,
    /// The first messages are removed, read or not.
    Trim { keep: u64 },
    /// Acknowledgements are lost for a while.
    LoseAcks { for_ms: u64 },
    /// A replica leaves for good, and comes back later on its old disk.
    Leave { island: usize, away_ms: u64 },
    /// A replica gives up another one.
    Retire { by: usize, island: usize },
    /// A new replica joins.
    Join,
    /// An older build gives way to a newer one.
    Upgrade { island: usize },
}

impl Fault {
    /// The name of its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::Kill { .. } => "kill",
            Fault::KillInCommit { .. } => "kill_in_commit",
            Fault::PowerLoss { .. } => "power_loss",
            Fault::EmptyDisk { .. } => "empty_disk",
            Fault::Backup { .. } => "backup",
            Fault::Restore { .. } => "restore",
            Fault::Twin { .. } => "twin",
            Fault::DiskFull { .. } => "disk_full",
            Fault::Slow { .. } => "slow",
            Fault::Cut { .. } => "cut",
            Fault::Partition { .. } => "partition",
            Fault::Skew { .. } => "skew",
            Fault::StopClock { .. } => "stop_clock",
            Fault::BrokerRestart { .. } => "broker_restart",
            Fault::LoseTail { .. } => "lose_tail",
            Fault::Recreate => "recreate",
            Fault::Trim { .. } => "trim",
            Fault::LoseAcks { .. } => "lose_acks",
            Fault::Leave { .. } => "leave",
            Fault::Retire { .. } => "retire",
            Fault::Join => "join",
            Fault::Upgrade { .. } => "upgrade",
        }
    }

    /// The replicas that it names, by number.
    pub(crate) fn islands(&self) -> impl Iterator<Item = usize> {
        let mut copy = self.clone();
        let named: Vec<usize> = copy.islands_mut().into_iter().map(|island| *island).collect();
        named.into_iter()
    }

    /// The same, to be changed.
    pub(super) fn islands_mut(&mut self) -> Vec<&mut usize> {
        match self {
            Fault::Kill { island, .. }
            | Fault::KillInCommit { island, .. }
            | Fault::PowerLoss { island, .. }
            | Fault::EmptyDisk { island, .. }
            | Fault::Backup { island }
            | Fault::Restore { island, .. }
            | Fault::Twin { island, .. }
            | Fault::DiskFull { island, .. }
            | Fault::Slow { island, .. }
            | Fault::Skew { island, .. }
            | Fault::StopClock { island, .. }
            | Fault::Leave { island, .. }
            | Fault::Upgrade { island } => vec![island],
            Fault::Cut { from, to, .. } => vec![from, to],
            Fault::Retire { by, island } => vec![by, island],
            Fault::Partition { islands, .. } => islands.iter_mut().collect(),
            Fault::BrokerRestart { .. }
            | Fault::LoseTail { .. }
            | Fault::Recreate
            | Fault::Trim { .. }
            | Fault::LoseAcks { .. }
            | Fault::Join => Vec::new(),
        }
    }
}
