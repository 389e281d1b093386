use std::path::PathBuf;

use clap::Parser;

use crate::subject::Subject;

/// Break replicas by seeds, and hold them to what is promised
///
/// One seed decides everything: it is the same run on every machine. A failing seed is told with the one command that runs
/// it again, is made as small as it will go, and is kept as a file. docs/SIMULATION.md tells what breaks, and what must
/// hold.
///
/// Exit status: 0 if all promises held; 130 after Ctrl-C, with the sums so far; else 1.
#[derive(Clone, Debug, Parser)]
#[command(name = "simulate", version)]
pub(crate) struct Options {
    /// What to simulate; `--list` tells what there is
    #[arg(long, value_name = "NAME", default_value = "mixed", value_parser = Subject::parse)]
    scenario: String,

    /// How many seeds [default: 1000, or until the time is over with `--minutes`]
    #[arg(long, value_name = "N")]
    pub(crate) seeds: Option<u64>,

    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) from: u64,

    /// Begin no seed after so many minutes; a fraction will do
    #[arg(long, value_name = "N")]
    pub(crate) minutes: Option<f64>,

    /// On how many threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub(crate) threads: Option<u64>,

    /// Standard output is one JSON object
    #[arg(long)]
    pub(crate) json: bool,

    /// Run each seed twice, and compare what happens, line by line
    #[arg(long, conflicts_with_all = ["seed", "replay", "mutations"])]
    pub(crate) twice: bool,

    /// Leave failing seeds as they are
    #[arg(long)]
    pub(crate) no_minimise: bool,

    /// Where failing seeds go, made small [default: crates/testkit/regressions]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) regressions: Option<PathBuf>,

    /// Run this one seed, and tell what happens
    #[arg(long, value_name = "S", conflicts_with_all = ["seeds", "from", "minutes", "json"])]
    pub(crate) seed: Option<u64>,

    /// Run the case of a file, and tell what happens
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scenario", "seed", "seeds", "from", "minutes", "json"])]
    pub(crate) replay: Option<PathBuf>,

    /// Tell what can be simulated
    #[arg(long, exclusive = true)]
    pub(crate) list: bool,

    /// Make every deliberate mistake, and tell how many seeds it takes to notice
    #[arg(long, conflicts_with_all = ["scenario", "seed", "seeds", "minutes", "replay"])]
    pub(crate) mutations: bool,

    /// Only these mistakes
    #[arg(long, value_name = "MUTATION", value_delimiter = ',', requires = "mutations")]
    pub(crate) only: Vec<String>,

    /// How many seeds of each scenario a mistake may take until it is noticed
    #[arg(long, value_name = "N", default_value_t = 500, requires = "mutations")]
    pub(crate) seeds_max: u64,
}

impl Options {
    pub(crate) fn subject(&self) -> Subject {
        Subject::named(&self.scenario).expect("it was looked at when it was parsed")
    }

    pub(crate) fn threads(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.threads.map_or(cores, |threads| usize::try_from(threads).expect("at most 1024"))
    }

    /// Where failing seeds go, made small.
    pub(crate) fn regressions(&self) -> PathBuf {
        let default = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/regressions"));
        self.regressions.clone().unwrap_or_else(default)
    }
}
