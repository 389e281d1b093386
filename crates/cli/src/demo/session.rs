use std::{
    io::Write,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use archipelago::MemoryBroker;

use super::{
    DemoError, MASTERS, Options,
    broker::Broker,
    interrupt::Interrupt,
    island::Island,
    ledger::Ledger,
    master,
    plan::Plan,
    progress::{Progress, millis},
    protocol::MasterOptions,
    records::Records,
    report::{MasterReport, Report, conflicts_table},
    run::{Run, Shown},
    watch::{Seen, Watcher, missing},
};
use crate::{folder::Folder, server::Server};

/// Runs the demo, tells of it, and gives the exit status.
pub(crate) async fn run(options: Options) -> ExitCode {
    let started = Instant::now();
    let mut report = Report {
        strategy: options.strategy.to_string(),
        seed: options.seed,
        namespace: namespace(),
        ..Report::default()
    };
    let outcome = perform(&options, &mut report, &Interrupt::listen()).await;
    report.elapsed_ms = millis(started.elapsed());
    let status = match outcome {
        Ok(()) => {
            let line = format!("Done in {:.1} s.", started.elapsed().as_secs_f64());
            show(&options, &line);
            0
        }
        Err(error) => {
            report.converged = false;
            report.error = Some(error.to_string());
            eprintln!("error: {error}");
            error.exit_status()
        }
    };
    if options.json {
        match serde_json::to_string(&report) {
            // Nobody may listen any more.
            Ok(line) => drop(writeln!(std::io::stdout(), "{line}")),
            Err(error) => eprintln!("error: cannot write the JSON: {error}"),
        }
    }
    ExitCode::from(status)
}

/// Unique, so that two runs on one server do not meet.
fn namespace() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    format!("demo-{seconds}-{:06x}", rand::random::<u32>() >> 8)
}

/// From the records to the tables; `report` is filled in as far as it comes.
async fn perform(options: &Options, report: &mut Report, interrupt: &Interrupt) -> Result<(), DemoError> {
    options.check()?;
    let progress = Progress::new();
    let server = options.nats.clone().map(|url| Server { url, credentials_file: options.nats_creds.clone() });
    progress.say(format!("archipelago demo: seed {}, strategy {}", options.seed, options.strategy));
    progress.say(format!("namespace: {}", report.namespace));
    let broker = match &server {
        None => None,
        Some(server) => Some(interrupt.unless(Broker::connect(server, &report.namespace)).await?),
    };
    let payload_bytes_max = broker.as_ref().and_then(Broker::payload_bytes_max);
    let limits = master::limits(payload_bytes_max);
    let read = Records::read(options.records.as_deref(), &limits, |line| progress.say(line))?;
    report.malformed = read.malformed;
    if read.malformed + read.repeated > 0 {
        let (malformed, repeated) = (read.malformed, read.repeated);
        progress
            .say(format!("{malformed} lines left out, {repeated} replaced by a later one of the same id"));
    }
    // Dropped after the masters, which write there.
    let folder = Folder::new("archipelago-demo-", options.dir.as_deref(), &MASTERS)?;
    let masters = MASTERS.map(|name| MasterOptions {
        name: name.to_owned(),
        namespace: report.namespace.clone(),
        folder: folder.path.join(name),
        strategy: options.strategy,
        server: server.clone(),
        payload_bytes_max,
    });
    let islands = Arc::new(interrupt.unless(start(options, masters)).await?);
    let (watcher, trouble) = Watcher::start(islands.clone());
    let ledger = Mutex::new(Ledger::new(islands.len()));
    let plan = Plan::new(&read.records, options.writes, options.seed);
    let run = Run {
        islands: &islands,
        watcher: &watcher,
        progress: &progress,
        records: &read.records,
        plan: &plan,
        strategy: options.strategy,
        kill: options.processes,
        ledger: &ledger,
    };
    let outcome = tokio::select! {
        biased;
        Ok(error) = trouble => Err(error),
        outcome = interrupt.unless(run.run()) => outcome,
    };
    let ledger = ledger.into_inner().unwrap_or_else(PoisonError::into_inner);
    count(report, &ledger, &watcher.seen());
    drop(watcher);
    progress.say("close: the masters end");
    futures::future::join_all(islands.iter().map(Island::close)).await;
    let shown = outcome?;
    let verdict = shown.proof.check(read.records.len() as u64);
    tell(options, report, shown);
    if let Some(broker) = &broker {
        show(
            options,
            &format!("\nThe stream {} stays on the server; `nats stream rm` removes it.", broker.stream()),
        );
    }
    if options.dir.is_some() {
        show(options, &format!("The stores are in {}.", folder.path.display()));
    }
    verdict
}

/// Starts all masters at once.
async fn start(options: &Options, masters: [MasterOptions; 3]) -> Result<Vec<Island>, DemoError> {
    let embedded = MemoryBroker::default();
    let starting = MASTERS.into_iter().zip(masters).map(async |(name, master)| match options.processes {
        true => Island::start_process(name, master).await,
        false => Island::start_here(name, master, Some(&embedded)).await,
    });
    futures::future::try_join_all(starting).await
}

/// Fills in what is known however the run ended.
fn count(report: &mut Report, ledger: &Ledger, seen: &[Seen]) {
    let lags = missing(&ledger.vector(), seen);
    let masters = MASTERS.iter().zip(&ledger.counts).zip(seen.iter().zip(lags));
    report.masters = masters
        .map(|((name, counts), (seen, lag_events))| MasterReport {
            name: (*name).to_owned(),
            loads: counts.loads,
            writes: counts.edits,
            applied: seen.applied(),
            conflicts: seen.conflicts.total(),
            lag_events,
            outbox: seen.status.as_ref().map_or(0, |status| status.outbox),
            messages_unreadable: seen.messages_unreadable.total(),
            logs_lost: seen.logs_lost.total(),
            repairs: seen.repairs.total(),
        })
        .collect();
    let sum = |of: fn(&MasterReport) -> u64| report.masters.iter().map(of).sum();
    report.events_applied = sum(|master| master.applied);
    report.conflicts = sum(|master| master.conflicts);
    report.messages_unreadable = sum(|master| master.messages_unreadable);
    report.logs_lost = sum(|master| master.logs_lost);
    report.repairs = sum(|master| master.repairs);
    report.writes = ledger.total(|counts| counts.edits);
    report.queued = ledger.total(|counts| counts.queued);
    report.unacknowledged = ledger.total(|counts| counts.unacknowledged);
}

/// Shows the tables and the proof.
fn tell(options: &Options, report: &mut Report, shown: Shown) {
    let Shown { proof, conflicts, kills } = shown;
    report.kills = kills;
    report.records = proof.records;
    report.acknowledged_lost = proof.lost;
    report.converged = proof.converged();
    report.digests = proof.digests;
    show(options, &format!("\n{}", report.table()));
    if !conflicts.is_empty() {
        show(
            options,
            &format!("\nSome of the conflicts, and how they ended:\n{}", conflicts_table(&conflicts)),
        );
    }
    show(options, &format!("\n{}", report.proof()));
}

/// The outcome for a person: on standard output, unless that is for JSON.
fn show(options: &Options, text: &str) {
    if options.json { eprintln!("{text}") } else { drop(writeln!(std::io::stdout(), "{text}")) }
}
