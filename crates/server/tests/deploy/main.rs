//! What is in `deploy/`, tried with the real programs: `cargo xtask deploy`.

mod cluster;
mod compose;
mod haproxy;
mod measures;
mod proxy;
#[path = "../server/support.rs"]
#[allow(dead_code, reason = "each of the programs uses a part of it")]
mod support;
