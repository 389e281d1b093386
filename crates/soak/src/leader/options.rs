use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::{broker::Servers, fault::Kind};

/// Break the leaders and the broker of a leader-follower namespace under load, and prove that clients noticed nothing
///
/// Starts a nats-server and nodes on durable stores, each a process of its own, and clients that write through whoever
/// leads and read from all nodes. Then one fault after the other, in turn. After each, all is healed and the nodes must
/// agree. In the end the history of all that clients asked for and were answered must be linearizable, and the log must have
/// every acknowledged write, once. docs/TESTING.md says what is checked, exactly.
///
/// Exit status: 0 if nothing was wrong; 130 after Ctrl-C; else 1.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// How long to go on at most, in minutes; a fraction will do
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    pub(crate) minutes: f64,

    /// Only these faults [default: all there are; `tail` is of one server, `broker-partition` and `outage` are of a cluster]
    #[arg(long, value_name = "FAULT", value_delimiter = ',', value_enum)]
    pub(crate) only: Vec<Fault>,

    /// End after so many rounds of each fault [default: when the time is over]
    #[arg(long, value_name = "N")]
    pub(crate) rounds: Option<u64>,

    /// Three servers that keep the log three times [default: one]
    #[arg(long)]
    pub(crate) cluster: bool,

    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(2..=16))]
    pub(crate) nodes: u64,

    /// How many clients
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=256))]
    pub(crate) clients: u64,

    /// How long a leader that is gone keeps others from leading, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(100..=60_000))]
    pub(crate) lease_ms: u64,

    /// Decides everything but time [default: another one each time]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// How long may pass until writes are acknowledged again, and until nodes agree, in seconds
    #[arg(long, value_name = "S", default_value_t = 60)]
    pub(crate) settle_s: u64,

    /// Where the folders of the run are made; those of a run that failed are kept [default: the system's]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dir: Option<PathBuf>,

    /// End standard output with one line of JSON; all other output goes to standard error
    #[arg(long)]
    pub(crate) json: bool,
}

/// What can happen to leaders and their log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Fault {
    /// SIGKILL of the leader, and its restart
    Kill,
    /// SIGSTOP of the leader until another one has acknowledged writes, then SIGCONT
    Pause,
    /// The leader is cut off from the broker until another one has acknowledged writes
    Partition,
    /// The end of the log is lost under a running leader: its stream is put back as it was a moment before
    Tail,
    /// The stream of the log is deleted under a running leader
    Delete,
    /// A server is stopped or killed, and started again
    Broker,
    /// A server stands still (SIGSTOP)
    BrokerPause,
    /// A server of the cluster is parted from the others
    BrokerPartition,
    /// SIGKILL of all servers of the cluster, or of all but one
    Outage,
    /// Messages between nodes and the broker take long
    Delay,
    /// Messages must be sent again, and connections break
    Loss,
    /// The clock of a node jumps
    Clock,
    /// The disk of a node is full, most often the leader's
    DiskFull,
    /// Many of these at once
    Storm,
}

impl Kind for Fault {
    fn is_of(self, servers: Servers) -> bool {
        match self {
            // Of one server's files; the others would put it right.
            Fault::Tail => servers == Servers::Single,
            Fault::BrokerPartition | Fault::Outage => servers == Servers::Cluster,
            _ => true,
        }
    }
}
