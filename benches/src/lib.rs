//! What the benches and `compare` measure.
//!
//! | module | noun |
//! |---|---|
//! | `engine_replica` | [`EngineReplica`]: an engine over a hash map, for the engine's own numbers |
//! | `stored_replica` | [`StoredReplica`]: an engine over a `MemoryStore` with outbox and wire format, as a manager drives it |
//! | `contest` | [`Contest`](contest::Contest): one job done by several libraries, checked and timed alike |
//! | `rivals` | the contests: what is measured against whom |
//!
//! Three programs use them:
//!
//! - `cargo bench -p archipelago-benches`: criterion's statistics, compared with the run before;
//! - `cargo run --release -p archipelago-benches --bin compare`: this project and its rivals side by side;
//! - `cargo run --release -p archipelago-benches --bin memory`: what a record costs in memory, which `compare` runs too.
//!
//! Without the default feature `rivals` neither `compare` nor any rival is compiled.

use std::time::SystemTime;

use archipelago_clock::{Incarnation, ReplicaId};

#[cfg(feature = "rivals")]
pub mod contest;
mod engine_replica;
#[cfg(feature = "rivals")]
pub mod rivals;
mod stored_replica;

pub use engine_replica::{ENTITIES, EngineReplica, RECORD_BYTES};
pub use stored_replica::StoredReplica;

/// The replica of this name.
pub fn replica_id(name: &str) -> ReplicaId {
    ReplicaId::new(name, Incarnation::from_bits(1)).expect("the benches choose legal names")
}

/// The time of the wall clock.
fn now_unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    u64::try_from(since.as_millis()).expect("before the year 500 million")
}
