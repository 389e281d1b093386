//! Real managers on one thread and virtual time, broken again and again: one seed decides everything.
//!
//! ```
//! use archipelago_testkit::rehearsal::leader_follower;
//!
//! let outcome = leader_follower::run(7);
//! assert!(outcome.violations.is_empty(), "{}", outcome.trace.join("\n"));
//! assert_eq!(leader_follower::run(7).trace, outcome.trace);
//! ```
//!
//! Nothing is simulated but what lies around the managers: the broker, the links to it, disks, clocks, and which of the
//! tasks that can run on does. So the same code is rehearsed that runs in production, at a few thousand times the speed.
//!
//! | module | noun |
//! |---|---|
//! | [`leader_follower`] | nodes of a leader-follower namespace, and what clients see of it |
//! | [`masters`] | masters of a namespace, against every write that disks and log ever had |
//! | `schedule` | who runs on, who stands still, and who is no more |
//!
//! Invariants:
//! - What a seed decides does not depend on the machine, the process or the run: all tasks run one at a time in an order
//!   drawn from the seed, on tokio's paused clock.

pub mod leader_follower;
pub mod masters;
mod schedule;

use std::{collections::BTreeMap, time::Duration};

/// What became of a seed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// It decided everything.
    pub seed: u64,
    /// How often a task ran on until it waited again.
    pub steps: u64,
    /// What does not hold of what is promised, in words. Empty if all does.
    pub violations: Vec<String>,
    /// What happened, line by line: the same each time.
    pub trace: Vec<String>,
    /// What was broken, and how often.
    pub faults: BTreeMap<&'static str, u64>,
    /// How many reads and writes clients asked for.
    pub operations: usize,
    /// How many of the writes were acknowledged.
    pub acknowledged: usize,
    /// How many writes were not answered.
    pub unknown: usize,
    /// How long all of it would have taken.
    pub virtual_time: Duration,
}
