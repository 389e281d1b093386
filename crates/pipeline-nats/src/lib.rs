//! The [`Pipeline`](archipelago_pipeline::Pipeline) on NATS JetStream, and the
//! [`SnapshotStore`](archipelago_pipeline::snapshots::SnapshotStore) in its object store.
//!
//! Needs nats-server 2.10 or newer with JetStream. The log of namespace `orders` is the stream `ARCHIPELAGO_orders`;
//! replica `paris` publishes on the subject `archipelago.orders.events.paris`.
//!
//! ```no_run
//! use archipelago_pipeline::{Outgoing, Pipeline};
//! use archipelago_pipeline_nats::{NatsConfig, NatsPipeline};
//!
//! # async fn example() -> Result<(), archipelago_pipeline::PipelineError> {
//! let config = NatsConfig::new("nats://127.0.0.1:4222", "orders").user_and_password("app", "secret");
//! let pipeline = NatsPipeline::connect(config).await?;
//! let state = pipeline.open().await?;
//! let mut incoming = pipeline.subscribe(state.last_sequence).await?;
//!
//! let message = Outgoing { origin: "paris".into(), message_id: "paris-1".into(), payload: "hello".into() };
//! let ack = pipeline.publish(message).await?.await?;
//! assert_eq!(incoming.next().await?.sequence, ack.sequence);
//! # Ok(())
//! # }
//! ```
//!
//! # Leading
//!
//! A leader [appends](archipelago_pipeline::Pipeline::append) with the header `Nats-Expected-Last-Sequence`, and leads while
//! it holds the [lease](archipelago_pipeline::Lease): the key `leader` of the bucket `archipelago_orders_lease`, whose entries
//! live for the lease's time, on as many servers as the log. It is decided by writes that expect a revision, never by what
//! was read. Measured with nats-server 2.15 on one machine: renewing takes 0.06 ms (p99 0.2 ms), who watches learns of a
//! release within 0.2 ms, and of an expiry about 300 ms late: the server takes an entry away a quarter of a second after its
//! time, and tells nobody. Who saw no renewal for that long may take over from the revision that it saw, at once. In a
//! cluster each server counts the time by its own clock; let them agree within a small part of the lease's time. Whoever
//! leads needs the permission to publish on `$KV.archipelago_orders_lease.>`.
//!
//! # Modules
//!
//! | module | what it holds |
//! |---|---|
//! | `config` | [`NatsConfig`]: addresses, credentials, limits |
//! | `address` | server addresses, and how they are shown without their secrets |
//! | `link` | what is known of the two connections, from which the status follows |
//! | `connection` | how a connection is made and its broker examined |
//! | `examination` | [`Examination`]: what a broker is and lets us do, to say what is wrong with it |
//! | `stream` | the stream behind a log: how it is made, checked and read out |
//! | `mirror` | a mirror of that stream, which is read in its place |
//! | `parts` | the headers by which a payload larger than a message travels in parts |
//! | `publisher` | the way out: messages and appends |
//! | `ack` | acknowledgements with a deadline of their own |
//! | `reader` | the way in: a task that survives reconnects and notices every kind of loss |
//! | `subscription` | the reader's other end |
//! | `peers` | what replicas say to one another, on the subjects `archipelago.orders.said.paris` and `archipelago.orders.asked.paris` |
//! | `lease` | the lease, in the JetStream key-value bucket `archipelago_orders_lease`, key `leader` |
//! | `snapshots` | [`NatsSnapshots`]: snapshots in the JetStream object store |
//! | `bucket` | the object store behind them |
//! | `permissions` | [`NatsPermissions`]: what a replica must be allowed at the broker, and nothing more |
//! | `error` | what the broker says, as a [`PipelineError`](archipelago_pipeline::PipelineError) |
//!
//! # Invariants
//!
//! - No type of async-nats appears in the public API.
//! - Only `open` makes the stream of a log, and it never changes one.
//! - Who holds the lease is decided by nothing but the broker's answer to a write that expects a revision.
//! - A subscription delivers from the stream it was made for or ends with an error. It relies on no state in the
//!   broker but the stream: its consumer is made anew, after the message delivered last, whenever anything is in
//!   doubt.
//! - Secrets are in no error, no `Debug` output and no log line.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod ack;
mod address;
mod bucket;
mod config;
mod connection;
mod error;
mod examination;
mod lease;
mod link;
mod mirror;
mod parts;
mod peers;
mod permissions;
mod pipeline;
mod publisher;
mod reader;
mod snapshots;
mod stream;
mod subscription;

pub use config::{NatsConfig, OnStart, ReadFrom, Storage};
pub use examination::{AccountUse, Examination, MissingPermission, StreamSettings};
pub use permissions::{LogPermissions, NatsPermissions, Permission};
pub use pipeline::NatsPipeline;
pub use snapshots::NatsSnapshots;
