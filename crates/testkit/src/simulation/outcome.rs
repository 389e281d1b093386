use std::{any::Any, fmt, panic::AssertUnwindSafe};

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
    /// What a run comes to. A panic is told as a violation of `panic`, with nothing else.
    pub fn of(seed: u64, run: impl FnOnce() -> Outcome) -> Outcome {
        std::panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| Outcome {
            seed,
            steps: 0,
            virtual_ms: 0,
            writes: 0,
            tally: Tally::default(),
            violation: Some(Violation { checker: PANIC, at_ms: 0, detail: message(&*payload) }),
            trace: Vec::new(),
        })
    }

    /// # Panics
    /// If a promise was broken: tells which, and the seed.
    pub fn assert_sound(&self) {
        if let Some(violation) = &self.violation {
            panic!("seed {}: {violation}", self.seed);
        }
    }
}

/// The checker that a panic is told by.
const PANIC: &str = "panic";
/// The checker that an [invariant](super::SimulationBuilder::invariant) is told by, which names itself in the detail.
pub(super) const INVARIANT: &str = "invariant";

impl Violation {
    /// Whether the same is wrong, if perhaps with something else.
    pub fn is_like(&self, other: &Violation) -> bool {
        let name = |violation: &Violation| match violation.checker {
            INVARIANT => violation.detail.split(": ").next().map(str::to_owned),
            _ => None,
        };
        self.checker == other.checker && name(self) == name(other)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Violation { checker, at_ms, detail } = self;
        write!(f, "{checker} is violated after {at_ms} ms: {detail}")
    }
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}
