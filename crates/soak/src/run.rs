//! A run: fault after fault until the time is over, and the verdict.

use std::{
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use clap::ValueEnum;

use crate::{
    actions,
    failure::{Failure, Outcome},
    fleet::{Fleet, millis},
    interrupt::{EXIT_STATUS, Interrupt},
    load::Load,
    options::{Fault, Options},
    progress::Progress,
    report::Report,
};

/// How long a fault may go on after the time of the run is over.
const OVERTIME: Duration = Duration::from_secs(180);

/// Runs, and tells how it went.
pub(crate) async fn run(options: Options) -> ExitCode {
    let seed = options.seed.unwrap_or_else(|| rand::random::<u64>() >> 16);
    let json = options.json;
    let report =
        Report { seed, masters: options.masters, heartbeat_ms: options.heartbeat_ms, ..Report::default() };
    let (report, progress) = (Arc::new(Mutex::new(report)), Arc::new(Progress::new()));
    let load = Arc::new(Load::new());
    let interrupt = Interrupt::listen();
    let began = Instant::now();
    progress.say(&format!("seed {seed}"));
    let outcome = in_home(options, seed, &report, &progress, &load, &interrupt).await;
    progress.finish();

    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let counts = load.ledger(|ledger| ledger.counts);
    report.acknowledged += counts.acknowledged;
    (report.unknown, report.refused) = (counts.unknown, counts.refused);
    report.elapsed_ms = millis(began.elapsed());
    report.error = outcome.as_ref().err().map(ToString::to_string);
    report.close();
    eprintln!("{}", report.table());
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
    load: &Arc<Load>,
    interrupt: &Interrupt,
) -> Outcome {
    let mut maker = tempfile::Builder::new();
    maker.prefix("archipelago-soak-");
    let home = match &options.dir {
        Some(folder) => maker.tempdir_in(folder),
        None => maker.tempdir(),
    };
    let home = home.map_err(Failure::broken("make a folder for the run"))?;
    let (report_of_fleet, path) = (report.clone(), home.path().to_owned());
    let work = async {
        let random = StdRng::seed_from_u64(seed);
        let (progress, load) = (progress.clone(), load.clone());
        let fleet = Fleet::start(options, seed, random, path, report_of_fleet, progress, load);
        let mut fleet = fleet.await?;
        faults(&mut fleet).await
    };
    let outcome = interrupt.unless(work).await;
    if !matches!(outcome, Ok(()) | Err(Failure::Interrupted)) {
        keep(home.keep().as_path(), report);
    }
    outcome
}

fn keep(home: &Path, report: &Arc<Mutex<Report>>) {
    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
    report.kept = Some(home.display().to_string());
}

/// Fault after fault, and a last look at everything.
async fn faults(fleet: &mut Fleet) -> Outcome {
    let time = Duration::from_secs_f64(fleet.options.minutes.clamp(0.0, 1e6) * 60.0);
    let deadline = Instant::now() + time;
    let (faults, rounds) = match fleet.options.kills {
        Some(kills) => (vec![Fault::Kill], Some(kills)),
        None if fleet.options.only.is_empty() => (Fault::value_variants().to_vec(), fleet.options.rounds),
        None => (fleet.options.only.clone(), fleet.options.rounds),
    };
    let all = async {
        fleet.check("start").await?;
        let mut done = 0;
        while Instant::now() < deadline && rounds.is_none_or(|rounds| done < rounds) {
            let fault = choose(&faults, fleet);
            let what = format!(
                "#{} {}",
                done + 1,
                fault.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
            );
            fleet.progress.show(&what);
            actions::act(fault, &what, fleet).await?;
            fleet.count(|report| report.rounds += 1);
            done = match fleet.options.kills {
                // A round may have more than one.
                Some(_) => fleet.report.lock().unwrap_or_else(PoisonError::into_inner).kills,
                None => done + 1,
            };
        }
        fleet.progress.show("end: comparing all that is remembered");
        fleet.verify_all().await?;
        fleet.close().await;
        Ok(())
    };
    let over = (deadline + OVERTIME).saturating_duration_since(Instant::now());
    match tokio::time::timeout(over, all).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let minutes = time.as_secs() / 60;
            Err(Failure::Broken(format!("the last fault goes on although the {minutes} minutes are over")))
        }
    }
}

fn choose(faults: &[Fault], fleet: &mut Fleet) -> Fault {
    let total: u32 = faults.iter().map(|fault| fault.weight()).sum();
    let mut dice = fleet.random.random_range(0..total);
    for fault in faults {
        if dice < fault.weight() {
            return *fault;
        }
        dice -= fault.weight();
    }
    faults[0]
}
