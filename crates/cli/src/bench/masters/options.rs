use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::scale::Series;
use crate::bench::options::{Common, Output, StoreKind};

/// Write at several masters at once, as fast as they take it: how many writes a second does every master come to have?
///
/// --masters masters write --writes values of --size bytes in all, under random ones of --keys keys, each master with --tasks
/// writes under way at a time, which come --together at once from as many writers as that takes. `events_per_s` counts from the first write until every master has applied all of them.
///
/// With --nats the baseline is measured before, in the same run and on the same server: the same number of messages with the same
/// bytes, one message a write, published by as many clients with pipelined acknowledgements into a stream of the same kind,
/// and read by as many ordered consumers, each of which reads all. `ratio` is how many times as many writes as messages a
/// second there are; `bytes_per_event_on_wire` is what the stream holds for each write, with subjects, headers and all. Without
/// --nats there is a broker inside this process, and no baseline.
///
/// Exit status: 0 if all masters ended equal, 130 after Ctrl-C, else 1.
#[derive(Clone, Debug, Args)]
pub(crate) struct Replicate {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) bulk: Bulk,
    /// How many masters there are
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) masters: u16,
    /// How many writes in all
    #[arg(long, value_name = "N", default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) writes: u64,
    /// What the masters keep their state in
    #[arg(long, value_enum, default_value_t = StoreKind::Memory)]
    pub(crate) store: StoreKind,
}

/// What is written, and how.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Writing {
    /// The bytes of a value
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=500_000))]
    pub(crate) size: u32,
    /// How many different keys are written
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub(crate) keys: u32,
    /// How many writes each master has under way at a time
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) tasks: u32,
}

/// What is written, and how much of it at a time.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Bulk {
    #[command(flatten)]
    pub(crate) writing: Writing,
    /// How many of these a writer hands over together, and then waits for
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) together: u32,
}

/// Write at several masters at a rate: how long until the others show it?
///
/// --masters masters write values of --size bytes at --rate writes a second in all. Of a hundred writes a second it is measured
/// how long, from the acknowledgement, each other master takes until it shows them. Before that come 200 single writes with
/// pauses, `idle_visible_p50_ms`, against `round_trip_p50_ms`, one plain request and its answer over the same server, in turns:
/// `idle_ratio` is how many round trips a write takes until another master shows it.
///
/// Exit status: 0 if all masters ended equal, 130 after Ctrl-C, else 1.
#[derive(Clone, Debug, Args)]
pub(crate) struct Lag {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) writing: Writing,
    /// How many masters there are
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(2..=100))]
    pub(crate) masters: u16,
    /// Writes a second, at all of them together
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: u32,
    /// For how long
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) seconds: u32,
    /// What the masters keep their state in
    #[arg(long, value_enum, default_value_t = StoreKind::Memory)]
    pub(crate) store: StoreKind,
}

/// Write at one master that works for itself: how many writes a second, by how many at once and how durable?
///
/// For each durability, 1, 16 and 256 tasks write values of --size bytes under random ones of --keys keys, each as soon as its last
/// write is acknowledged, for --seconds, after each key was written once. With --store fjall the baseline is measured after each of them, in the same folder: as many
/// tasks hand the same bytes to a thread that puts all that waits into fjall as one batch, syncs it as durably, and answers.
/// That is the fastest way to write to it that we know. `ratio` is ours over that.
#[derive(Clone, Debug, Args)]
pub(crate) struct Local {
    /// The bytes of a value
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=500_000))]
    pub(crate) size: u32,
    /// How many different keys are written
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    pub(crate) keys: u32,
    /// For how long each of them
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub(crate) seconds: u32,
    /// What the master keeps its state in
    #[arg(long, value_enum, default_value_t = StoreKind::Fjall)]
    pub(crate) store: StoreKind,
    /// Only this durability
    #[arg(long, value_enum)]
    pub(crate) durability: Option<Durable>,
    /// Keep the stores in this folder [default: a temporary folder, removed at the end]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
    /// The same seed gives the same keys and values
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// The crash that an acknowledged write survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Durable {
    /// None
    Memory,
    /// The death of the process
    Os,
    /// Power loss
    Fsync,
}

impl Durable {
    pub(crate) const ALL: [Durable; 3] = [Durable::Memory, Durable::Os, Durable::Fsync];
}

impl From<Durable> for archipelago::Durability {
    fn from(durable: Durable) -> Self {
        match durable {
            Durable::Memory => archipelago::Durability::Memory,
            Durable::Os => archipelago::Durability::Os,
            Durable::Fsync => archipelago::Durability::Fsync,
        }
    }
}

