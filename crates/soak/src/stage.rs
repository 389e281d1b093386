//! What all runs have in common: a folder, an end, and the verdict.

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::{
    failure::{Failure, Outcome},
    interrupt::{EXIT_STATUS, Interrupt},
    progress::Progress,
    scene::Scene,
};

/// How long a fault may go on after the time of the run is over.
const OVERTIME: Duration = Duration::from_secs(180);

/// Where runs take place, one after the other.
#[derive(Debug)]
pub(crate) struct Stage {
    /// Where the folders of runs are made; the system's if not given.
    dir: Option<PathBuf>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) interrupt: Interrupt,
}

/// How a run ended.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Ending {
    pub(crate) elapsed_ms: u64,
    /// Why the run ended before its time.
    pub(crate) error: Option<String>,
    /// Where the folders of a run that failed are.
    pub(crate) kept: Option<String>,
    #[serde(skip)]
    pub(crate) is_interrupted: bool,
}

/// What came out of a run.
pub(crate) trait Report: Clone + Serialize {
    fn ending(&mut self) -> &mut Ending;

    /// Whether nothing was found wrong, up to here.
    fn is_clean(&self) -> bool;

    /// What was found wrong, in words.
    fn findings(&self) -> &[String];

    /// For a person to read.
    fn table(&self) -> String;
}

impl Stage {
    pub(crate) fn new(dir: Option<PathBuf>) -> Stage {
        Stage { dir, progress: Arc::new(Progress::new()), interrupt: Interrupt::listen() }
    }

    /// Gives the work a folder of its own, which is removed unless something was found wrong.
    pub(crate) async fn run<R: Report>(
        &self,
        report: &Arc<Mutex<R>>,
        work: impl AsyncFnOnce(PathBuf) -> Outcome,
    ) -> R {
        let began = Instant::now();
        let mut maker = tempfile::Builder::new();
        maker.prefix("archipelago-soak-");
        let home = match &self.dir {
            Some(folder) => maker.tempdir_in(folder),
            None => maker.tempdir(),
        };
        let mut kept = None;
        let outcome = match home.map_err(Failure::broken("make a folder for the run")) {
            Ok(home) => {
                let outcome = work(home.path().to_owned()).await;
                let is_clean = report.lock().unwrap_or_else(PoisonError::into_inner).is_clean();
                if !(is_clean && matches!(outcome, Ok(()) | Err(Failure::Interrupted))) {
                    kept = Some(home.keep().display().to_string());
                }
                outcome
            }
            Err(failure) => Err(failure),
        };
        let mut report = report.lock().unwrap_or_else(PoisonError::into_inner).clone();
        *report.ending() = Ending {
            elapsed_ms: millis(began.elapsed()),
            error: outcome.as_ref().err().map(ToString::to_string),
            kept,
            is_interrupted: matches!(outcome, Err(Failure::Interrupted)),
        };
        report
    }

    /// Tells what came out, and gives the exit status.
    pub(crate) fn conclude<R: Report>(&self, mut report: R, json: bool) -> ExitCode {
        self.progress.finish();
        eprintln!("{}", report.table());
        for finding in report.findings() {
            eprintln!("found: {finding}");
        }
        let ending = report.ending().clone();
        if let Some(error) = &ending.error {
            eprintln!("error: {error}");
        }
        if let Some(kept) = &ending.kept {
            eprintln!("the folders are kept: {kept}");
        }
        if json {
            println!("{}", serde_json::to_string(&report).unwrap_or_default());
        }
        match ending {
            Ending { is_interrupted: true, .. } => ExitCode::from(EXIT_STATUS),
            Ending { error: None, .. } if report.is_clean() => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }
}

/// Fault after fault, as long as `next` names one and the time is not over.
pub(crate) async fn faults<S: Scene>(
    scene: &mut S,
    minutes: f64,
    mut next: impl FnMut(&mut S) -> Option<(S::Fault, String)>,
) -> Outcome {
    let time = Duration::from_secs_f64(minutes.clamp(0.0, 1e6) * 60.0);
    let deadline = Instant::now() + time;
    let all = async {
        scene.begin().await?;
        while Instant::now() < deadline
            && let Some((fault, what)) = next(scene)
        {
            scene.show(&what);
            scene.bring(fault, &what).await?;
        }
        scene.finish().await
    };
    let over = (deadline + OVERTIME).saturating_duration_since(Instant::now());
    tokio::time::timeout(over, all).await.unwrap_or_else(|_| {
        let seconds = time.as_secs();
        Err(Failure::Broken(format!("the last fault goes on although the {seconds} seconds are over")))
    })
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
