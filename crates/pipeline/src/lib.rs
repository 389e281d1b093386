//! The pipeline that carries events between replicas (crate docs to be written with the memory implementation).

mod error;
mod pipeline;

pub use error::PipelineError;
pub use pipeline::{
    Incoming, LogId, LogState, Outgoing, PendingAck, Pipeline, PipelineStatus, PublishAck, Subscription,
};
