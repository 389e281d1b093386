//! A run: fault after fault until the rounds or the time are over, and the verdict.

use std::{
    process::ExitCode,
    sync::{Arc, Mutex},
};

use rand::{SeedableRng, rngs::StdRng};

use super::{
    ensemble::Ensemble,
    options::{Fault, Options},
    report::Report,
    verdict::Seen,
};
use crate::{
    broker::Servers,
    failure::Outcome,
    fault::{Kind as _, chosen},
    stage::{Stage, faults},
};

/// Runs, and tells how it went.
pub(crate) async fn run(options: Options) -> ExitCode {
    let seed = options.seed.unwrap_or_else(|| rand::random::<u64>() >> 16);
    let (json, stage) = (options.json, Stage::new(options.dir.clone()));
    stage.progress.say(&format!("seed {seed}"));
    let report = play(options, seed, &stage).await;
    stage.conclude(report, json)
}

/// A run on this stage.
pub(crate) async fn play(options: Options, seed: u64, stage: &Stage) -> Report {
    let servers = Servers::clustered(options.cluster).count() as u64;
    let report =
        Report { seed, nodes: options.nodes, servers, lease_ms: options.lease_ms, ..Report::default() };
    let report = Arc::new(Mutex::new(report));
    let work = async |home| {
        let mut plan = plan(&options)?;
        let (minutes, random) = (options.minutes, StdRng::seed_from_u64(seed));
        let (report, progress) = (report.clone(), stage.progress.clone());
        let ensemble = Ensemble::start(options, seed, random, home, report, progress);
        let mut ensemble = stage.interrupt.unless(ensemble).await?;
        let work = faults(&mut ensemble, minutes, |_| plan.next());
        let outcome = stage.interrupt.unless(work).await;
        ensemble.judge(if outcome.is_ok() { Seen::All } else { Seen::Clients });
        if outcome.is_ok() {
            ensemble.close().await;
        }
        outcome
    };
    stage.run(&report, work).await
}

/// Each fault in turn, in as many rounds as are wanted.
fn plan(options: &Options) -> Outcome<impl Iterator<Item = (Fault, String)> + use<>> {
    let faults = chosen(&options.only, Servers::clustered(options.cluster))?;
    let rounds = 1..=options.rounds.unwrap_or(u64::MAX);
    Ok(rounds.flat_map(move |round| {
        faults.clone().into_iter().map(move |fault| (fault, format!("{} #{round}", fault.name())))
    }))
}
