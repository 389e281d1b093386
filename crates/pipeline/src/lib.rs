//! The pipeline that carries events between replicas: an ordered log of opaque messages on a broker.
//!
//! [`Pipeline`] is the contract that the replication managers build on. This crate holds it, a broker in memory
//! that keeps it, decorators that make it fail, and the suite of tests that any implementation must pass.
//! The production implementation, on NATS JetStream, is the crate `archipelago-pipeline-nats`.
//!
//! ```
//! use archipelago_pipeline::{MemoryBroker, Outgoing, Pipeline};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), archipelago_pipeline::PipelineError> {
//! let broker = MemoryBroker::default();
//! let (paris, tokyo) = (broker.pipeline("orders"), broker.pipeline("orders"));
//! paris.open().await?;
//!
//! let mut incoming = tokyo.subscribe(0).await?;
//! let message = Outgoing { origin: "paris".into(), message_id: "paris-1".into(), payload: "hello".into() };
//! let ack = paris.publish(message).await?.await?;
//!
//! assert_eq!(ack.sequence, 1);
//! assert_eq!(incoming.next().await?.payload.as_deref(), Some(&b"hello"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! # Modules
//!
//! | where | what |
//! |---|---|
//! | [`Pipeline`], [`Subscription`], [`PipelineError`] | the contract |
//! | [`Lease`], [`LeaseWatch`] | who may write alone, for those who replicate with one leader |
//! | [`Listener`], [`Heard`] | what replicas say to one another beside the log |
//! | [`MemoryBroker`], [`MemoryPipeline`] | many named logs in memory, with JetStream's habits and failures |
//! | [`Switch`] | a decorator that cuts one replica off from the broker and heals it again |
//! | [`Faulty`] | a decorator that loses and repeats messages and acknowledgements by seed |
//! | [`parts`] | how payloads larger than one message of a broker are split and joined, for implementations |
//! | [`snapshots`] | where snapshots are kept: the contract, in memory, in a folder |
//! | [`conformance`] | what every implementation must do, as tests |
//!
//! # Invariants
//!
//! - Only [`Pipeline::open`] makes a log. A log that is gone, replaced or shortened is an error, never an empty
//!   success.
//! - One order for all readers. A subscription's sequences strictly increase, across reconnects as well.
//! - A payload arrives whole or not at all, however many messages it took.
//! - An acknowledgement that did not come says nothing about the message.
//! - An append is stored only where its writer expects it. A lease is held by one at a time, and its revisions grow.
//! - Payloads are opaque here. What is in them is the business of `archipelago-proto`.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod conformance;
mod error;
mod fault;
mod faulty;
mod lease;
mod memory;
mod name;
pub mod parts;
mod peers;
mod pipeline;
pub mod snapshots;
mod switch;

pub use error::PipelineError;
pub use fault::{Fault, FaultRates};
pub use faulty::Faulty;
pub use lease::{LEASE_TTL_MIN, Lease, LeaseEntry, LeaseWatch, check_lease_ttl, lease_ttl_differs};
pub use memory::{MemoryBroker, MemoryConfig, MemoryPipeline};
pub use name::{check_message_id, check_name};
pub use peers::{Answer, Heard, Listener};
pub use pipeline::{
    Appending, ExpectedEnd, Incoming, LogId, LogState, Outgoing, PendingAck, Pipeline, PipelineStatus,
    PublishAck, Subscription,
};
pub use switch::Switch;
