use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use archipelago_engine::mutation::{Mutation, Part, VARIABLE};
use archipelago_testkit::simulation::{Detail, Outcome, Regression, Scenario, Violation};
use serde::Serialize;

use crate::{Done, Interrupt, Options, command, interrupt, silence_panics, subject::Subject};

/// What the mistakes came to.
#[derive(Debug, Serialize)]
struct Report {
    /// How many were made, and how many of these were noticed.
    total: usize,
    caught: usize,
    /// Those that nothing noticed.
    missed: Vec<&'static str>,
    /// Those that no simulation could notice.
    skipped: Vec<Skipped>,
    /// Every one that was made.
    mutations: Vec<Made>,
    seeds_max: u64,
    is_interrupted: bool,
    elapsed_ms: u64,
}

#[derive(Debug, Serialize)]
struct Skipped {
    name: &'static str,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Made {
    name: &'static str,
    what: &'static str,
    /// How many seeds were run with it, of all scenarios.
    seeds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    caught: Option<Caught>,
}

/// What noticed it.
#[derive(Debug, Serialize)]
struct Caught {
    scenario: String,
    seed: u64,
    /// The file, if no seed showed it but a case that was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    case: Option<PathBuf>,
    checker: &'static str,
    detail: String,
    /// What runs it again.
    command: String,
}

/// Makes every mistake until it is noticed, and tells what it took.
pub(crate) fn run(options: &Options, interrupt: &Interrupt) -> Done {
    if let Some(made) = Mutation::made() {
        return Err(format!(
            "{VARIABLE} names {made}: unset it, so that seeds can be run without a mistake, too"
        ));
    }
    silence_panics();
    let began = Instant::now();
    let chosen = chosen(&options.only)?;
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..options.threads() {
            scope.spawn(|| {
                while let Some(mutation) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = attempt(*mutation, options, interrupt);
                    tell_progress(*mutation, &result);
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((*mutation, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(mutation, _)| *mutation);
    let (mut mutations, mut skipped) = (Vec::new(), Vec::new());
    for (_, result) in results {
        match result {
            Ok(made) => mutations.push(made),
            Err(skip) => skipped.push(skip),
        }
    }
    let missed: Vec<&str> =
        mutations.iter().filter(|made| made.caught.is_none()).map(|made| made.name).collect();
    let report = Report {
        total: mutations.len(),
        caught: mutations.len() - missed.len(),
        missed,
        skipped,
        mutations,
        seeds_max: options.seeds_max,
        is_interrupted: interrupt.is_wanted(),
        elapsed_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    };
    match options.json {
        true => println!("{}", serde_json::to_string_pretty(&report).expect("numbers and texts")),
        false => report.tell(),
    }
    Ok(match report.is_interrupted {
        true => ExitCode::from(interrupt::EXIT_STATUS),
        false if report.missed.is_empty() => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn chosen(only: &[String]) -> Result<Vec<Mutation>, String> {
    if only.is_empty() {
        return Ok(Mutation::ALL.to_vec());
    }
    only.iter().map(|name| name.parse().map_err(|error| format!("{error}"))).collect()
}

/// What can notice the mistakes of a part, the most likely first.
fn subjects(part: Part) -> Result<Vec<Subject>, String> {
    let named = |names: &[&str]| names.iter().filter_map(|name| Subject::named(name)).collect::<Vec<_>>();
    let (subjects, wanted) = match part {
        Part::Masters => (named(&Scenario::NAMES), "engines of masters"),
        Part::MasterManager => (named(&["masters"]), "whole managers of masters"),
        Part::LeaderFollower | Part::NodeManager => (named(&["leader-follower"]), "whole nodes"),
        part => return Err(format!("no simulation is known to run {part:?}")),
    };
    match subjects.is_empty() {
        true => Err(format!("no scenario runs {wanted}")),
        false => Ok(subjects),
    }
}

fn attempt(mutation: Mutation, options: &Options, interrupt: &Interrupt) -> Result<Made, Skipped> {
    let name = mutation.name();
    let subjects = subjects(mutation.part()).map_err(|reason| Skipped { name, reason })?;
    let mut made = Made { name, what: mutation.what(), seeds: 0, caught: None };
    for subject in subjects {
        for seed in options.from..options.from.saturating_add(options.seeds_max) {
            if interrupt.is_wanted() {
                return Ok(made);
            }
            made.seeds += 1;
            if let Some(Violation { checker, detail, .. }) =
                violation(mutation, || subject.run(seed, Detail::Untraced))
            {
                let scenario = subject.name().to_owned();
                let command = format!("{VARIABLE}={name} {}", command::of_seed(&scenario, seed));
                made.caught = Some(Caught { scenario, seed, case: None, checker, detail, command });
                return Ok(made);
            }
        }
    }
    if mutation.part() == Part::Masters {
        made.caught = in_cases(mutation, &options.regressions());
    }
    Ok(made)
}

/// What was once wrong is drawn from a seed no more, as the simulation changes; the case stays.
fn in_cases(mutation: Mutation, folder: &Path) -> Option<Caught> {
    let files = std::fs::read_dir(folder).ok()?.filter_map(|file| Some(file.ok()?.path()));
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    for path in files {
        let Ok(Regression { case, .. }) = Regression::read(&path) else { continue };
        let Some(scenario) = Scenario::named(&case.scenario) else { continue };
        if let Some(Violation { checker, detail, .. }) =
            violation(mutation, || scenario.attempt(&case, Detail::Untraced))
        {
            let replay = command::with(&format!("--replay {}", path.display()));
            let command = format!("{VARIABLE}={} {replay}", mutation.name());
            let (scenario, seed) = (case.scenario, case.seed);
            return Some(Caught { scenario, seed, case: Some(path), checker, detail, command });
        }
    }
    None
}

/// What is wrong with a run if the mistake is made, and is not without it.
fn violation(mutation: Mutation, run: impl Fn() -> Outcome) -> Option<Violation> {
    let found = mutation.with(&run).violation?;
    run().violation.is_none().then_some(found)
}

fn tell_progress(mutation: Mutation, result: &Result<Made, Skipped>) {
    match result {
        Ok(Made { caught: Some(Caught { case: Some(case), checker, .. }), seeds, .. }) => {
            eprintln!("{mutation}: {checker} of {}, after {seeds} seeds", case.display());
        }
        Ok(Made { caught: Some(Caught { scenario, checker, .. }), seeds, .. }) => {
            eprintln!("{mutation}: {checker} of {scenario}, after {seeds} seeds");
        }
        Ok(made) => eprintln!("{mutation}: NOT NOTICED in {} seeds", made.seeds),
        Err(Skipped { reason, .. }) => eprintln!("{mutation}: skipped, {reason}"),
    }
}

impl Report {
    fn tell(&self) {
        println!("{:<28} {:<16} {:>6}  checker", "mutation", "scenario", "seeds");
        for Made { name, seeds, caught, .. } in &self.mutations {
            let (scenario, checker) =
                caught.as_ref().map_or(("-", "NOT NOTICED"), |caught| (&caught.scenario, caught.checker));
            println!("{name:<28} {scenario:<16} {seeds:>6}  {checker}");
        }
        for Skipped { name, reason } in &self.skipped {
            println!("{name:<28} skipped: {reason}");
        }
        let Report { total, caught, skipped, elapsed_ms, .. } = self;
        println!("\n{caught} of {total} were noticed, {} were skipped", skipped.len());
        eprintln!("{elapsed_ms} ms");
    }
}
