use std::path::PathBuf;

use archipelago::Strategy;
use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};

use super::DemoError;

/// Show three masters that write at once, are cut off, healed, and end in the same state
///
/// Starts the masters us-east, eu-west and ap-south, each with a durable store of its own. Loads a third of the
/// records at each. Then all three edit at once, a share of the edits hitting the same few records. In the middle
/// ap-south is cut off from the others; with --processes, eu-west is also killed (SIGKILL) and restarted on its
/// store. All go on writing meanwhile. Then the cut is healed, and the demo waits until the masters agree and proves
/// it: equal digests of the whole state, and no acknowledged write missing on any master.
///
/// Exit status: 0 if the masters converged and nothing was lost, 130 after Ctrl-C, else 1.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Records to load: one JSON object a line, each with a string "id" [default: 300 built-in records]
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) records: Option<PathBuf>,

    /// Carry events over the NATS server (2.10 or newer, with JetStream) at this URL, which may hold user and
    /// password: nats://user:password@host:4222 [default: a broker inside this process]
    #[arg(long, value_name = "URL")]
    pub(crate) nats: Option<String>,

    /// Identify to the server of --nats with this credentials file
    #[arg(long, value_name = "FILE", env = "ARCHIPELAGO_NATS_CREDS")]
    pub(crate) nats_creds: Option<PathBuf>,

    /// Run each master as a process of its own, and kill one in the middle; needs --nats
    #[arg(long)]
    pub(crate) processes: bool,

    /// How many edits to make, over all masters
    #[arg(long, value_name = "N", default_value_t = 3_000, value_parser = clap::value_parser!(u64).range(3..=10_000_000))]
    pub(crate) writes: u64,

    /// How concurrent edits of one record are brought together: lww (the later record wins whole) or field-merge
    /// (the later edit of each field wins)
    #[arg(long, value_name = "STRATEGY", default_value_t = Strategy::FieldMerge, value_parser = strategies())]
    pub(crate) strategy: Strategy,

    /// The same seed gives the same edits
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(crate) seed: u64,

    /// Keep the stores in this folder [default: a temporary folder, removed at the end]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) dir: Option<PathBuf>,

    /// End standard output with one line of JSON; all other output goes to standard error
    #[arg(long)]
    pub(crate) json: bool,
}

/// The strategies whose outcome the demo can prove.
fn strategies() -> impl TypedValueParser<Value = Strategy> {
    let names = [Strategy::Lww, Strategy::FieldMerge].map(Strategy::name);
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Strategy>())
}

impl Options {
    /// What clap cannot check.
    pub(crate) fn check(&self) -> Result<(), DemoError> {
        if self.processes && self.nats.is_none() {
            return Err(DemoError::ProcessesNeedNats);
        }
        Ok(())
    }
}
