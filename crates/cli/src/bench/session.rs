use std::{
    collections::BTreeMap,
    io::Write,
    process::ExitCode,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use serde::Serialize;

use super::{
    BenchError, Options, append,
    cluster::Cluster,
    failover::{self, Measured},
    leader, masters,
    member::Habitat,
    options::{Bench, Common, Failover, Http, Leader, Output},
    report::{FailoverReport, HttpReport, LeaderReport, Rss},
};
use crate::{
    interrupt::Interrupt,
    progress::{Progress, millis},
};

/// Measures, tells of it, and gives the exit status.
pub(crate) async fn run(options: Options) -> ExitCode {
    let interrupt = Interrupt::listen();
    match options.bench {
        Bench::Replicate(options) => masters::replicate(&options, &interrupt).await,
        Bench::Lag(options) => masters::lag(&options, &interrupt).await,
        Bench::Local(options) => masters::local(&options, &interrupt).await,
        Bench::CatchUp(options) => masters::catch_up(&options, &interrupt).await,
        Bench::Redis(options) => masters::redis(&options, &interrupt).await,
        Bench::Scale(options) => masters::scale(&options, &interrupt).await,
        Bench::Failover(options) => failover(&options, &interrupt).await,
        Bench::Leader(options) => leader(&options, &interrupt).await,
        Bench::Http(options) => http(&options, &interrupt).await,
    }
}

async fn failover(options: &Failover, interrupt: &Interrupt) -> ExitCode {
    let (started, common) = (Instant::now(), &options.common);
    let habitat = if common.nats.is_some() { Habitat::Process } else { Habitat::Here };
    let mut report = FailoverReport {
        bench: "failover",
        nodes: options.nodes,
        lease_ms: options.lease.lease_ms,
        rate: options.rate,
        store: options.store,
        broker: broker(common),
        replicas: common.replicas,
        kill: match habitat {
            Habitat::Process => "SIGKILL of the node's process",
            Habitat::Here => "the node is cut off and dropped, in one process with all others",
        },
        seed: common.seed,
        namespace: namespace(),
        failover_ms: Vec::new(),
        failover_p50_ms: None,
        failover_max_ms: None,
        rejoin_ms: Vec::new(),
        handover_ms: Vec::new(),
        handover_p50_ms: None,
        handover_max_ms: None,
        acknowledged: 0,
        unknown: 0,
        unknown_written: 0,
        not_written: 0,
        lost: 0,
        duplicated: 0,
        contradicted: 0,
        unsound: 0,
        terms: 0,
        entries: 0,
        equal_digests: false,
        log_is_history: false,
        load_ms: 0,
        elapsed_ms: 0,
        error: None,
    };
    let progress = Progress::new();
    progress
        .say(format!("archipelago bench failover: namespace {}, broker {}", report.namespace, report.broker));
    progress.say(format!("a kill: {}", report.kill));
    let mut measured = Measured::default();
    let names = (1..=options.nodes).map(|at| format!("node-{at}")).collect();
    let outcome = async {
        let opening =
            Cluster::open(common, options.lease, &report.namespace, names, options.store, habitat, u64::MAX);
        let mut cluster = interrupt.unless(opening).await?;
        let outcome = interrupt.unless(async {
            cluster.launch().await?;
            let run = failover::Run { cluster: &cluster, options, progress: &progress };
            run.run(&mut measured, &mut report).await
        });
        let outcome = outcome.await;
        cluster.end().await;
        outcome
    }
    .await;
    report.measured(&measured);
    report.elapsed_ms = millis(started.elapsed());
    report.error = outcome.as_ref().err().map(ToString::to_string);
    let has_results = report.acknowledged > 0 || !report.failover_ms.is_empty();
    end(common.output, outcome, &report.text(), has_results, &report)
}

async fn leader(options: &Leader, interrupt: &Interrupt) -> ExitCode {
    let (started, common) = (Instant::now(), &options.common);
    let mut report = LeaderReport {
        bench: "leader",
        ratio: None,
        append_per_s: 0.0,
        baseline_append_per_s: None,
        baseline_write_p50_ms: None,
        baseline_write_p99_ms: None,
        followers: options.followers,
        rate: options.rate,
        seconds: options.seconds,
        size: options.size,
        keys: options.keys,
        tasks: options.tasks,
        lease_ms: options.lease.lease_ms,
        store: options.store,
        broker: broker(common),
        replicas: common.replicas,
        nodes_in: "one process",
        seed: common.seed,
        namespace: namespace(),
        acknowledged: 0,
        failed: 0,
        writes_per_s: 0.0,
        write_p50_ms: None,
        write_p99_ms: None,
        write_max_ms: None,
        lag_p50_ms: None,
        lag_p99_ms: None,
        lag_max_ms: None,
        visible_p50_ms: None,
        visible_p99_ms: None,
        lag_samples: 0,
        lag_samples_left_out: 0,
        idle_visible_p50_ms: None,
        idle_visible_max_ms: None,
        rss_mb: Rss::default(),
        entries: Vec::new(),
        keys_stored: 0,
        terms: 0,
        equal_digests: false,
        elapsed_ms: 0,
        error: None,
    };
    let progress = Progress::new();
    progress
        .say(format!("archipelago bench leader: namespace {}, broker {}", report.namespace, report.broker));
    progress.say("all nodes and clients are in one process");
    let names = (0..=options.followers).map(|at| format!("node-{}", at + 1)).collect();
    let outcome = async {
        if let Some(server) = common.server() {
            progress.say("baseline: plain compare-and-append");
            report.baseline(&append::plain(&server, options, &report.namespace, interrupt).await?);
        }
        let opening = Cluster::open(
            common,
            options.lease,
            &report.namespace,
            names,
            options.store,
            Habitat::Here,
            LOG_ENTRIES_MAX,
        );
        let mut cluster = interrupt.unless(opening).await?;
        let outcome = interrupt.unless(async {
            cluster.launch().await?;
            let run = leader::Run { cluster: &cluster, options, progress: &progress };
            run.run(&mut report).await
        });
        let outcome = outcome.await;
        cluster.end().await;
        outcome
    }
    .await;
    report.elapsed_ms = millis(started.elapsed());
    report.error = outcome.as_ref().err().map(ToString::to_string);
    end(common.output, outcome, &report.text(), report.acknowledged > 0, &report)
}

async fn http(options: &Http, interrupt: &Interrupt) -> ExitCode {
    let started = Instant::now();
    let mut report = HttpReport {
        bench: "http",
        rate: options.rate,
        seconds: options.seconds,
        size: options.size,
        keys: options.keys,
        connections: options.connections,
        durability: options.durability,
        seed: options.seed,
        acknowledged: 0,
        errors: BTreeMap::new(),
        not_sent: 0,
        writes_per_s: 0.0,
        write_p50_ms: None,
        write_p99_ms: None,
        write_p999_ms: None,
        write_max_ms: None,
        rss_mb: Rss::default(),
        elapsed_ms: 0,
        error: None,
    };
    let progress = Progress::new();
    progress.say("archipelago bench http: one node, a process of its own, without a broker");
    let outcome = interrupt.unless(super::http::run(options, &progress, &mut report)).await;
    report.elapsed_ms = millis(started.elapsed());
    report.error = outcome.as_ref().err().map(ToString::to_string);
    end(options.output, outcome, &report.text(), report.acknowledged > 0, &report)
}

/// How many entries the log of `bench leader` keeps: the default of a node.
const LOG_ENTRIES_MAX: u64 = 1_000_000;

/// Shows the outcome, and gives the exit status.
pub(crate) fn end(
    output: Output,
    outcome: Result<(), BenchError>,
    text: &str,
    has_results: bool,
    report: &impl Serialize,
) -> ExitCode {
    if has_results {
        if outcome.is_err() {
            show(output, "\nThe run did not come to its end; as far as it came:");
        }
        show(output, &format!("\n{text}"));
    }
    let status = match outcome {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: {error}");
            error.exit_status()
        }
    };
    if output.json {
        match serde_json::to_string(report) {
            // Nobody may listen any more.
            Ok(line) => drop(writeln!(std::io::stdout(), "{line}")),
            Err(error) => eprintln!("error: cannot write the JSON: {error}"),
        }
    }
    ExitCode::from(status)
}

/// The outcome for a person: on standard output, unless that is for JSON.
fn show(output: Output, text: &str) {
    if output.json { eprintln!("{text}") } else { drop(writeln!(std::io::stdout(), "{text}")) }
}

pub(crate) fn broker(common: &Common) -> &'static str {
    if common.nats.is_some() { "nats" } else { "embedded" }
}

/// Unique, so that two runs on one server do not meet.
pub(crate) fn namespace() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    format!("bench-{seconds}-{:06x}", rand::random::<u32>() >> 8)
}
