use std::{
    collections::BTreeMap,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Instant,
};

use archipelago_testkit::simulation::{Detail, Outcome, Survey};

use crate::{interrupt::Interrupt, progress::Progress, subject::Subject};

/// Many seeds, on many threads.
#[derive(Debug)]
pub(crate) struct Sweep<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) from: u64,
    /// The seed after the last one.
    pub(crate) to: u64,
    /// No seed begins after this.
    pub(crate) deadline: Option<Instant>,
    pub(crate) threads: usize,
    pub(crate) runs: Runs,
}

/// How often each seed is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runs {
    Once,
    /// Both are to be the same.
    Twice,
}

impl Sweep<'_> {
    /// Runs them. What they come to is added up in their order, so that the sums do not depend on the threads.
    pub(crate) fn run(&self, interrupt: &Interrupt) -> Survey {
        let next = AtomicU64::new(self.from);
        let (tell, told) = mpsc::sync_channel(2 * self.threads);
        let mut survey = Survey::default();
        let mut progress = Progress::new(self.to - self.from);
        thread::scope(|scope| {
            for _ in 0..self.threads {
                let (tell, next) = (tell.clone(), &next);
                scope.spawn(move || {
                    while !self.is_over(interrupt) {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= self.to || tell.send(self.run_seed(seed)).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(tell);
            // What ended before a seed that began earlier. A seed has an end, so these are few.
            let mut early = BTreeMap::new();
            let mut seed = self.from;
            loop {
                match told.recv_timeout(progress.rest()) {
                    Ok(outcome) => drop(early.insert(outcome.seed, outcome)),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
                while let Some(outcome) = early.remove(&seed) {
                    survey.add(outcome);
                    seed += 1;
                }
                progress.tell(&survey);
            }
        });
        progress.ends();
        survey
    }

    fn run_seed(&self, seed: u64) -> Outcome {
        match self.runs {
            Runs::Once => self.subject.run(seed, Detail::Untraced),
            Runs::Twice => self.subject.run_twice(seed),
        }
    }

    fn is_over(&self, interrupt: &Interrupt) -> bool {
        interrupt.is_wanted() || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}
