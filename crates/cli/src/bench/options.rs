use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

use super::masters;
use crate::server::Server;

/// Measure how nodes do on your machine and your NATS server
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) bench: Bench,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Bench {
    Replicate(masters::Replicate),
    Lag(masters::Lag),
    Local(masters::Local),
    CatchUp(masters::CatchUp),
    Redis(masters::Redis),
    Scale(masters::Scale),
    Failover(Failover),
    Leader(Leader),
    Http(Http),
}

/// Kill the leader under load, again and again: how long until another one acknowledges writes, and is anything lost?
///
/// Starts nodes that elect a leader, and clients that create keys, each once and with a value of its own, and note what they
/// were told. In each run the leader is killed. `failover_ms` is the time from just before the kill to the first write that
/// a client has acknowledged by another leader. Then the killed node is started again on its store and catches up. After
/// the runs come hand-overs: the leader is told to close, and `handover_ms` is the time from then to the first write that is
/// acknowledged by another leader.
///
/// At the end the log is read from the broker, and the states from the nodes, and compared with what the clients were told:
/// `acknowledged` writes, those of `unknown` outcome (under way at a kill), `lost` ones (acknowledged, and not in the log and
/// every state), and `duplicated` ones (in the log more than once).
///
/// With --nats each node is a process of its own, and a kill is SIGKILL. Without, everything is in this process: a kill cuts
/// the node off from the broker and drops it at once.
///
/// The stream and the bucket of the lease are made for the run and removed at its end; should the run be killed itself, they
/// stay under the namespace that it names first, for `nats stream rm`.
///
/// Exit status: 0 if nothing was lost or duplicated and all nodes ended equal, 130 after Ctrl-C, else 1.
#[derive(Clone, Debug, Args)]
pub(crate) struct Failover {
    #[command(flatten)]
    pub(crate) common: Common,

    #[command(flatten)]
    pub(crate) lease: Lease,

    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=9))]
    pub(crate) nodes: u8,

    /// How often the leader is killed
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub(crate) runs: u32,

    /// How often the leader hands over, after the kills
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub(crate) handovers: u32,

    /// Writes a second
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: u32,

    /// What the nodes keep their state in; one that is killed with a memory store begins anew from the log
    #[arg(long, value_enum, default_value_t = StoreKind::Fjall)]
    pub(crate) store: StoreKind,
}

/// Write at a rate: how many writes a second does the leader take, and how far behind are the followers?
///
/// Clients write values of --size bytes under random ones of --keys keys, at --rate writes a second, whether or not earlier
/// ones are acknowledged, as long as fewer than --tasks are under way. The latency of a write, `write_p50_ms`, counts from
/// the moment that it was due. `lag_p50_ms` and `lag_p99_ms` are the times from the acknowledgement of a write to its leader's
/// client until a follower has applied and stored it, sampled over the whole run at every follower; `visible_p50_ms` and
/// `visible_p99_ms` are the same from the call of the write. After the load come 50 single writes with pauses:
/// `idle_visible_p50_ms` and `idle_visible_max_ms` are the times from the call until all followers have the write. Last come
/// three seconds of writes as fast as the leader takes them, --tasks at a time: `append_per_s`.
///
/// With --nats the baseline is measured before, in the same run and on the same server: one writer appends the same keys and
/// values by plain async-nats, a message a write, to a stream of the same kind. Each message names the sequence behind which it must come
/// (`Nats-Expected-Last-Sequence`), and up to 1,024 are under way at a time. `ratio` is `append_per_s` over
/// `baseline_append_per_s`, for which nobody needs to read or apply anything; `baseline_write_p50_ms` and `baseline_write_p99_ms` are the
/// latencies of ten seconds at --rate.
///
/// All nodes are tasks of this one process, so that one clock measures; with --nats each has connections of its own.
/// `rss_mb` is what the process occupies, with all nodes, stores and clients.
///
/// The stream and the bucket of the lease are made for the run and removed at its end; should the run be killed, they stay
/// under the namespace that it names first, for `nats stream rm`.
///
/// Exit status: 0 if all nodes ended equal, 130 after Ctrl-C, else 1.
#[derive(Clone, Debug, Args)]
pub(crate) struct Leader {
    #[command(flatten)]
    pub(crate) common: Common,

