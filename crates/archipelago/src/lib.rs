//! Keep one data set alive on many islands: every region, server, phone or browser tab writes locally and at once, keeps
//! working when the network is cut, and ends in the same state as all the others.
//!
//! ```
//! use archipelago::prelude::*;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = MemoryBroker::default();
//! let master = MultiMasterManager::builder()
//!     .master_id("us-east")
//!     .namespace("people")
//!     .store(MemoryStore::new())
//!     .pipeline(broker.pipeline("people"))
//!     .start()
//!     .await?;
//! master.write("user/7", "Alice").await?;
//! assert_eq!(master.read::<String>("user/7").await?.as_deref(), Some("Alice"));
//! # Ok(())
//! # }
//! ```
//!
//! Where there must be no conflicts, one node at a time writes, and another takes over when it is gone:
//!
//! ```
//! use archipelago::{
//!     leader_follower::{ReadConsistency, Write},
//!     prelude::*,
//! };
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
//! node.promote().await?; // or wait: nodes elect one of them by themselves
//! node.write(Write::create("order/7", "two lamps")).await?;
//! let found = node.read::<String>("order/7", ReadConsistency::Linearizable).await?;
//! assert_eq!(found.value.as_deref(), Some("two lamps"));
//! # Ok(())
//! # }
//! ```
//!
//! `docs/MODES.md` compares the two. A namespace is of one mode for ever.
//!
//! This crate is the façade: the few types that users name, out of crates that can be used by themselves.
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `nats` | yes | `NatsPipeline`: events travel through NATS JetStream; `NatsSnapshots`: snapshots in its object store |
//! | `fjall` | yes | `FjallStore`: state in a folder, on the embedded engine fjall |
//! | `text` | no | `crdt::Text`: text that many edit at once, on yrs |
//!
//! | module | crate | what it is for |
//! |---|---|---|
//! | [`prelude`] | | what most programs need |
//! | [`clock`] | `archipelago-clock` | dots, vector clocks, hybrid logical clocks |
//! | [`crdt`] | `archipelago-crdt` | CRDTs and the dynamic value |
//! | [`conflict`] | `archipelago-conflict` | conflict strategies, also standalone |
//! | [`proto`] | `archipelago-proto` | the bytes on the wire and on disk |
//! | [`engine`] | `archipelago-engine` | the deterministic core, without I/O |
//! | [`store`], `store_fjall` | `archipelago-store`, `archipelago-store-fjall` | where a replica keeps its state |
//! | [`pipeline`], `pipeline_nats` | `archipelago-pipeline`, `archipelago-pipeline-nats` | what carries events, and keeps snapshots |
//! | [`manager`] | `archipelago-manager` | the managers, and the subscriber |
//! | [`leader_follower`] | a part of it | all that belongs to [`LeaderFollowerManager`]; its types have names of their own there |

#![cfg_attr(docsrs, feature(doc_cfg))]

#[doc(no_inline)]
pub use archipelago_clock as clock;
#[doc(no_inline)]
pub use archipelago_conflict as conflict;
#[doc(no_inline)]
pub use archipelago_crdt as crdt;
#[doc(no_inline)]
pub use archipelago_engine as engine;
#[doc(no_inline)]
pub use archipelago_manager as manager;
#[doc(no_inline)]
pub use archipelago_pipeline as pipeline;
#[cfg(feature = "nats")]
#[doc(no_inline)]
pub use archipelago_pipeline_nats as pipeline_nats;
#[doc(no_inline)]
pub use archipelago_proto as proto;
#[doc(no_inline)]
pub use archipelago_store as store;
#[cfg(feature = "fjall")]
#[doc(no_inline)]
pub use archipelago_store_fjall as store_fjall;

pub use archipelago_conflict::{ConflictResolver, ConflictStrategy, Custom, Sibling, Strategy};
pub use archipelago_crdt::Value;
#[doc(no_inline)]
pub use archipelago_manager::leader_follower;
pub use archipelago_manager::leader_follower::LeaderFollowerManager;
pub use archipelago_manager::subscriber::{
    BatchDelivery, Checkpoint, CheckpointMode, CheckpointStore, EventDelivery, EventSubscriber, ReplayFrom,
};
pub use archipelago_manager::{
    Ack, Changes, ConflictReport, Diff, DiffError, Difference, Disagreement, EntityTag, EntityView, Expected,
    Explanation, Feed, FeedChange, Held, Imported, InvalidKey, KeyError, LinkState, MemberKey, MemberView,
    Mended, Metrics, MultiMasterManager, Notification, Notifications, PeerView, PublicKey, Reached,
    ReclaimReport, Schema, Scrubbed, SessionToken, Signatures, SigningKey, SnapshotError, SnapshotInfo,
    SnapshotProgress, Survey, TrustedKeys, Unmended, UpdateError, WriteOptions, WriteReceipt,
};
pub use archipelago_pipeline::{
    MemoryBroker, Switch,
    snapshots::{MemorySnapshots, SnapshotFile, SnapshotFolder, SnapshotStore, SnapshotStoreError},
};
#[cfg(feature = "nats")]
pub use archipelago_pipeline_nats::{NatsConfig, NatsPipeline, NatsSnapshots, OnStart};
pub use archipelago_proto::{InvalidTraceId, MemberState, TraceId};
pub use archipelago_store::{Durability, MemoryStore};
#[cfg(feature = "fjall")]
pub use archipelago_store_fjall::FjallStore;

/// What most programs need: `use archipelago::prelude::*;`
pub mod prelude {
    #[cfg(feature = "fjall")]
    pub use crate::FjallStore;
    pub use crate::{
        Durability, EventSubscriber, LeaderFollowerManager, MemoryBroker, MemoryStore, MultiMasterManager,
        Notification, Strategy, Value, WriteReceipt,
    };
    #[cfg(feature = "nats")]
    pub use crate::{NatsConfig, NatsPipeline};
}

/// The examples of the README, compiled and run as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The same for the page of the leader-follower mode.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/LEADER_FOLLOWER.md")]
struct LeaderFollowerPage;
