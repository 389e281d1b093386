//! The engine driven by tokio over a store and a pipeline: [`MultiMasterManager`]; and [`EventSubscriber`], for
//! applications that follow the events.
//!
//! ```
//! use archipelago_manager::MultiMasterManager;
//! use archipelago_pipeline::{MemoryBroker, MemoryConfig};
//! use archipelago_store::MemoryStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = MemoryBroker::new(MemoryConfig::default());
//! let master = MultiMasterManager::builder()
//!     .master_id("us-east")
//!     .namespace("people")
//!     .store(MemoryStore::new())
//!     .pipeline(broker.pipeline("people"))
//!     .start()
//!     .await?;
//! master.write("user/7", "Alice").await?;
//! assert_eq!(master.read::<String>("user/7").await?.as_deref(), Some("Alice"));
//! master.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # The life of a write
//!
//! `manager` sends it as a command to `replica`, the only owner of the engine, which takes in what is there, stores it
//! in one atomic batch (`persist` says as which rows) and acknowledges. `emitter` reads the outbox and brings it to the
//! log. At every other master `receiver` reads the log and hands each message to its `replica`, which applies and
//! stores it together with the checkpoint.
//!
//! | module | noun |
//! |---|---|
//! | `manager`, `builder` | [`MultiMasterManager`], [`MultiMasterBuilder`]: what users call |
//! | `reading` | what users read: values, what lies beneath them, which entities there are |
//! | `update` | writes that depend on what stands |
//! | `writes` | many writes handed over together |
//! | `schema` | which form values are in, and how older forms are lifted: [`Schema`] |
//! | `acknowledge` | how far a write must have come: [`Ack`] |
//! | `intent` | what the author of a write says beside it |
//! | `expected` | what an entity must be for a write to happen: [`Expected`] |
//! | `replica` | the task that owns the engine: group commit, acknowledgement; `command`: what it is asked to do; `neighbours`: what it says to other masters, gives them and takes from them |
//! | `outbox` | how much may wait for the log |
//! | `emitter` | from the outbox to the log |
//! | `receiver` | from the log to the engine |
//! | `heart` | heartbeats, sent and heard; what other masters ask |
//! | `repair` | what the log does not bring, from the state of another master, staged in the store until it is whole |
//! | `divergence` | where masters disagree, and how that is mended: [`Diff`], [`Survey`], [`Mended`] |
//! | `feed` | what changes, for whoever follows from wherever it was: [`Feed`] |
//! | `catching_up` | when a master that was started has what the others have |
//! | `changes`, `import` | the same by any other road |
//! | `log_reader` | follows a log and notices when it is no longer the one that was read |
//! | `persist`, `journal` | the rows of a replica in its store; those of past conflicts |
//! | `at_rest` | a master in a store that none runs on, to look at: [`MasterAtRest`] |
//! | `membership` | who belongs to the namespace, and what holds back the reclaiming of tombstones |
//! | `shared` | what these tasks share |
//! | [`subscriber`] | [`EventSubscriber`], which needs none of the above but `log_reader` |
//! | `notification`, `receipt`, `session_token`, `view`, `peer`, `metrics`, `link` | what users get to see |
//! | `hottest` | which entities are fought over most: [`HotEntity`] |
//! | `telemetry`, `recording` | what of all this is measured, through the facade `metrics`; who records it |
//! | `wall_clock`, `turns`, `random` | what simulations decide: [`WallClock`], the time of day; [`Turns`], which task runs on; chance |
//!
//! Invariants:
//! - Nothing is acknowledged, published or visible before it is stored.
//! - After a failed commit nothing is taken in until the manager is started again.
//! - The checkpoint moves in the same batch as the state that it stands for.
//! - Every queue is bounded: commands, messages, the causal buffer, the outbox, messages in flight, notifications,
//!   conflicts.

mod acknowledge;
mod at_rest;
mod backoff;
mod builder;
mod catching_up;
mod changes;
mod divergence;
mod emitter;
mod error;
mod expected;
mod feed;
mod heart;
mod hottest;
mod import;
mod intent;
#[doc(hidden)]
pub mod internals;
mod journal;
pub mod leader_follower;
mod link;
mod log_reader;
mod manager;
mod membership;
mod metrics;
mod notification;
mod outbox;
mod peer;
mod persist;
mod random;
mod reading;
mod receipt;
mod receiver;
mod recording;
mod repair;
mod replica;
mod schema;
mod seldom;
mod session_token;
mod shared;
mod signatures;
pub mod snapshot;
pub mod subscriber;
mod telemetry;
mod turns;
mod update;
mod view;
mod wall_clock;
mod writes;

pub use acknowledge::{Ack, Reached, WriteOptions};
pub use archipelago_engine::{Held, Scrubbed, Unmended};
pub use at_rest::{EntityAtRest, MasterAtRest};
pub use builder::MultiMasterBuilder;
pub use changes::Changes;
pub use divergence::{DIFF_ENTITIES_MAX, Diff, DiffError, Difference, Disagreement, Mended, Survey};
pub use error::{
    ApplyError, CloseError, ImportError, NotTaken, ReadError, RetireError, StartError, UpdateError,
    WriteError,
};
pub use expected::{EntityTag, Expected, InvalidTag};
pub use feed::{Feed, FeedChange};
pub use hottest::HotEntity;
pub use import::Imported;
pub use leader_follower::LeaderFollowerManager;
pub use link::LinkState;
pub use manager::{CloseReport, MultiMasterManager};
pub use membership::{HeldBack, MemberView, ReclaimReport, reclaimable_in};
pub use metrics::Metrics;
pub use notification::{NOTIFICATIONS_MAX, Notification, Notifications};
pub use peer::PeerView;
pub use receipt::WriteReceipt;
pub use schema::{LiftError, SCHEMA_FIELD_PREFIX, Schema, UpcastError};
pub use session_token::SessionToken;
pub use shared::CONFLICTS_MAX;
pub use signatures::{InvalidKey, KeyError, MemberKey, PublicKey, Signatures, SigningKey, TrustedKeys};
pub use snapshot::{SnapshotError, SnapshotInfo, SnapshotProgress};
pub use subscriber::EventSubscriber;
pub use telemetry::PEERS_MEASURED_MAX;
pub use turns::{InTurn, Turns};
pub use view::{
    ClashReport, ClashSide, ConflictReport, EntityView, Explanation, VersionContent, VersionView,
};
pub use wall_clock::{SystemClock, WallClock};