    #[command(flatten)]
    pub(crate) lease: Lease,

    /// How many followers the leader has
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub(crate) followers: u8,

    /// Writes a second
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: u32,

    /// For how long
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) seconds: u32,

    /// The bytes of a value
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = clap::value_parser!(u32).range(16..=100_000))]
    pub(crate) size: u32,

    /// How many different keys are written
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub(crate) keys: u32,

    /// How many writes may be under way at a time
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) tasks: u32,

    /// What the nodes keep their state in
    #[arg(long, value_enum, default_value_t = StoreKind::Memory)]
    pub(crate) store: StoreKind,
}

impl Leader {
    /// For how long is written as fast as that goes.
    pub(crate) fn full_speed(&self) -> Duration {
        Duration::from_secs(self.seconds.min(3).into())
    }
}

/// Write over HTTP at a rate: how long does a node take to answer, and what does it occupy?
///
/// Starts `archipelago serve` as a process of its own, with defaults, an empty folder and no broker. Clients PUT values of --size
/// bytes at random ones of --keys ids, at --rate writes a second over --connections connections that are kept. The latency of
/// a write counts from the moment that it was due, also if all connections were busy then: what a stall holds up shows.
/// `rss_mb` is what the process of the node occupies.
///
/// Exit status: 0 if every write that was due was acknowledged, 130 after Ctrl-C, else 1.
#[derive(Clone, Debug, Args)]
pub(crate) struct Http {
    /// Writes a second
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: u32,

    /// For how long
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) seconds: u32,

    /// The bytes of a value, about
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) size: u32,

    /// How many different ids are written
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub(crate) keys: u32,

    /// How many connections there are, and so how many writes may be under way at a time
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) connections: u32,

    /// What a write waits for at the node
    #[arg(long, value_enum, default_value_t = Synced::Fsync)]
    pub(crate) durability: Synced,

    /// Keep the store in this folder [default: a temporary folder, removed at the end]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,

    /// The same seed gives the same ids and values
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(crate) seed: u64,

    #[command(flatten)]
    pub(crate) output: Output,
}

/// What a node syncs before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Synced {
    /// The disk: the default of a node
    Fsync,
    /// Nothing beyond the operating system
    Os,
}

impl Synced {
    /// As the node calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Synced::Fsync => "fsync",
            Synced::Os => "os",
        }
    }
}

/// How it is told.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Output {
    /// End standard output with one line of JSON; all other output goes to standard error
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// Use the NATS server (2.10 or newer, with JetStream) at this URL, which may hold user and password, or a token:
    /// nats://user:password@host:4222 [default: a broker in the memory of this process]
    #[arg(long, value_name = "URL")]
    pub(crate) nats: Option<String>,

    /// Identify to the server of --nats with this credentials file
    #[arg(long, value_name = "FILE", env = "ARCHIPELAGO_NATS_CREDS")]
    pub(crate) nats_creds: Option<PathBuf>,

    /// On how many servers of the cluster the stream, and the lease if there is one, are kept
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=5))]
    pub(crate) replicas: u8,

    /// Keep the stores in this folder [default: a temporary folder, removed at the end]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,

    /// The same seed gives the same keys, values and moments of kills
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(crate) seed: u64,

    #[command(flatten)]
    pub(crate) output: Output,
}

impl Common {
    pub(crate) fn server(&self) -> Option<Server> {
        self.nats.clone().map(|url| Server { url, credentials_file: self.nats_creds.clone() })
    }
}

/// How long a leader leads without asking anew.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Lease {
    /// How long a leader that is gone keeps others from leading
    #[arg(long, value_name = "MS", default_value_t = 3_000, value_parser = clap::value_parser!(u32).range(100..=600_000))]
    pub(crate) lease_ms: u32,
}

impl Lease {
    pub(crate) fn duration(self) -> Duration {
        Duration::from_millis(self.lease_ms.into())
    }
}

/// Where a node keeps its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreKind {
    /// In memory: nothing is synced, and a process that is killed loses it
    Memory,
    /// In a folder, synced at each commit
    Fjall,
}
