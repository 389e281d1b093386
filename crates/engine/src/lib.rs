//! The deterministic replication core of Archipelago: what a write does, when a remote event may be applied, who wins a
//! conflict, and what must be stored. It does no I/O: wall time and stored records come in as arguments, and what is to
//! be done comes out as [`Effect`]s. The managers drive it in production, simulations drive the same code in tests.
//!
//! ```
//! use archipelago_clock::{Incarnation, ReplicaId};
//! use archipelago_engine::{Change, Effect, Engine, EngineConfig, LocalWrite, Records, Restored};
//! use archipelago_proto::{EntityId, EventBatch, Limits, encode_value};
//! # struct Empty;
//! # impl Records for Empty {
//! #     fn record(&self, _: &EntityId) -> Result<Option<bytes::Bytes>, Box<dyn std::error::Error + Send + Sync>> {
//! #         Ok(None)
//! #     }
//! #     fn live_dots(&self, _: u32, _: u64, _: usize) -> Result<Vec<(u64, EntityId)>, Box<dyn std::error::Error + Send + Sync>> {
//! #         Ok(Vec::new())
//! #     }
//! #     fn entities(&self, _: &[u8], _: usize) -> Result<Vec<(bytes::Bytes, bytes::Bytes)>, Box<dyn std::error::Error + Send + Sync>> {
//! #         Ok(Vec::new())
//! #     }
//! #     fn tombstones(&self, _: u32, _: u64, _: usize) -> Result<Vec<(u64, EntityId)>, Box<dyn std::error::Error + Send + Sync>> {
//! #         Ok(Vec::new())
//! #     }
//! # }
//!
//! let replica = |name| ReplicaId::new(name, Incarnation::from_bits(1));
//! let mut east = Engine::new(EngineConfig::new("people", replica("east")?), Restored::default());
//! let mut west = Engine::new(EngineConfig::new("people", replica("west")?), Restored::default());
//!
//! let alice = Change::Put(encode_value("Alice", &Limits::default())?);
//! let write = LocalWrite { entity: "user/7".into(), change: alice, context: None, trace: None };
//! east.handle_write(write, 1_000, &Empty)?;
//! for effect in east.flush(1_000) {
//!     if let Effect::Commit(commit) = effect {
//!         // Stored atomically by now; then each message travels.
//!         for outboxed in commit.outbox {
//!             let batch = EventBatch::decode(outboxed.message, &Limits::default())?;
//!             west.handle_events(batch.events, Some(1), 1_000, &Empty)?;
//!         }
//!     }
//! }
//! assert_eq!(east.digest(), west.digest());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | module | noun |
//! |---|---|
//! | `engine` | [`Engine`]: inputs are `handle_*`, outputs come from [`flush`](Engine::flush) |
//! | `write` | the input of local writes |
//! | `receive` | the input of events from elsewhere |
//! | `repair` | what another replica lacks of the state, and the input of that: [`Delta`] |
//! | `round` | in what order the pieces of a delta are asked for: [`Round`] |
//! | `identity` | what becomes of a replica whose identity is in other hands: [`Reincarnation`] |
//! | `own_writes` | whether what comes back under this replica's name is what it wrote |
//! | `membership` | who belongs to the namespace |
//! | `floor` | below what tombstones are reclaimed: [`Reclaimable`] |
//! | `peers` | what other replicas say of themselves: [`Peer`] |
//! | `effect` | [`Effect`], [`Commit`], [`Notice`], [`Conflict`]: what is to be done |
//! | `entity` | what an event does to the state of one entity, and what of it is visible |
//! | `causal_buffer` | events that wait for what they depend on |
//! | `progress` | how far the log is done with |
//! | `open_commit` | changes since the last commit |
//! | `packing` | how events share messages: [`pack`], [`pack_messages`] |
//! | `digest` | [`StateDigest`]: a digest that follows each change |
//! | `scrub` | what is stored, read again and held against the digest: [`Scrubbed`] |
//! | `examine` | what is stored, compared with what another replica holds: [`Comparison`] |
//! | `mend` | a damaged entity becomes what another replica holds of it: [`Mend`] |
//! | [`leader_follower`] | the core of the other mode, in which one node at a time writes |
//! | `config` | [`EngineConfig`], [`Restored`] |
//! | `mutation` | deliberate mistakes, with the feature `mutations`: only ever for tests |
//!
//! Invariants:
//! - Equal vectors mean equal visible states, whatever the order of arrival: an event is applied only on top of all
//!   that its admitting replica had applied; a live version is superseded exactly if the author of a write had seen it,
//!   or if it is a tombstone that the admitting replica had seen; what is left is joined by greatest stamp.
//! - Applying an event twice changes nothing: its dot is in the vector.
//! - Sequences of one replica are gapless, and stamps agree with causality.
//! - The checkpoint never passes a message of which something still waits in memory only.

mod causal_buffer;
mod config;
mod digest;
mod effect;
mod engine;
mod entity;
mod error;
mod examine;
mod floor;
mod identity;
pub mod leader_follower;
mod membership;
mod mend;
mod mutated;
#[cfg(feature = "mutations")]
pub mod mutation;
mod open_commit;
mod own_writes;
mod packing;
mod peers;
mod progress;
mod receive;
mod repair;
mod round;
mod scrub;
mod write;

pub use config::{EngineConfig, Restored};
pub use digest::{DIGEST_BUCKETS, StateDigest, bucket_of};
pub use effect::{Commit, Conflict, DotChange, Effect, Notice, Outboxed};
pub use engine::{Counters, Engine, Records};
pub use entity::{
    Clash, Contender, FieldView, Visible, is_contested, is_held_elsewhere, tombstones, visible,
};
pub use error::{ReadError, WriteError};
pub use examine::{Comparison, DigestPage, Held, Theirs};
pub use floor::Reclaimable;
pub use identity::Reincarnation;
pub use membership::MemberError;
pub use mend::{Mend, Unmended};
pub use packing::{pack, pack_messages};
pub use peers::Peer;
pub use receive::Received;
pub use repair::{Delta, DeltaError, Giver};
pub use round::{Round, Useless};
pub use scrub::{Scrubbed, UNREADABLE_MAX};
pub use write::{Change, LocalWrite, Written};
