use std::path::PathBuf;

use archipelago::pipeline::PipelineError;

use crate::{folder::FolderError, interrupt::Interrupted};

/// Why the demo failed: what happened, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error(
        "--processes needs --nats URL: processes meet at a NATS server (start one with `nats-server -js`, then add \
         --nats nats://127.0.0.1:4222)"
    )]
    ProcessesNeedNats,
    #[error("cannot read the records in {file:?}: {source}; check the path after --records")]
    Records { file: PathBuf, source: std::io::Error },
    #[error("{file:?} holds no usable record; each line must be a JSON object with a string \"id\"")]
    NoRecords { file: PathBuf },
    #[error(
        "{file:?}, line {line}: the record {id:?} is too large: {found} is over the limit {limit} = {max}; make it \
         smaller or remove the line"
    )]
    RecordTooLarge { file: PathBuf, line: u64, id: String, limit: &'static str, found: u64, max: u64 },
    #[error("cannot write to the folder {folder:?}: {source}; choose another one with --dir")]
    Folder { folder: PathBuf, source: std::io::Error },
    #[error("{folder:?} already holds the store of a master; remove it, or choose another folder with --dir")]
    FolderInUse { folder: PathBuf },
    #[error("{url}: {source}{}", advice(.source))]
    Broker { url: String, source: PipelineError },
    #[error(
        "the server takes messages of at most {bytes_max} bytes; raise max_payload there to {least} or more"
    )]
    PayloadTooSmall { bytes_max: usize, least: usize },
    #[error("the master {master} did not start: {reason}")]
    Start { master: &'static str, reason: String },
    #[error("the master {master} takes no more writes: {reason}")]
    MasterFailed { master: &'static str, reason: String },
    #[error("the process of the master {master} ended by itself; RUST_LOG=debug shows what it did before")]
    ProcessEnded { master: &'static str },
    #[error("the master {master} refused a request: {reason}")]
    Refused { master: &'static str, reason: String },
    #[error(
        "the masters did not converge: nothing moved for {waited_s} s ({state}); check the server and the network"
    )]
    Stalled { waited_s: u64, state: String },
    #[error(
        "the masters hold the same writes, but their states differ: {digests:?}; please report this as a bug"
    )]
    Diverged { digests: Vec<String> },
    #[error("{lost} acknowledged writes are missing, for example {example}; please report this as a bug")]
    Lost { lost: u64, example: String },
    #[error("of {loaded} records only {present} are on all masters; please report this as a bug")]
    RecordsMissing { loaded: u64, present: u64 },
    #[error("interrupted; the masters were stopped")]
    Interrupted,
}

impl DemoError {
    /// The exit status that tells of it.
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            DemoError::Interrupted => 130,
            _ => 1,
        }
    }
}

impl From<Interrupted> for DemoError {
    fn from(_: Interrupted) -> Self {
        DemoError::Interrupted
    }
}

impl From<FolderError> for DemoError {
    fn from(error: FolderError) -> Self {
        match error {
            FolderError::Unusable { folder, source } => DemoError::Folder { folder, source },
            FolderError::InUse { folder } => DemoError::FolderInUse { folder },
        }
    }
}

fn advice(error: &PipelineError) -> &'static str {
    match error {
        PipelineError::Unavailable { .. } => {
            "; check the URL after --nats, and that a server with JetStream runs there (nats-server -js)"
        }
        PipelineError::Unauthorized { .. } => {
            ": put them into the URL (nats://user:password@host:4222) or name a file with --nats-creds"
        }
        _ => "",
    }
}
