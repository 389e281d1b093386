//! One node at a time writes, the others follow: [`LeaderFollowerManager`].
//!
//! ```
//! use archipelago_manager::leader_follower::{LeaderFollowerManager, ReadConsistency, Write};
//! use archipelago_pipeline::MemoryBroker;
//! use archipelago_store::MemoryStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = MemoryBroker::default();
//! let node = LeaderFollowerManager::builder()
//!     .node_id("paris")
//!     .namespace("orders")
//!     .store(MemoryStore::new())
//!     .pipeline(broker.pipeline("orders"))
//!     .start()
//!     .await?;
//! node.promote().await?;
//! let receipt = node.write(Write::create("order/7", "two lamps")).await?;
//! let found = node.read::<String>("order/7", ReadConsistency::Linearizable).await?;
//! assert_eq!((found.value.as_deref(), found.version), (Some("two lamps"), receipt.version));
//! node.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # The life of a write
//!
//! `manager` sends it as a command to `node`, the only owner of the state, which while it leads (`lead`) gives it an index,
//! packs it with others, appends them to the log with compare-and-append, and once the broker has acknowledged them, stores
//! (`state`) and acknowledges. Every other node follows (`follow`): its `puller` brings the messages of the log, and it
//! stores their entries together with its place in the log.
//!
//! | module | noun |
//! |---|---|
//! | `manager`, `builder`, `options` | [`LeaderFollowerManager`], [`LeaderFollowerBuilder`]: what users call |
//! | `write`, `read`, `session` | [`Write`], [`ReadConsistency`], [`SessionToken`] |
//! | `router`, `client` | [`ReadRouter`]: reads over several nodes; [`SessionClient`]: one who reads what it wrote |
//! | `routed`, `route` | [`RoutedNode`]: what both need of a node; in which order nodes are asked |
//! | `feed` | what changes, for whoever follows from wherever it was: [`Feed`] |
//! | `node` | the owner of the state; `follow`, `take_over`, `lead`: what it is at the moment. Of `lead`, `admit` takes writes in, and `append` brings them to the log and the store |
//! | `state` | what is applied, and how it lies in the store |
//! | `puller` | the messages of the log, whatever becomes of it |
//! | `recovery` | what the log does not bring, from others |
//! | `lease_keeper` | who may lead |
//! | `voice`, `give` | what a node says to others, and gives them; `peers`: what it heard of them |
//! | `fresh`, `reach` | how old what a follower shows can be; how far followers have come |
//! | `marks` | where in the log entries stand |
//! | `views`, `metrics`, `notification`, `error` | what users get to see |
//!
//! Invariants:
//! - The log decides who writes: an append succeeds only where its writer knows the end of the log, and an entry of a term
//!   older than the newest never counts. The lease decides who tries, and confirms linearizable reads; no clock is trusted
//!   for either.
//! - Nothing is acknowledged before the broker has it in the log and the leader in its store.
//! - An index is used once, whatever the log loses: entries that are appended again keep theirs.
//! - The place in the log moves in the same batch as the state that it stands for.
//! - Every queue is bounded: commands, writes under way, messages in flight, messages read ahead, answers, the tail.

mod builder;
mod client;
mod command;
mod error;
mod feed;
mod follow;
mod fresh;
mod give;
mod lead;
mod lease_keeper;
mod manager;
mod marks;
mod metrics;
mod node;
mod notification;
mod options;
mod peers;
mod puller;
mod reach;
mod read;
mod recovery;
mod route;
mod routed;
mod router;
mod session;
mod shared;
mod state;
mod take_over;
mod telemetry;
mod views;
mod voice;
mod write;

pub use archipelago_proto::NodeRole;
pub use builder::LeaderFollowerBuilder;
pub use client::SessionClient;
pub use error::{CloseError, LeaderInfo, ReadError, RoleError, WriteError};
pub use feed::{Feed, FeedChange};
pub use manager::LeaderFollowerManager;
pub use metrics::Metrics;
pub use notification::{Notification, Notifications};
pub use options::{OnFollower, Role};
pub use read::{Found, ReadConsistency};
pub use routed::{NodeStatus, RoutedNode};
pub use router::{LeaderReads, ReadRouter, RouteError, RouterMetrics, Routing};
pub use session::{InvalidToken, SessionToken};
pub(crate) use state::META_PREFIX;
pub(crate) use state::ORPHAN_PREFIX;
pub use views::{FollowerLag, FollowerState, FollowerView, Health, HeardNode, LeaderState};
pub use write::{Ack, Operation, Write, WriteReceipt};

/// The greatest [priority](LeaderFollowerBuilder::priority) of a node.
pub const PRIORITY_MAX: u8 = 100;
