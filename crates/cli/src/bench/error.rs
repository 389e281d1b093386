use std::{path::PathBuf, time::Duration};

use archipelago::pipeline::PipelineError;

use crate::{folder::FolderError, interrupt::Interrupted};

/// Why a measurement failed: what happened, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error("--replicas {0} needs --nats URL: the broker inside this process is one")]
    ReplicasNeedNats(u8),
    #[error("cannot write to the folder {folder:?}: {source}; choose another one with --folder")]
    Folder { folder: PathBuf, source: std::io::Error },
    #[error(
        "{folder:?} already holds the store of a node; remove it, or choose another folder with --folder"
    )]
    FolderInUse { folder: PathBuf },
    #[error("cannot use the server after --nats: {source}{}", advice(.source))]
    Broker {
        #[from]
        source: PipelineError,
    },
    #[error("the node {node} did not start: {reason}")]
    Start { node: String, reason: String },
    #[error("the node {node} did not answer as it should: {reason}")]
    Answer { node: String, reason: String },
    #[error(
        "nobody led within {waited:?} {after}; look at the server and the network, or lengthen --lease-ms"
    )]
    NoLeader { waited: Duration, after: &'static str },
    #[error("{node} did not catch up within {waited:?}: it has {has} of {wanted} entries; lower --rate")]
    Behind { node: String, waited: Duration, has: u64, wanted: u64 },
    #[error("the log could not be read to its end: {at} of {end} messages; is somebody removing them?")]
    LogEnds { at: u64, end: u64 },
    #[error("no write was acknowledged; raise --seconds, or look at the server and the network")]
    NothingWritten,
    #[error(
        "{missed} writes that were due were not acknowledged: {}; lower --rate, or look at the node's machine",
        if .errors.is_empty() { "all connections were busy".to_owned() } else { .errors.join(", ") }
    )]
    Missed { missed: u64, errors: Vec<String> },
    #[error("cannot write {file:?}: {source}; what was measured stands above")]
    Output { file: PathBuf, source: std::io::Error },
    #[error("the baseline could not be measured: {reason}")]
    Baseline { reason: String },
    #[error("not all is well: {findings}; please report this as a bug, with the JSON of this run")]
    Broken { findings: String },
    #[error("interrupted; the nodes were stopped")]
    Interrupted,
}

impl BenchError {
    /// The exit status that tells of it.
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            BenchError::Interrupted => 130,
            _ => 1,
        }
    }
}

impl From<Interrupted> for BenchError {
    fn from(_: Interrupted) -> Self {
        BenchError::Interrupted
    }
}

impl From<FolderError> for BenchError {
    fn from(error: FolderError) -> Self {
        match error {
            FolderError::Unusable { folder, source } => BenchError::Folder { folder, source },
            FolderError::InUse { folder } => BenchError::FolderInUse { folder },
        }
    }
}

fn advice(error: &PipelineError) -> &'static str {
    match error {
        PipelineError::Unavailable { .. } => {
            "; check the URL, and that a server with JetStream runs there (nats-server -js)"
        }
        PipelineError::Unauthorized { .. } => {
            ": put them into the URL (nats://user:password@host:4222) or name a file with --nats-creds"
        }
        _ => "",
    }
}
