//! One job done by several libraries, checked and timed alike.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// The name under which this project's own numbers appear.
pub const OURS: &str = "archipelago";

/// What is measured of a [`Contest`].
#[derive(Clone, Debug)]
pub struct Case {
    /// A path-like name, such as `clock-compare/u64/3`.
    pub name: String,
    /// What is done, and what was chosen to be fair.
    pub about: String,
    /// How many operations one lap times.
    pub operations: u64,
    /// The ratio that this project aims at, if it has a goal there.
    pub goal: Option<f64>,
}

/// Cases that one lap of each contender measures.
pub struct Contest {
    /// What is measured. A lap gives one time for each.
    pub cases: Vec<Case>,
    /// Who takes part; this project is the one called [`OURS`].
    pub contenders: Vec<Contender>,
}

/// A library that does the job.
pub struct Contender {
    /// The crate.
    pub library: &'static str,
    lap: Box<dyn FnMut() -> Vec<Duration>>,
}

impl Contender {
    /// A library whose laps measure several cases at once, by its own stopwatch.
    pub fn new(library: &'static str, lap: impl FnMut() -> Vec<Duration> + 'static) -> Self {
        Contender { library, lap: Box::new(lap) }
    }

    /// A library that does `work` on what `prepare` gives, with `check` to see that it really did. Only `work` is timed:
    /// neither are inputs cloned nor results dropped in it.
    pub fn of<I, O>(
        library: &'static str,
        mut prepare: impl FnMut() -> I + 'static,
        mut work: impl FnMut(&mut I) -> O + 'static,
        mut check: impl FnMut(&I, &O) + 'static,
    ) -> Self {
        Contender::new(library, move || {
            let mut input = black_box(prepare());
            let (output, time) = timed(|| work(&mut input));
            check(&input, &output);
            vec![time]
        })
    }

    /// Does the job once and gives a time for each case.
    pub fn lap(&mut self) -> Vec<Duration> {
        (self.lap)()
    }
}

/// What `work` gives, and how long it took.
pub fn timed<O>(work: impl FnOnce() -> O) -> (O, Duration) {
    let start = Instant::now();
    let output = black_box(work());
    (output, start.elapsed())
}
