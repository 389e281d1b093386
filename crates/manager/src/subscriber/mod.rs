//! [`EventSubscriber`]: calls a handler with each event of a namespace, in the order of the log, from a checkpoint on.
//!
//! ```
//! use archipelago_manager::{MultiMasterManager, subscriber::EventSubscriber};
//! use archipelago_pipeline::MemoryBroker;
//! use archipelago_store::MemoryStore;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = MemoryBroker::default();
//! let (seen, mut events) = tokio::sync::mpsc::channel(16);
//! let subscriber = EventSubscriber::builder()
//!     .namespace("people")
//!     .pipeline(broker.pipeline("people"))
//!     .checkpoint_store(MemoryStore::new())
//!     .on_event(move |delivery| {
//!         let seen = seen.clone();
//!         async move { Ok(seen.send(delivery.event.event.entity.to_string()).await?) }
//!     })
//!     .start()
//!     .await?;
//!
//! let master = MultiMasterManager::builder()
//!     .master_id("us-east")
//!     .namespace("people")
//!     .store(MemoryStore::new())
//!     .pipeline(broker.pipeline("people"))
//!     .start()
//!     .await?;
//! master.write("user/7", "Alice").await?;
//! assert_eq!(events.recv().await.as_deref(), Some("user/7"));
//! subscriber.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! `docs/SUBSCRIBER.md` has the options, the way to exactly once by effect, and what happens when the log is lost.
//!
//! | module | noun |
//! |---|---|
//! | `builder`, `handle` | [`EventSubscriberBuilder`], [`EventSubscriber`]: what users call |
//! | `delivery` | the task: takes in messages, hands over events, moves the checkpoint |
//! | `place` | where the log is read: the beginning, replays, gaps |
//! | `attempt` | calls the handler, retries, puts aside |
//! | `handler`, `event` | the application's functions, and what they are called with |
//! | `checkpoint`, `checkpoint_store` | [`Checkpoint`], [`CheckpointStore`] |
//! | `window` | ids of handled events for which the checkpoint has no room |
//! | `dead_letter` | [`DeadLetter`]: events on which the handler failed too often |
//! | `seek` | finds a place in the log by time |
//! | `notice`, `error`, `shared` | what users get to see, and what the task shares with handles |
//!
//! Invariants:
//! - The checkpoint moves only over events that the handler handled, that are stored as dead letters, or that had been
//!   delivered before.
//! - An event that the checkpoint has as handled is not delivered, except in a replay or as a dead letter that is
//!   retried.
//! - Nothing is passed over in silence: a log that lost something asks `on_gap`, a full store of dead letters stops.
//! - What was read ahead is bounded by one message and one batch; commands, notices, gaps and the window have limits.

mod attempt;
mod builder;
mod checkpoint;
mod checkpoint_store;
mod dead_letter;
mod delivery;
mod error;
mod event;
mod handle;
mod handler;
mod notice;
mod place;
mod seek;
mod shared;
mod telemetry;
mod window;

pub use builder::EventSubscriberBuilder;
pub use checkpoint::{Checkpoint, CheckpointError, CheckpointMode};
pub use checkpoint_store::{CheckpointStore, put_checkpoint};
pub use dead_letter::{DeadLetter, DeadLetterAtRest, DeadLetterId, dead_letters_in};
pub use error::{DeadLetterError, HandlerError, ReplayError, SubscriberError};
pub use event::{BatchDelivery, Cause, EventDelivery, LoggedEvent};
pub use handle::{EventSubscriber, ReplayFrom};
pub use notice::{
    DeliveryFailure, Gap, GapAction, NextStep, SUBSCRIBER_NOTICES_MAX, SubscriberMetrics, SubscriberNotice,
    SubscriberNotices, SubscriberStatus,
};
