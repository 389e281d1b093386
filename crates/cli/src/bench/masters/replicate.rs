use std::process::ExitCode;

use serde::Serialize;

use super::{
    cost::cpu,
    group::Group,
    jetstream::{self, Plain},
    options::Replicate,
    ratio,
    report::{Report, Setting, measured},
    shown,
};
use crate::{
    bench::{BenchError, memory::rss_mb, options::StoreKind, report::per_second},
    interrupt::Interrupt,
    progress::Progress,
};

/// Writes that do not count: until caches are warm and connections know how fast they may be.
const WARM_UP_SHARE: u64 = 20;

/// The outcome of `bench replicate`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ReplicateReport {
    /// Ours over the baseline: above 1 ours is faster.
    ratio: Option<f64>,
    events_per_s: f64,
    baseline_jetstream_msgs_per_s: Option<f64>,
    /// With subjects, headers and all; of the embedded broker nothing is known.
    bytes_per_event_on_wire: Option<f64>,
    /// The same beyond the key and the value.
    bytes_per_event_beyond: Option<f64>,
    /// Of this process, with all masters and writers.
    cpu_s: Option<f64>,
    rss_mb: Option<u64>,
    masters: u16,
    writes: u64,
    store: StoreKind,
    #[serde(flatten)]
    setting: Setting,
}

pub(crate) async fn run(options: &Replicate, interrupt: &Interrupt) -> ExitCode {
    let report = ReplicateReport {
        ratio: None,
        events_per_s: 0.0,
        baseline_jetstream_msgs_per_s: None,
        bytes_per_event_on_wire: None,
        bytes_per_event_beyond: None,
        cpu_s: None,
        rss_mb: None,
        masters: options.masters,
        writes: options.writes,
        store: options.store,
        setting: Setting::bulk(&options.common, options.bulk),
    };
    let (setting, output) = (report.setting.text(), options.common.output);
    measured("replicate", &setting, output, interrupt, report, async |progress, report| {
        measure(options, progress, report).await
    })
    .await
}

async fn measure(
    options: &Replicate,
    progress: &Progress,
    report: &mut ReplicateReport,
) -> Result<(), BenchError> {
    let common = &options.common;
    if let Some(server) = common.server() {
        let plain =
            Plain::open(&server, common.replicas, &report.setting.namespace, options.bulk.writing).await?;
        let phase = progress.phase("baseline", "messages", options.writes);
        let measured = async {
            plain.run(options.masters, (options.writes / WARM_UP_SHARE).max(1), common.seed).await?;
            plain.run(options.masters, options.writes, common.seed + 1).await
        };
        let took = measured.await;
        plain.end().await;
        phase.finish();
        report.baseline_jetstream_msgs_per_s = Some(per_second(options.writes, took?));
    }
    let mut group = Group::open(common, &report.setting.namespace, options.store, options.masters).await?;
    let outcome = replicate(&mut group, options, progress, report).await;
    group.end().await;
    outcome
}

async fn replicate(
    group: &mut Group,
    options: &Replicate,
    progress: &Progress,
    report: &mut ReplicateReport,
) -> Result<(), BenchError> {
    let (common, writes) = (&options.common, options.writes);
    group.launch(options.masters).await?;
    let phase = progress.phase("warm-up", "writes", writes / WARM_UP_SHARE);
    group.write((writes / WARM_UP_SHARE).max(1), options.bulk, common.seed, &phase).await?;
    phase.finish();
    let on_wire = async || match common.server() {
        Some(server) => Ok(Some(jetstream::stream_bytes(&server, &report.setting.namespace).await?)),
        None => Ok::<_, BenchError>(None),
    };
    let (bytes_before, cpu_before) = (on_wire().await?, cpu());
    let phase = progress.phase("replicate", "writes", writes);
    let took = group.write(writes, options.bulk, common.seed + 1, &phase).await?;
    phase.finish();
    let used = cpu().zip(cpu_before).map(|(after, before)| after.saturating_sub(before));
    #[allow(clippy::cast_precision_loss, reason = "a mean for people")]
    let per_event = |bytes: u64| (bytes as f64 / writes as f64 * 10.0).round() / 10.0;
    let bytes = on_wire().await?.zip(bytes_before).map(|(after, before)| per_event(after - before));
    report.rss_mb = rss_mb();
    report.cpu_s = used.map(|used| used.as_secs_f64());
    report.bytes_per_event_on_wire = bytes;
    // Keys have 8 bytes, see `Noise`.
    report.bytes_per_event_beyond = bytes.map(|bytes| bytes - f64::from(options.bulk.writing.size) - 8.0);
    report.events_per_s = per_second(writes, took);
    report.ratio = report.baseline_jetstream_msgs_per_s.and_then(|theirs| ratio(report.events_per_s, theirs));
    group.check().await
}

impl Report for ReplicateReport {
    fn has_results(&self) -> bool {
        self.events_per_s > 0.0
    }

    fn text(&self) -> String {
        let number = |value: Option<f64>, unit: &str| {
            value.map_or_else(|| "-".into(), |value| format!("{value:.1}{unit}"))
        };
        let rate =
            |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.0} a second"));
        format!(
            "ratio:    {} times plain JetStream\n\
             events:   {:.0} a second, until all {} masters have all\n\
             baseline: {}, one message a write\n\
             wire:     {} a write, {} of them beyond key and value\n\
             used:     {} of processors, {} MiB",
            shown(self.ratio),
            self.events_per_s,
            self.masters,
            rate(self.baseline_jetstream_msgs_per_s),
            number(self.bytes_per_event_on_wire, " bytes"),
            number(self.bytes_per_event_beyond, ""),
            number(self.cpu_s, " s"),
            self.rss_mb.map_or_else(|| "-".into(), |mb| mb.to_string()),
        )
    }
}
