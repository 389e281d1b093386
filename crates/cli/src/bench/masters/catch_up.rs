use std::{process::ExitCode, time::Duration};

use archipelago::{OnStart, SnapshotFolder};
use serde::Serialize;
use tokio::time::Instant;

use super::{
    group::Group,
    jetstream::Plain,
    options::CatchUp,
    ratio,
    report::{Report, Setting, measured},
    shown,
};
use crate::{
    bench::{BenchError, options::StoreKind, report::per_second},
    interrupt::Interrupt,
    progress::{Progress, millis},
};

/// How long a master may take to catch up.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(1_800);

/// How long it may take until what was taken in is counted.
const COUNTED_TIMEOUT: Duration = Duration::from_secs(5);

/// The outcome of `bench catch-up`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CatchUpReport {
    #[serde(flatten)]
    found: Found,
    events: u64,
    store: StoreKind,
    #[serde(flatten)]
    setting: Setting,
}

/// What was measured.
#[derive(Clone, Debug, Default, Serialize)]
struct Found {
    /// Replay over the baseline: above 1 ours is faster.
    ratio: Option<f64>,
    /// By how much a snapshot is faster than replay.
    snapshot_ratio: Option<f64>,
    replay_events_per_s: f64,
    baseline_jetstream_msgs_per_s: Option<f64>,
    snapshot_entities_per_s: f64,
    /// From the start of a master that has nothing until it has all.
    replay_ms: u64,
    snapshot_ms: u64,
    /// How long the making of the snapshot took, which does not count.
    snapshot_made_ms: u64,
    snapshot_bytes: u64,
    entities: u64,
}

pub(crate) async fn run(options: &CatchUp, interrupt: &Interrupt) -> ExitCode {
    let report = CatchUpReport {
        found: Found::default(),
        events: options.events,
        store: options.store,
        setting: Setting::bulk(&options.common, options.bulk),
    };
    let (setting, output) = (report.setting.text(), options.common.output);
    measured("catch-up", &setting, output, interrupt, report, async |progress, report| {
        measure(options, &report.setting.namespace, progress, &mut report.found).await
    })
    .await
}

async fn measure(
    options: &CatchUp,
    namespace: &str,
    progress: &Progress,
    report: &mut Found,
) -> Result<(), BenchError> {
    let (common, events) = (&options.common, options.events);
    if let Some(server) = common.server() {
        let plain = Plain::open(&server, common.replicas, namespace, options.bulk.writing).await?;
        let phase = progress.phase("baseline", "messages", events);
        let measured = async {
            plain.fill(events, common.seed).await?;
            plain.read_all(events).await
        };
        let took = measured.await;
        plain.end().await;
        phase.finish();
        report.baseline_jetstream_msgs_per_s = Some(per_second(events, took?));
    }
    let mut group = Group::open(common, namespace, options.store, 3).await?;
    let outcome = catch_up(&mut group, options, progress, report).await;
    group.end().await;
    outcome
}

async fn catch_up(
    group: &mut Group,
    options: &CatchUp,
    progress: &Progress,
    report: &mut Found,
) -> Result<(), BenchError> {
    let failed = |what: &'static str, reason: String| BenchError::Answer { node: what.to_owned(), reason };
    group.launch(1).await?;
    let phase = progress.phase("write", "events", options.events);
    group.write(options.events, options.bulk, options.common.seed, &phase).await?;
    phase.finish();
    let first = group.masters[0].clone();
    while first.metrics().outbox_len > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let token = first.session_token();

    progress.say("replay");
    let started = Instant::now();
    let late = group.start(|builder| builder).await?;
    let has_all = late.wait_for(&token, CATCH_UP_TIMEOUT).await;
    let took = started.elapsed();
    if !has_all || late.metrics().repairs > 0 {
        return Err(failed("the master that replays", "it did not catch up by the log alone".into()));
    }
    (report.replay_ms, report.replay_events_per_s) = (millis(took), per_second(options.events, took));
    report.ratio =
        report.baseline_jetstream_msgs_per_s.and_then(|theirs| ratio(report.replay_events_per_s, theirs));

    progress.say("snapshot");
    let folder =
        tempfile::tempdir().map_err(|source| BenchError::Folder { folder: std::env::temp_dir(), source })?;
    let snapshots = SnapshotFolder::new(folder.path());
    let started = Instant::now();
    let made = first.create_snapshot(&snapshots).await;
    let made = made.map_err(|error| failed("the master that makes a snapshot", error.to_string()))?;
    report.snapshot_made_ms = millis(started.elapsed());
    (report.entities, report.snapshot_bytes) = (made.entities, made.bytes);
    let road = group.broker.pipeline(&group.namespace, OnStart::FailFast).await?;
    road.trim(road.state().await?.last_sequence).await?;
    let started = Instant::now();
    let joiner = group.start(|builder| builder.snapshots(snapshots).snapshot_threshold(1)).await?;
    let has_all = joiner.wait_for(&token, CATCH_UP_TIMEOUT).await;
    let snapshot_took = started.elapsed();
    // It is counted just after it is visible.
    let metrics = async {
        loop {
            let metrics = joiner.metrics();
            if metrics.snapshots_taken + metrics.repairs > 0 {
                return metrics;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let metrics = tokio::time::timeout(COUNTED_TIMEOUT, metrics).await.unwrap_or_else(|_| joiner.metrics());
    if !has_all || metrics.snapshots_taken == 0 || metrics.repairs > 0 {
        let found = format!("{} snapshots and {} repairs", metrics.snapshots_taken, metrics.repairs);
        return Err(failed(
            "the master that joins",
            format!("it did not join by the snapshot alone: {found}"),
        ));
    }
    report.snapshot_ms = millis(snapshot_took);
    report.snapshot_entities_per_s = per_second(report.entities, snapshot_took);
    report.snapshot_ratio = ratio(took.as_secs_f64(), snapshot_took.as_secs_f64());
    group.settled().await?;
    group.check().await
}

impl Report for CatchUpReport {
    fn has_results(&self) -> bool {
        self.found.replay_ms > 0
    }

    fn text(&self) -> String {
        let rate = |rate: Option<f64>| rate.map_or_else(|| "-".into(), |rate| format!("{rate:.0}"));
        format!(
            "ratio:    {} times a plain ordered consumer; by snapshot {} times as fast as by replay\n\
             replay:   {:.0} events a second, {} ms, against {} messages a second\n\
             snapshot: {:.0} entities a second, {} ms, of {} entities in {} bytes; made in {} ms",
            shown(self.found.ratio),
            shown(self.found.snapshot_ratio),
            self.found.replay_events_per_s,
            self.found.replay_ms,
            rate(self.found.baseline_jetstream_msgs_per_s),
            self.found.snapshot_entities_per_s,
            self.found.snapshot_ms,
            self.found.entities,
            self.found.snapshot_bytes,
            self.found.snapshot_made_ms,
        )
    }
}
