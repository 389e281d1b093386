use archipelago_pipeline::PipelineStatus;

/// How the master stands with the pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkState {
    /// There is none: the master works for itself alone.
    Absent,
    /// Events travel.
    Up,
    /// The pipeline is away: writes go on and are queued.
    Down {
        /// What a person should read about it.
        reason: String,
    },
    /// The log that the masters share was lost, replaced or trimmed under this master. Writes go on and are queued.
    Lost {
        /// What a person should read about it.
        reason: String,
    },
}

impl LinkState {
    /// True if a write made now waits in the outbox.
    pub(crate) fn queues(&self) -> bool {
        *self != LinkState::Up
    }
}

impl From<PipelineStatus> for LinkState {
    fn from(status: PipelineStatus) -> Self {
        match status {
            PipelineStatus::Up => LinkState::Up,
            PipelineStatus::Down { reason } => LinkState::Down { reason },
        }
    }
}
