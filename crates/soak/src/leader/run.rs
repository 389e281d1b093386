//! A run: fault after fault until the rounds or the time are over, and the verdict.

use std::{
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use clap::ValueEnum;
use rand::{SeedableRng, rngs::StdRng};

use super::{
    book::Since,
    ensemble::Ensemble,
    faults,
    options::{Fault, Options},
    report::Report,
    verdict::Seen,
};
use crate::{
    failure::{Failure, Outcome},
    fleet::millis,
    interrupt::{EXIT_STATUS, Interrupt},
    progress::Progress,
};

/// How long a fault may go on after the time of the run is over.
const OVERTIME: Duration = Duration::from_secs(180);

/// Runs, and tells how it went.
pub(crate) async fn run(options: Options) -> ExitCode {
    let seed = options.seed.unwrap_or_else(|| rand::random::<u64>() >> 16);
    let json = options.json;
    let servers = if options.cluster { 3 } else { 1 };
    let report =
        Report { seed, nodes: options.nodes, servers, lease_ms: options.lease_ms, ..Report::default() };
    let (report, progress) = (Arc::new(Mutex::new(report)), Arc::new(Progress::new()));
    let interrupt = Interrupt::listen();
    let began = Instant::now();
    progress.say(&format!("seed {seed}"));
    let outcome = in_home(options, seed, &report, &progress, &interrupt).await;
    progress.finish();

    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner).clone();
    report.elapsed_ms = millis(began.elapsed());
    report.error = outcome.as_ref().err().map(ToString::to_string);
    eprintln!("{}", report.table());
    for finding in &report.findings {
        eprintln!("found: {finding}");
    }
    if let Some(error) = &report.error {
        eprintln!("error: {error}");
    }
    if let Some(kept) = &report.kept {
        eprintln!("the folders are kept: {kept}");
    }
    if json {
        println!("{}", serde_json::to_string(&report).unwrap_or_default());
    }
    match outcome {
        Err(Failure::Interrupted) => ExitCode::from(EXIT_STATUS),
        _ if report.is_clean() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Makes the folder of the run, and removes it unless something went wrong.
async fn in_home(
    options: Options,
    seed: u64,
    report: &Arc<Mutex<Report>>,
    progress: &Arc<Progress>,
    interrupt: &Interrupt,
) -> Outcome {
    let mut maker = tempfile::Builder::new();
    maker.prefix("archipelago-soak-");
    let home = match &options.dir {
        Some(folder) => maker.tempdir_in(folder),
        None => maker.tempdir(),
    };
    let home = home.map_err(Failure::broken("make a folder for the run"))?;
    let work = async {
        let random = StdRng::seed_from_u64(seed);
        let (path, report) = (home.path().to_owned(), report.clone());
        let ensemble = Ensemble::start(options, seed, random, path, report, progress.clone());
        let mut ensemble = interrupt.unless(ensemble).await?;
        let outcome = interrupt.unless(all(&mut ensemble)).await;
        ensemble.judge(if outcome.is_ok() { Seen::All } else { Seen::Clients });
        if outcome.is_ok() {
            ensemble.close().await;
        }
        outcome
    };
    let outcome = work.await;
    let is_clean = report.lock().unwrap_or_else(PoisonError::into_inner).is_clean();
    if !(is_clean && matches!(outcome, Ok(()) | Err(Failure::Interrupted))) {
        keep(home.keep().as_path(), report);
    }
    outcome
}

fn keep(home: &Path, report: &Arc<Mutex<Report>>) {
    report.lock().unwrap_or_else(PoisonError::into_inner).kept = Some(home.display().to_string());
}

/// Fault after fault, in turn.
async fn all(ensemble: &mut Ensemble) -> Outcome {
    let faults = chosen(&ensemble.options)?;
    let time = Duration::from_secs_f64(ensemble.options.minutes.clamp(0.0, 1e6) * 60.0);
    let deadline = Instant::now() + time;
    let rounds = ensemble.options.rounds.unwrap_or(u64::MAX);
    let work = async {
        ensemble.settle("start", Since::Grown).await?;
        for round in 0..rounds {
            for fault in &faults {
                if Instant::now() >= deadline {
                    return ensemble.finish().await;
                }
                let name = fault.name();
                let what = format!("{name} #{}", round + 1);
                ensemble.progress.show(&what);
                faults::bring(*fault, &what, ensemble).await?;
                ensemble.count(|report| *report.rounds.entry(name).or_default() += 1);
            }
        }
        ensemble.finish().await
    };
    let over = (deadline + OVERTIME).saturating_duration_since(Instant::now());
    tokio::time::timeout(over, work).await.unwrap_or_else(|_| {
        let minutes = time.as_secs() / 60;
        Err(Failure::Broken(format!("the last fault goes on although the {minutes} minutes are over")))
    })
}

fn chosen(options: &Options) -> Outcome<Vec<Fault>> {
    let of_one_server = [Fault::Tail];
    if options.cluster && options.only.iter().any(|fault| of_one_server.contains(fault)) {
        return Err(Failure::Broken("`tail` is for one server: leave out --cluster".into()));
    }
    Ok(match (options.only.is_empty(), options.cluster) {
        (false, _) => options.only.clone(),
        (true, true) => vec![Fault::Broker, Fault::Kill, Fault::Pause],
        (true, false) => Fault::value_variants().to_vec(),
    })
}
