use super::{Outcome, Tally, Violation};

/// How many failing seeds are kept. Beyond that they are counted.
pub const FAILING_MAX: usize = 1_000;

/// What many seeds came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Survey {
    /// How many there were.
    pub seeds: u64,
    /// How many inputs engines were handed in all of them.
    pub steps: u64,
    /// How many writes were made.
    pub writes: u64,
    /// How long all of it was by the clocks of the runs, in milliseconds.
    pub virtual_ms: u64,
    /// How many seeds broke a promise.
    pub failed: u64,
    /// Which, and what is wrong, in the order in which they were added; at most [`FAILING_MAX`].
    pub failing: Vec<(u64, Violation)>,
    /// What was done to the replicas, and what came of it.
    pub tally: Tally,
}

impl Survey {
    /// One more.
    pub fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.steps += outcome.steps;
        self.writes += outcome.writes;
        self.virtual_ms += outcome.virtual_ms;
        self.tally.add(&outcome.tally);
        if let Some(violation) = outcome.violation {
            self.failed += 1;
            if self.failing.len() < FAILING_MAX {
                self.failing.push((outcome.seed, violation));
            }
        }
    }
}
