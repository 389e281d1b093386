//! Laws, servers and faults for testing what is built on Archipelago.
//!
//! Only ever a dev-dependency. [`crdt_laws!`] shows that a CRDT of your own is one. What the in-memory pipeline and the
//! simulator cannot show, a real broker that is killed, paused and robbed of its files can:
//!
//! ```no_run
//! use archipelago_testkit::nats::NatsServer;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mut server = NatsServer::start().await?;
//! println!("clients connect to {}", server.url());
//! server.kill().await?; // as a crash does
//! server.wipe()?; // and the disk is lost with it
//! server.restart().await?; // the same address, nothing stored
//! # Ok(())
//! # }
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`laws`] | what makes a CRDT, as functions; [`crdt_laws!`] makes a test of each |
//! | `merge_laws` | [`fn@merge_laws`]: which laws a merge function obeys; [`merge_laws!`] asserts what you claim |
//! | `sibling_laws` | [`sibling_laws`]: the same of a function over siblings, as custom strategies are; `merge_laws!(siblings: ...)` |
//! | `converge` | [`assert_converges`]: engines with histories of writes, in many interleavings |
//! | [`mod@history`] | what clients saw, recorded, and checked: linearizable, nothing lost, sessions, staleness, terms |
//! | [`generate`] | proptest strategies of clocks, values and CRDTs |
//! | `search` | [`search`]: the search for a minimal [`Counterexample`] |
//! | `folder_image` | [`FolderImage`]: what a crash leaves of the files of a store |
//! | `stored_master` | [`StoredMaster`]: whether the rows of a master fit together |
//! | `tcp_proxy` | [`TcpProxy`]: a relay that cuts a client off from its server, in one direction or both, or is a bad [`Line`] |
//! | [`simulation`] | engines on simulated disks, clocks, links and brokers, broken by seeds; [`simulation::Simulation`]: with data of your own |
//! | `rehearsal` | whole managers on one thread and virtual time, broken again and again: one seed decides everything (feature `managers`) |
//! | [`nats`] | a real nats-server with JetStream, started, broken and mended by a test |
//!
//! Invariant: nothing outlives the test process, whether it ends, panics or is killed.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod converge;
mod crdt_laws;
mod folder_image;
pub mod generate;
pub mod history;
pub mod laws;
mod merge_laws;
#[cfg(unix)]
pub mod nats;
#[cfg(feature = "managers")]
pub mod rehearsal;
mod search;
mod sibling_laws;
pub mod simulation;
mod stored_master;
mod tcp_proxy;

pub use proptest;

pub use converge::{Divergence, History, assert_converges, converge};
pub use folder_image::FolderImage;
pub use merge_laws::{MergeLaws, merge_laws};
pub use search::{Counterexample, assert_law, search};
pub use sibling_laws::sibling_laws;
pub use stored_master::{Inconsistency, StoredMaster};
pub use tcp_proxy::{Line, TcpProxy, Towards};
