use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::{
    broker::Servers, fault::Kind, leader::options::Fault as LeaderFault, options::Fault as MastersFault,
};

/// Break everything that can be broken, in both modes, on one server and on a cluster, and prove that promises are kept
///
/// Runs follow one another, each from nothing: operating system processes on durable stores, real nats-servers, relays
/// between them, clients that write and read, and one fault after the other. What clients asked for and were answered is
/// recorded outside. After each fault all is healed, and everybody must agree; no acknowledged write may be lost or have
/// effect twice; masters must hold equal states, and sessions must read what they wrote and never go back; the
/// leader-follower mode must be linearizable. docs/TESTING.md says what is checked, exactly.
///
/// Exit status: 0 if nothing was wrong; 130 after Ctrl-C; else 1.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// How long all runs may take together, in minutes; a fraction will do
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    pub(crate) minutes: f64,

    /// Where the log is
    #[arg(long, value_enum, default_value_t = Target::All)]
    pub(crate) target: Target,

    /// Who writes
    #[arg(long, value_enum, default_value_t = Mode::All)]
    pub(crate) mode: Mode,

    /// Only these faults [default: all there are on each target]
    #[arg(long, value_name = "FAULT", value_delimiter = ',', value_enum)]
    pub(crate) only: Vec<Fault>,

    /// End each run after so many rounds of each fault [default: when its share of the time is over]
    #[arg(long, value_name = "N")]
    pub(crate) rounds: Option<u64>,

    /// Decides everything but time [default: another one each time]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,

    /// How long may pass until writes are acknowledged again, and until all agree, in seconds
    #[arg(long, value_name = "S", default_value_t = 90)]
    pub(crate) settle_s: u64,

    /// Where the folders of runs are made; those of a run that failed are kept [default: the system's]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dir: Option<PathBuf>,

    /// End standard output with one line of JSON; all other output goes to standard error
    #[arg(long)]
    pub(crate) json: bool,
}

/// On how many servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// One server
    Single,
    /// Three, each with all of the log
    Cluster,
    /// One after the other
    All,
}

/// In which mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Three masters, all of which take writes
    Masters,
    /// Three nodes, of which one leads
    Leader,
    /// One after the other
    All,
}

impl Target {
    pub(crate) fn servers(self) -> &'static [Servers] {
        match self {
            Target::Single => &[Servers::Single],
            Target::Cluster => &[Servers::Cluster],
            Target::All => &[Servers::Single, Servers::Cluster],
        }
    }
}

impl Mode {
    /// Each by itself.
    pub(crate) fn each(self) -> &'static [Mode] {
        match self {
            Mode::All => &[Mode::Masters, Mode::Leader],
            Mode::Masters => &[Mode::Masters],
            Mode::Leader => &[Mode::Leader],
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::Masters => "masters",
            Mode::Leader => "leader",
            Mode::All => "all",
        }
    }
}

/// What can happen to masters, leaders and brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Fault {
    /// SIGKILL of a master or of the leader
    Kill,
    /// SIGSTOP of a master or of the leader
    Pause,
    /// A master or the leader is cut off from the broker, in one direction or both
    Partition,
    /// Messages take long
    Delay,
    /// Messages must be sent again, and connections break
    Loss,
    /// The clock of a node jumps
    Clock,
    /// The disk of a node is full
    DiskFull,
    /// A server is stopped or killed, and started again
    Broker,
    /// SIGSTOP of a server
    BrokerPause,
    /// One server of the cluster is parted from the others
    BrokerPartition,
    /// SIGKILL of all servers of the cluster, or of all but one
    Outage,
    /// The log is deleted
    LogDeleted,
    /// Many of these at once
    Storm,
}

impl Kind for Fault {
    fn is_of(self, servers: Servers) -> bool {
        self.of_masters().is_of(servers)
    }
}

impl Fault {
    pub(crate) fn of_masters(self) -> MastersFault {
        match self {
            Fault::Kill => MastersFault::Kill,
            Fault::Pause => MastersFault::Pause,
            Fault::Partition => MastersFault::Partition,
            Fault::Delay => MastersFault::Delay,
            Fault::Loss => MastersFault::Loss,
            Fault::Clock => MastersFault::Clock,
            Fault::DiskFull => MastersFault::DiskFull,
            Fault::Broker => MastersFault::BrokerRestart,
            Fault::BrokerPause => MastersFault::BrokerPause,
            Fault::BrokerPartition => MastersFault::BrokerPartition,
            Fault::Outage => MastersFault::Outage,
            Fault::LogDeleted => MastersFault::WipeStream,
            Fault::Storm => MastersFault::Storm,
        }
    }

    pub(crate) fn of_leader(self) -> LeaderFault {
        match self {
            Fault::Kill => LeaderFault::Kill,
            Fault::Pause => LeaderFault::Pause,
            Fault::Partition => LeaderFault::Partition,
            Fault::Delay => LeaderFault::Delay,
            Fault::Loss => LeaderFault::Loss,
            Fault::Clock => LeaderFault::Clock,
            Fault::DiskFull => LeaderFault::DiskFull,
            Fault::Broker => LeaderFault::Broker,
            Fault::BrokerPause => LeaderFault::BrokerPause,
            Fault::BrokerPartition => LeaderFault::BrokerPartition,
            Fault::Outage => LeaderFault::Outage,
            Fault::LogDeleted => LeaderFault::Delete,
            Fault::Storm => LeaderFault::Storm,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_modes_have_each_fault_on_the_same_targets() {
        for fault in Fault::value_variants() {
            for servers in Servers::value_variants() {
                assert_eq!(fault.is_of(*servers), fault.of_leader().is_of(*servers), "{fault:?}");
            }
        }
    }
}
