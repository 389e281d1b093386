//! A real nats-server with JetStream, started, broken and mended by a test.
//!
//! Every [`NatsServer`] has a temporary folder and a port of its own, so tests that use one run side by side. The
//! program is found by [`find_binary`]; without one, a test fails and says how to get it: no test is skipped.
//!
//! Unix only, as pausing and stopping are signals.

mod binary;
mod builder;
mod cluster;
mod config;
mod error;
mod process;
mod readiness;
mod server;
mod watchdog;

pub use binary::find_binary;
pub use builder::NatsServerBuilder;
pub use cluster::NatsCluster;
pub use error::NatsServerError;
pub use server::NatsServer;
