use serde::Serialize;

use super::Tally;

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed of the case.
    pub seed: u64,
    /// How many inputs engines were handed: writes, events, heartbeats, pieces, ticks.
    pub steps: u64,
    /// How long it was, by its own clock.
    pub virtual_ms: u64,
    /// How many writes were made.
    pub writes: u64,
    /// What was done to the replicas, and what came of it.
    pub tally: Tally,
    /// The first promise that was broken.
    pub violation: Option<Violation>,
    /// What happened, line by line; empty unless it was asked for.
    pub trace: Vec<String>,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which checker says so.
    pub checker: &'static str,
    /// When, in milliseconds from the start.
    pub at_ms: u64,
    /// What is wrong.
    pub detail: String,
}

impl Outcome {
    /// # Panics
    /// If a promise was broken: tells which, and the seed.
    pub fn assert_sound(&self) {
        if let Some(Violation { checker, at_ms, detail }) = &self.violation {
            panic!("seed {}: {checker} is violated after {at_ms} ms: {detail}", self.seed);
        }
    }
}
