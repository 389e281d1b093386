use std::{
    io::{IsTerminal, Write},
    time::{Duration, Instant},
};

use archipelago_testkit::simulation::Survey;

/// How often a person is told.
const EVERY: Duration = Duration::from_secs(1);
/// How often a file is.
const EVERY_IN_FILES: Duration = Duration::from_secs(30);

/// What is told on standard error while seeds run.
#[derive(Debug)]
pub(crate) struct Progress {
    seeds: u64,
    began: Instant,
    told: Instant,
    is_terminal: bool,
    is_shown: bool,
}

impl Progress {
    pub(crate) fn new(seeds: u64) -> Self {
        let now = Instant::now();
        Progress {
            seeds,
            began: now,
            told: now,
            is_terminal: std::io::stderr().is_terminal(),
            is_shown: false,
        }
    }

    fn every(&self) -> Duration {
        if self.is_terminal { EVERY } else { EVERY_IN_FILES }
    }

    /// How long it is until something is to be told.
    pub(crate) fn rest(&self) -> Duration {
        self.every().saturating_sub(self.told.elapsed()).max(Duration::from_millis(1))
    }

    pub(crate) fn tell(&mut self, survey: &Survey) {
        if self.told.elapsed() < self.every() {
            return;
        }
        self.told = Instant::now();
        self.is_shown = true;
        let of = if self.seeds == u64::MAX { String::new() } else { format!(" of {}", self.seeds) };
        let Survey { seeds, steps, failed, .. } = survey;
        let rate = *steps as f64 / self.began.elapsed().as_secs_f64();
        let line = format!("{seeds}{of} seeds, {failed} failed, {steps} steps, {rate:.0} a second");
        let mut error = std::io::stderr().lock();
        // Nobody misses a line that cannot be written.
        let _ = match self.is_terminal {
            true => write!(error, "\r{line}\x1b[K"),
            false => writeln!(error, "{line}"),
        };
        let _ = error.flush();
    }

    pub(crate) fn ends(&self) {
        if self.is_shown && self.is_terminal {
            eprintln!();
        }
    }
}
