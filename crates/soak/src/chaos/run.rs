use std::{process::ExitCode, time::Instant};

use clap::ValueEnum;

use super::{
    options::{Fault, Mode, Options},
    report::{Report, Run},
};
use crate::{
    broker::Servers,
    fault::Kind as _,
    leader,
    options::{Options as MastersOptions, defaults},
    run::{self, Order},
    stage::{Stage, millis},
};

/// How long one run takes at most: what is recorded of it is kept in memory, and checked at its end.
const RUN_MINUTES_MAX: f64 = 5.0;
/// The masters or nodes of a run.
const NODES: u64 = 3;
/// How often masters tell each other how far they are, in milliseconds.
const HEARTBEAT_MS: u64 = 500;

/// Runs, and tells how it went.
pub(crate) async fn run(options: Options) -> ExitCode {
    let seed = options.seed.unwrap_or_else(|| rand::random::<u64>() >> 16);
    if let Some(fault) = options.only.iter().find(|fault| on(&options).all(|servers| !fault.is_of(servers))) {
        eprintln!("error: there is no `{}` on one server: say --target cluster", fault.name());
        return ExitCode::FAILURE;
    }
    let stage = Stage::new(options.dir.clone());
    stage.progress.say(&format!("seed {seed}"));
    let began = Instant::now();
    let mut report = Report::new(seed);
    for (seed, part) in (seed..).zip(parts(&options)) {
        let left = minutes(&options) * 60.0 - began.elapsed().as_secs_f64();
        let run = part.play(&options, seed, left.max(0.0) / 60.0, &stage).await;
        let is_interrupted = run.ending.is_interrupted;
        report.add(run);
        if is_interrupted {
            report.ending.error = Some("interrupted".to_owned());
            report.ending.is_interrupted = true;
            break;
        }
    }
    let kept: Vec<&str> = report.targets.iter().filter_map(|run| run.ending.kept.as_deref()).collect();
    let kept = (!kept.is_empty()).then(|| kept.join(", "));
    let failed = report.targets.iter().filter(|run| run.ending.error.is_some()).count();
    if failed > 0 && !report.ending.is_interrupted {
        report.ending.error = Some(format!("{failed} of {} runs failed", report.runs));
    }
    (report.ending.kept, report.ending.elapsed_ms) = (kept, millis(began.elapsed()));
    stage.conclude(report, options.json)
}

/// One run to be.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Part {
    servers: Servers,
    mode: Mode,
    /// Its share of the time that is left.
    share: f64,
}

fn minutes(options: &Options) -> f64 {
    options.minutes.clamp(0.0, 1e6)
}

/// The targets on which there is anything to be broken.
fn on(options: &Options) -> impl Iterator<Item = Servers> {
    let has_any = |servers: &Servers| !chosen(options, *servers).is_empty();
    options.target.servers().iter().copied().filter(has_any)
}

/// The faults of runs on so many servers.
fn chosen(options: &Options, servers: Servers) -> Vec<Fault> {
    let wanted = match options.only.as_slice() {
        [] => Fault::value_variants(),
        only => only,
    };
    wanted.iter().copied().filter(|fault| fault.is_of(servers)).collect()
}

/// Both modes on both targets, as often as it takes for no run to be too long.
fn parts(options: &Options) -> Vec<Part> {
    let mut parts = Vec::new();
    loop {
        for servers in on(options) {
            for mode in options.mode.each() {
                parts.push(Part { servers, mode: *mode, share: 1.0 });
            }
        }
        let is_short =
            minutes(options) <= RUN_MINUTES_MAX * f64::from(u32::try_from(parts.len()).unwrap_or(u32::MAX));
        if is_short || options.rounds.is_some() {
            break;
        }
    }
    let mut left = parts.len();
    for part in &mut parts {
        part.share = 1.0 / f64::from(u32::try_from(left).unwrap_or(u32::MAX));
        left -= 1;
    }
    parts
}

impl Part {
    async fn play(self, options: &Options, seed: u64, left_minutes: f64, stage: &Stage) -> Run {
        let Part { servers, mode, share } = self;
        let minutes = left_minutes * share;
        stage.progress.say(&format!(
            "{} on {}, seed {seed}: {:.0} s",
            mode.name(),
            servers.name(),
            minutes * 60.0
        ));
        let only = chosen(options, servers);
        let cluster = servers == Servers::Cluster;
        if mode == Mode::Leader {
            let options = leader::options::Options {
                minutes,
                only: only.iter().map(|fault| fault.of_leader()).collect(),
                rounds: options.rounds,
                cluster,
                nodes: NODES,
                settle_s: options.settle_s,
                ..defaults()
            };
            return Run::of_leader(servers, leader::run::play(options, seed, stage).await);
        }
        let options = MastersOptions {
            minutes,
            only: only.iter().map(|fault| fault.of_masters()).collect(),
            rounds: options.rounds.map(|rounds| rounds.saturating_mul(only.len() as u64)),
            cluster,
            masters: NODES,
            settle_s: options.settle_s,
            heartbeat_ms: HEARTBEAT_MS,
            ..defaults()
        };
        Run::of_masters(servers, run::play(options, seed, Order::InTurn, stage).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::options::Target;

    fn options(minutes: f64) -> Options {
        let (target, mode, only) = (Target::All, Mode::All, Vec::new());
        let (rounds, seed, dir) = (None, None, None);
        Options { minutes, target, mode, only, rounds, seed, settle_s: 90, dir, json: true }
    }

    #[test]
    fn both_modes_run_on_both_targets_and_no_run_is_too_long() {
        for (minutes, runs) in [(1.0, 4), (20.0, 4), (21.0, 8), (100.0, 20)] {
            let parts = parts(&options(minutes));
            assert_eq!(parts.len(), runs);
            let mut left = minutes;
            for part in parts {
                let taken = left * part.share;
                assert!((0.1..=RUN_MINUTES_MAX + 1e-6).contains(&taken), "{taken}");
                left -= taken;
            }
            assert!(left.abs() < 1e-6);
        }
    }
}
