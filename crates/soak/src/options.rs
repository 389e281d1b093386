use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::{broker::Servers, fault::Kind};

/// Break masters and their broker under load, again and again, and prove that nothing was lost
///
/// Starts a nats-server and masters on durable stores, each a process of its own, and writers that never stop. Then one
/// fault after the other. After each, all is healed, the masters must agree, and what they hold is compared with what
/// they acknowledged, which this program remembers outside of them. docs/TESTING.md says what is checked, exactly.
///
/// Exit status: 0 if nothing was lost, had effect twice, or diverged; 130 after Ctrl-C; else 1.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// How long to go on, in minutes; a fraction will do
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    pub(crate) minutes: f64,

    /// Nothing but kills, and so many of them
    #[arg(long, value_name = "N", conflicts_with_all = ["only", "rounds"])]
    pub(crate) kills: Option<u64>,

    /// Only these faults
    #[arg(long, value_name = "FAULT", value_delimiter = ',', value_enum)]
    pub(crate) only: Vec<Fault>,

    /// End after so many faults [default: when the time is over]
    #[arg(long, value_name = "N")]
    pub(crate) rounds: Option<u64>,

    /// How many entities `deletes` writes and removes; `laggard` takes a quarter
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    pub(crate) entities: u64,

    /// Decides everything but time [default: another one each time]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// Three servers that keep the log three times, of which single ones are lost [default: one server]
    #[arg(long)]
    pub(crate) cluster: bool,

    /// How many masters
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(2..=16))]
    pub(crate) masters: u64,

    /// How many writers each master has
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub(crate) writers: u64,

    /// How often masters tell each other how far they are, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(20..=60_000))]
    pub(crate) heartbeat_ms: u64,

    /// How long masters may take to agree after a fault, in seconds
    #[arg(long, value_name = "S", default_value_t = 90)]
    pub(crate) settle_s: u64,

    /// Where the folders of the run are made; those of a run that failed are kept [default: the system's]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dir: Option<PathBuf>,

    /// End standard output with one line of JSON; all other output goes to standard error
    #[arg(long)]
    pub(crate) json: bool,
}

/// The options of a command as they are if none is given.
pub(crate) fn defaults<A: Args>() -> A {
    let command = A::augment_args(clap::Command::new("soak").no_binary_name(true));
    let matches = command.get_matches_from(std::iter::empty::<String>());
    A::from_arg_matches(&matches).expect("every option has a default")
}

/// What can happen to masters and their broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Fault {
    /// SIGKILL of a master, and its restart
    Kill,
    /// The JetStream stream is deleted
    WipeStream,
    /// SIGKILL of the server, and the loss of its files
    WipeFiles,
    /// A server is stopped or killed, and started again
    BrokerRestart,
    /// A server stands still (SIGSTOP)
    BrokerPause,
    /// A server of the cluster is parted from the others
    BrokerPartition,
    /// SIGKILL of all servers of the cluster, or of all but one
    Outage,
    /// A master comes back on an older copy of its folder
    Restore,
    /// A second process runs on a copy of a master's folder
    Twin,
    /// A master comes back on an empty folder
    EmptyDisk,
    /// Mass removals, until their tombstones are gone everywhere
    Deletes,
    /// A master is away during removals, is retired, and returns
    Laggard,
    /// A master stands still (SIGSTOP)
    Pause,
    /// A master is cut off from the broker, in one direction or both
    Partition,
    /// Messages between masters and the broker take long
    Delay,
    /// Messages must be sent again, and connections break
    Loss,
    /// The clock of a master jumps
    Clock,
    /// The disk of a master is full
    DiskFull,
    /// Many of these at once
    Storm,
}

impl Fault {
    /// How often it is chosen, relative to the others.
    pub(crate) fn weight(self) -> u32 {
        match self {
            Fault::Kill => 8,
            Fault::WipeStream | Fault::WipeFiles | Fault::Restore | Fault::Twin => 3,
            _ => 2,
        }
    }
}

impl Kind for Fault {
    /// On a cluster, the loss of one server's files is not the loss of the log; one server alone has nobody to be parted
    /// from.
    fn is_of(self, servers: Servers) -> bool {
        match self {
            Fault::WipeFiles => servers == Servers::Single,
            Fault::BrokerPartition | Fault::Outage => servers == Servers::Cluster,
            _ => true,
        }
    }
}
