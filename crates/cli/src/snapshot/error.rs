use std::path::PathBuf;

use archipelago::{SnapshotStoreError, manager::SnapshotError, pipeline::PipelineError, store::StoreError};

use crate::interrupt::Interrupted;

/// Why a command came to nothing: what happened, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    #[error("cannot use the NATS server: {source}{}", advice(.source))]
    Nats { source: PipelineError },
    #[error("a NATS server keeps the snapshots of each namespace by themselves; add --namespace NAME")]
    NamespaceNeeded,
    #[error("a snapshot cannot be put into the file {file:?}; give a folder, and its file is made there")]
    IntoFile { file: PathBuf },
    #[error("there is no folder {folder:?}; check the path")]
    NoFolder { folder: PathBuf },
    #[error("there is no store in {folder:?}; check the path after --store")]
    NoStore { folder: PathBuf },
    #[error("there is no snapshot in {place}{}; `archipelago snapshot list` shows what there is", of(.namespace))]
    NoSnapshot { place: String, namespace: Option<String> },
    #[error("{source}{}", hint(.source))]
    Snapshot {
        #[from]
        source: SnapshotError,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("interrupted; nothing of the snapshot is listed")]
    CreateInterrupted,
    #[error(
        "interrupted after {chunks} of {chunks_in_all} chunks; run the same command again, and it goes on there"
    )]
    RestoreInterrupted { chunks: u64, chunks_in_all: u64 },
    #[error("interrupted")]
    Interrupted,
}

impl CommandError {
    /// The exit status that tells of it.
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            CommandError::CreateInterrupted
            | CommandError::RestoreInterrupted { .. }
            | CommandError::Interrupted => 130,
            _ => 1,
        }
    }
}

impl From<Interrupted> for CommandError {
    fn from(_: Interrupted) -> Self {
        CommandError::Interrupted
    }
}

impl From<SnapshotStoreError> for CommandError {
    fn from(error: SnapshotStoreError) -> Self {
        SnapshotError::from(error).into()
    }
}

fn of(namespace: &Option<String>) -> String {
    namespace.as_ref().map(|namespace| format!(" of the namespace {namespace:?}")).unwrap_or_default()
}

fn hint(error: &SnapshotError) -> &'static str {
    match error {
        SnapshotError::Empty => " (--store)",
        SnapshotError::NotEmpty { .. } | SnapshotError::HalfRestored { .. } => " (--store, --master-id)",
        SnapshotError::ForeignNamespace { .. } => "; check --namespace",
        _ => "",
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
