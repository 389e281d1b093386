use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use archipelago_testkit::simulation::{Injected, Survey};
use serde::Serialize;

use crate::{
    Done, Interrupt, Options, command, interrupt, kept, silence_panics,
    subject::Subject,
    sweep::{Runs, Sweep},
};

/// How many seeds are run if nobody says.
const SEEDS: u64 = 1_000;
/// How much of what is wrong is told on a line.
const DETAIL_CHARS_MAX: usize = 300;

/// What a sweep came to.
#[derive(Debug, Serialize)]
struct Report<'a> {
    scenario: &'a str,
    from: u64,
    seeds: u64,
    steps: u64,
    steps_per_second: u64,
    writes: u64,
    virtual_ms: u64,
    failures: u64,
    failing: Vec<Failing<'a>>,
    faults_injected: BTreeMap<&'a str, u64>,
    faults_felt: BTreeMap<&'a str, u64>,
    effects: &'a BTreeMap<&'static str, u64>,
    is_interrupted: bool,
    elapsed_ms: u64,
}

/// A seed that broke a promise.
#[derive(Debug, Serialize)]
struct Failing<'a> {
    seed: u64,
    checker: &'a str,
    at_ms: u64,
    detail: &'a str,
    /// What runs it again.
    command: String,
    /// Where it is kept, made small.
    #[serde(skip_serializing_if = "Option::is_none")]
    regression: Option<PathBuf>,
}

/// Runs the seeds, and tells what they came to.
pub(crate) fn of(options: &Options) -> Done {
    silence_panics();
    let interrupt = Interrupt::listen();
    let (subject, began) = (options.subject(), Instant::now());
    let seeds = options.seeds.unwrap_or(if options.minutes.is_some() { u64::MAX } else { SEEDS });
    let sweep = Sweep {
        subject: &subject,
        from: options.from,
        to: options.from.saturating_add(seeds),
        deadline: options.minutes.map(deadline).transpose()?,
        threads: options.threads(),
        runs: if options.twice { Runs::Twice } else { Runs::Once },
    };
    let survey = sweep.run(&interrupt);
    let elapsed = began.elapsed();
    // A seed that is not the same run twice cannot be made small.
    let kept = match options.no_minimise || options.twice {
        true => BTreeMap::new(),
        false => kept::keep(&survey, &subject, options, &interrupt)?,
    };
    let report = Report::new(&survey, &subject, options.from, kept, interrupt.is_wanted(), elapsed);
    match options.json {
        true => println!("{}", serde_json::to_string_pretty(&report).expect("numbers and texts")),
        false => report.tell(&survey),
    }
    Ok(match (report.is_interrupted, report.failures) {
        (true, _) => ExitCode::from(interrupt::EXIT_STATUS),
        (false, 0) => ExitCode::SUCCESS,
        (false, _) => ExitCode::FAILURE,
    })
}

fn deadline(minutes: f64) -> Result<Instant, String> {
    let wrong = || format!("--minutes {minutes}: say a number of minutes above 0");
    let long = Duration::try_from_secs_f64(60.0 * minutes).map_err(|_| wrong())?;
    Instant::now().checked_add(long).ok_or_else(wrong)
}

impl<'a> Report<'a> {
    fn new(
        survey: &'a Survey,
        subject: &'a Subject,
        from: u64,
        mut kept: BTreeMap<u64, PathBuf>,
        is_interrupted: bool,
        elapsed: Duration,
    ) -> Self {
        let of_each = |count: fn(&Injected) -> u64| {
            let counts = survey.tally.faults.iter().map(|(kind, times)| (*kind, count(times)));
            counts.filter(|(_, count)| *count > 0).collect()
        };
        let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        Report {
            scenario: subject.name(),
            from,
            seeds: survey.seeds,
            steps: survey.steps,
            steps_per_second: survey.steps.saturating_mul(1_000) / elapsed_ms.max(1),
            writes: survey.writes,
            virtual_ms: survey.virtual_ms,
            failures: survey.failed,
            failing: survey
                .failing
                .iter()
                .map(|(seed, violation)| Failing {
                    seed: *seed,
                    checker: violation.checker,
                    at_ms: violation.at_ms,
                    detail: &violation.detail,
                    command: command::of_seed(subject.name(), *seed),
                    regression: kept.remove(seed),
                })
                .collect(),
            faults_injected: of_each(|times| times.injected),
            faults_felt: of_each(|times| times.felt),
            effects: &survey.tally.effects,
            is_interrupted,
            elapsed_ms,
        }
    }

    /// For people. What depends on the machine goes to standard error.
    fn tell(&self, survey: &Survey) {
        for failing in &self.failing {
            let detail: String = failing.detail.chars().take(DETAIL_CHARS_MAX).collect();
            println!("seed {}: {} after {} ms: {detail}", failing.seed, failing.checker, failing.at_ms);
            println!("  {}", failing.command);
        }
        println!("{:<24} {:>10} {:>10}", "fault", "injected", "felt");
        for (kind, Injected { injected, felt }) in &survey.tally.faults {
            println!("{kind:<24} {injected:>10} {felt:>10}");
        }
        println!();
        for (effect, times) in self.effects {
            println!("{effect:<36} {times:>10}");
        }
        let Report { scenario, seeds, steps, writes, virtual_ms, failures, .. } = self;
        println!(
            "\n{scenario}: {seeds} seeds, {steps} steps, {writes} writes, {} s of their own time, {failures} failed",
            virtual_ms / 1_000
        );
        eprintln!("{} ms, {} steps a second", self.elapsed_ms, self.steps_per_second);
    }
}
