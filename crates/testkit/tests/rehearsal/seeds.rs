use std::{collections::BTreeMap, time::Duration};

use archipelago_testkit::rehearsal::Outcome;

/// How many lines of a trace are told.
const TRACE_MAX: usize = 400;

/// Which seeds to run.
pub(crate) struct Seeds {
    from: u64,
    count: u64,
}

impl Seeds {
    /// Those that the environment names, or as many as `count`.
    pub(crate) fn from_environment_or(count: u64) -> Seeds {
        let number = |name, default| match std::env::var(name) {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is no number")),
            Err(_) => default,
        };
        Seeds { from: number("ARCHIPELAGO_SIM_FROM", 0), count: number("ARCHIPELAGO_SIM_SEEDS", count) }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> {
        self.from..self.from.saturating_add(self.count)
    }

    #[allow(clippy::print_stderr, reason = "a test tells what it found")]
    pub(crate) fn tell_failure(&self, outcome: &Outcome, test: &str) {
        let seed = outcome.seed;
        eprintln!("\nseed {seed}:");
        let skipped = outcome.trace.len().saturating_sub(TRACE_MAX);
        if skipped > 0 {
            eprintln!("  ({skipped} lines before)");
        }
        for line in &outcome.trace[skipped..] {
            eprintln!("  {line}");
        }
        eprintln!("seed {seed} breaks what is promised:");
        for violation in &outcome.violations {
            eprintln!("{violation}");
        }
        eprintln!(
            "run it again: ARCHIPELAGO_SIM_FROM={seed} ARCHIPELAGO_SIM_SEEDS=1 cargo test -p archipelago-testkit --test \
             rehearsal {test}"
        );
    }
}

/// What all seeds together were.
#[derive(Default)]
pub(crate) struct Sums {
    pub(crate) failed: Vec<u64>,
    seeds: u64,
    steps: u64,
    operations: usize,
    acknowledged: usize,
    unknown: usize,
    virtual_time: Duration,
    faults: BTreeMap<&'static str, u64>,
}

impl Sums {
    pub(crate) fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.steps += outcome.steps;
        if !outcome.violations.is_empty() {
            self.failed.push(outcome.seed);
        }
        self.operations += outcome.operations;
        self.acknowledged += outcome.acknowledged;
        self.unknown += outcome.unknown;
        self.virtual_time += outcome.virtual_time;
        for (fault, count) in &outcome.faults {
            *self.faults.entry(fault).or_default() += count;
        }
    }

    #[allow(clippy::print_stdout, reason = "shown with --nocapture")]
    pub(crate) fn tell(&self) {
        let Sums { failed, seeds, steps, operations, acknowledged, unknown, virtual_time, faults } = self;
        println!(
            "{seeds} seeds, {} failed, {steps} steps, {virtual_time:.0?} of virtual time, {operations} operations, {acknowledged} \
             writes acknowledged, {unknown} unknown; {faults:?}",
            failed.len()
        );
    }
}