/// Start a master that has nothing: how long until it has what the others have written?
///
/// A master writes --events values of --size bytes under random ones of --keys keys. Then a new one, with an empty store, reads the
/// whole log; `replay_events_per_s`. Then the first one makes a snapshot, the log is trimmed of all that is in it, and another
/// new one joins by the snapshot; `snapshot_ratio` is how many times as fast that one has the same state. With --nats the baseline is
/// measured in the same run: an ordered consumer that reads as many messages with the same bytes, one for each event, from a
/// stream of the same kind; `ratio` is how many times as many events as messages a second are read.
#[derive(Clone, Debug, Args)]
pub(crate) struct CatchUp {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) bulk: Bulk,
    /// How many events there are
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) events: u64,
    /// What the masters keep their state in
    #[arg(long, value_enum, default_value_t = StoreKind::Memory)]
    pub(crate) store: StoreKind,
}

/// Replicate as `bench replicate` does, against a Redis primary with one replica.
///
/// `redis-server` must be on the PATH; a primary and a replica of it are started in a temporary folder, and stopped at the end. As
/// many connections as there are masters SET the same keys to the same values, --depth of them under way at a time, until the replica has
/// acknowledged all of them. `ratio` is ours with memory stores over Redis without persistence; `ratio_durable` is ours with stores in
/// folders, synced before every acknowledgement, over Redis with `appendonly yes` and `appendfsync everysec`, on both.
#[derive(Clone, Debug, Args)]
pub(crate) struct Redis {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(flatten)]
    pub(crate) bulk: Bulk,
    /// How many masters, and connections, there are
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) masters: u16,
    /// How many writes in all
    #[arg(long, value_name = "N", default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) writes: u64,
    /// How many commands each connection has under way at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) depth: u32,
}

/// Vary one thing while the rest stays: how does what an event costs grow?
///
/// The base is 3 masters, 10,000 entities, values of 16 bytes, no conflicts, last writer wins. Each series varies one thing: 3 to 100
/// masters; 1,000 to 10,000,000 entities; values of 16 bytes to 64 KiB; 0 to 100 % of the writes in conflict; 1 to 16 siblings. All
/// masters have stores in memory and are in this process, as is the broker.
///
/// `cost_us` is the processor time that one master takes for an event, be it its own write or one of others that it applies, in
/// microseconds. That master and its callers have threads of their own, whose time is taken. It makes a third of all writes, and the
/// other masters share the rest: a write of one's own costs more than applying another's, so that a share that falls as masters are
/// added would make many of them look cheap. All masters write, so that what is kept of each of them counts. `process_cost_us` is the
/// time of the whole process over events and masters, without that care. `ratio` is `cost_us` over that of the base. All points of
/// a series are measured in five turns, each after a warm-up, and the best turn of each counts.
///
/// What a master does by the second and not by the event, saying and hearing how far each is, is measured apart, before:
/// `rest_ms_per_s`. While events are measured there is next to nothing of it: a hundred masters that share one machine would hear
/// each other more than they work.
///
/// Writes come in rounds of 3,000, of which no two have the same key; a round ends when every master has all of it. Every key is
/// written in turn, in an order that looks random. In the series of conflicts what masters send is held back until all have written their
/// share of a round, and the first part of that share goes to the same keys at all of them. In the series of siblings, under the strategy
/// version-vector, each entity gets its siblings first, which does not count, by writes that have not seen each other; measured is
/// the write that replaces them.
///
/// The baseline of the entities is an ordered map of the standard library with the same keys and values: `baseline_ratio` is how many
/// times as long as at the base an update of it takes, for the memory of the machine alone.
///
/// Exit status: 0 if all masters ended equal each time, 130 after Ctrl-C, else 1.
#[derive(Clone, Debug, Args)]
pub(crate) struct Scale {
    /// Only these series
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "masters,entities,size,conflicts,siblings"
    )]
    pub(crate) series: Vec<Series>,
    /// Leave out points with more masters
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(3..))]
    pub(crate) max_masters: u16,
    /// Leave out points with more entities; 10,000,000 take about 7 GiB
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    pub(crate) max_entities: u64,
    /// How many writes are measured for each point
    #[arg(long, value_name = "N", default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000_000))]
    pub(crate) writes: u64,
    /// Write a plot to this file, as SVG
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    /// Write a table to this file, as Markdown
    #[arg(long, value_name = "FILE")]
    pub(crate) table: Option<PathBuf>,
    /// The same seed gives the same values
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) output: Output,
}
