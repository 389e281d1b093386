use std::time::Duration;

use archipelago_pipeline::PipelineError;
use archipelago_proto::DecodeError;

/// Why two masters could not be compared, or one not be mended from the other. Nothing changed, except what was mended
/// before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiffError {
    /// No master of this name was heard since this one was started. Worth retrying after a heartbeat interval or two.
    #[error("no master {name:?} was heard since this one was started; see peers()")]
    Unknown {
        /// The name.
        name: String,
    },
    /// This master has no pipeline to ask through.
    #[error("this master has no pipeline, so that no other one can be asked")]
    NoPipeline,
    /// The two resolve conflicts by other rules: their states need not be the same. Permanent until they are configured
    /// alike.
    #[error("{name:?} resolves conflicts by other rules; configure both alike first")]
    StrategyMismatch {
        /// The other master.
        name: String,
    },
    /// The other master was not reached. Worth retrying. One of an older build gives no answer either.
    #[error("the other master was not reached, or is of a build that cannot be asked: {0}")]
    Pipeline(#[from] PipelineError),
    /// The answer cannot be understood.
    #[error("the answer cannot be understood: {0}")]
    Decode(#[from] DecodeError),
    /// The answer is not that of the master that was asked, which was perhaps started again. Worth retrying.
    #[error("the answer is not that of the master that was asked; was it started again?")]
    Stranger,
    /// It took too long. Worth retrying when there is less to do.
    #[error("the comparison was not done within {timeout:?}")]
    Timeout {
        /// The limit.
        timeout: Duration,
    },
    /// This manager is closed, or its store failed.
    #[error("this manager is closed, or its store failed")]
    Closed,
}
