//! A run: fault after fault until the time is over, and the verdict.

use std::{
    process::ExitCode,
    sync::{Arc, Mutex},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    broker::Servers,
    failure::Outcome,
    fault::{Kind as _, chosen},
    fleet::Fleet,
    load::Load,
    options::{Fault, Options},
    report::Report,
    stage::{Stage, faults},
};

/// In which order faults come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// By chance, those of greater weight more often.
    ByWeight,
    /// One after the other.
    InTurn,
}

/// Runs, and tells how it went.
pub(crate) async fn run(options: Options) -> ExitCode {
    let seed = options.seed.unwrap_or_else(|| rand::random::<u64>() >> 16);
    let (json, stage) = (options.json, Stage::new(options.dir.clone()));
    stage.progress.say(&format!("seed {seed}"));
    let report = play(options, seed, Order::ByWeight, &stage).await;
    stage.conclude(report, json)
}

/// A run on this stage.
pub(crate) async fn play(options: Options, seed: u64, order: Order, stage: &Stage) -> Report {
    let report =
        Report { seed, masters: options.masters, heartbeat_ms: options.heartbeat_ms, ..Report::default() };
    let (report, load) = (Arc::new(Mutex::new(report)), Arc::new(Load::new()));
    let work = async |home| {
        let work = async {
            let random = StdRng::seed_from_u64(seed);
            let (report, progress, load) = (report.clone(), stage.progress.clone(), load.clone());
            let mut plan = Plan::of(&options, order)?;
            let minutes = options.minutes;
            let fleet = Fleet::start(options, seed, random, home, report, progress, load);
            let mut fleet = fleet.await?;
            faults(&mut fleet, minutes, |fleet| plan.next(fleet)).await
        };
        stage.interrupt.unless(work).await
    };
    let mut report = stage.run(&report, work).await;
    let counts = load.ledger(|ledger| ledger.counts);
    report.acknowledged += counts.acknowledged;
    (report.unknown, report.refused) = (counts.unknown, counts.refused);
    let sessions = load.sessions.history();
    report.session_operations = sessions.operations().len() as u64;
    let reads = sessions.operations().iter().filter(|operation| operation.op.consistency().is_some());
    report.session_reads = reads.count() as u64;
    report.close();
    report
}

/// Which faults come, and how many.
#[derive(Debug)]
struct Plan {
    faults: Vec<Fault>,
    order: Order,
    kills: Option<u64>,
    rounds: u64,
    done: u64,
}

impl Plan {
    fn of(options: &Options, order: Order) -> Outcome<Plan> {
        let (faults, rounds) = match options.kills {
            Some(_) => (vec![Fault::Kill], None),
            None => (chosen(&options.only, Servers::clustered(options.cluster))?, options.rounds),
        };
        Ok(Plan { faults, order, kills: options.kills, rounds: rounds.unwrap_or(u64::MAX), done: 0 })
    }

    fn next(&mut self, fleet: &mut Fleet) -> Option<(Fault, String)> {
        // A round may have more than one kill.
        let kills = fleet.kills();
        if self.done >= self.rounds || self.kills.is_some_and(|wanted| kills >= wanted) {
            return None;
        }
        let fault = match self.order {
            Order::ByWeight => choose(&self.faults, fleet),
            Order::InTurn => {
                let place = self.done % self.faults.len() as u64;
                self.faults[usize::try_from(place).unwrap_or(0)]
            }
        };
        self.done += 1;
        Some((fault, format!("#{} {}", self.done, fault.name())))
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
