//! A broker in memory: many named logs, with the habits and the failures of JetStream.

mod broker;
mod lease;
mod listener;
mod log;
mod pipeline;
mod subscription;

pub use broker::{MemoryBroker, MemoryConfig};
pub use pipeline::MemoryPipeline;
