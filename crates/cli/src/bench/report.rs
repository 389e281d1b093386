use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use super::{
    BenchError,
    append::Appended,
    failover::Measured,
    lag::Seen,
    masters::{ratio, shown},
    options::{StoreKind, Synced},
    samples::Samples,
};
use crate::progress::millis;

/// The outcome of `bench failover`, as `--json` prints it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FailoverReport {
    pub(crate) bench: &'static str,
    pub(crate) nodes: u8,
    pub(crate) lease_ms: u32,
    pub(crate) rate: u32,
    pub(crate) store: StoreKind,
    pub(crate) broker: &'static str,
    pub(crate) replicas: u8,
    /// What a kill was.
    pub(crate) kill: &'static str,
    pub(crate) seed: u64,
    pub(crate) namespace: String,
    /// From just before each kill to the first write acknowledged by another leader.
    pub(crate) failover_ms: Vec<f64>,
    pub(crate) failover_p50_ms: Option<f64>,
    pub(crate) failover_max_ms: Option<f64>,
    /// From the start of the killed node until it had what the leader had then.
    pub(crate) rejoin_ms: Vec<f64>,
    /// From telling the leader to close to the first write acknowledged by another one.
    pub(crate) handover_ms: Vec<f64>,
    pub(crate) handover_p50_ms: Option<f64>,
    pub(crate) handover_max_ms: Option<f64>,
    /// Writes that clients were told are done.
    pub(crate) acknowledged: u64,
    /// Writes of which clients were told nothing, and how many of them are done.
    pub(crate) unknown: u64,
    pub(crate) unknown_written: u64,
    /// Writes that clients were told are not done: they were given up at the end.
    pub(crate) not_written: u64,
    /// Acknowledged, and not in the log and in every state.
    pub(crate) lost: u64,
    /// In the log more than once.
    pub(crate) duplicated: u64,
    /// Done although a client was told that it is not.
    pub(crate) contradicted: u64,
    /// Messages and entries of the log that do not belong where they are.
    pub(crate) unsound: u64,
    /// How many terms began, and how many entries there are.
    pub(crate) terms: u64,
    pub(crate) entries: u64,
    /// All nodes have the same state and the same history.
    pub(crate) equal_digests: bool,
    /// The history of the nodes is that of the log.
    pub(crate) log_is_history: bool,
    pub(crate) load_ms: u64,
    pub(crate) elapsed_ms: u64,
    pub(crate) error: Option<String>,
}

impl FailoverReport {
    pub(crate) fn measured(&mut self, measured: &Measured) {
        let Measured { failovers, rejoins, handovers } = measured;
        self.failover_ms = failovers.all_ms();
        self.failover_p50_ms = failovers.percentile_ms(50.0);
        self.failover_max_ms = failovers.percentile_ms(100.0);
        self.rejoin_ms = rejoins.all_ms();
        self.handover_ms = handovers.all_ms();
        self.handover_p50_ms = handovers.percentile_ms(50.0);
        self.handover_max_ms = handovers.percentile_ms(100.0);
    }

    /// Whether all is as it must be. `example` is a write that is lost.
    pub(crate) fn verdict(&self, example: Option<&str>) -> Result<(), BenchError> {
        let mut findings = Vec::new();
        let mut find = |count: u64, what: &str| {
            if count > 0 {
                findings.push(format!("{count} {what}"));
            }
        };
        find(self.lost, "acknowledged writes are lost");
        find(self.duplicated, "writes are in the log more than once");
        find(self.contradicted, "writes are done although it was said that they are not");
        find(self.unsound, "entries of the log do not belong where they are");
        find(u64::from(!self.equal_digests), "difference: the nodes do not have the same state and history");
        find(u64::from(!self.log_is_history), "difference: the nodes' history is not that of the log");
        find(u64::from(self.acknowledged == 0), "whole run passed without an acknowledged write");
        match findings.is_empty() {
            true => Ok(()),
            false => {
                let example = example.map(|key| format!(", for example {key}")).unwrap_or_default();
                Err(BenchError::Broken { findings: findings.join(", ") + &example })
            }
        }
    }

    /// For a person.
    pub(crate) fn text(&self) -> String {
        let times = |name: &str, all: &[f64], p50: Option<f64>, max: Option<f64>| match (p50, max) {
            (Some(p50), Some(max)) => {
                let each: Vec<String> = all.iter().map(|ms| format!("{ms:.0}")).collect();
                format!("{name}: median {p50:.0} ms, at most {max:.0} ms, of {}\n", each.join(" "))
            }
            _ => String::new(),
        };
        let mut text = times("failover ", &self.failover_ms, self.failover_p50_ms, self.failover_max_ms);
        text += &times("hand-over", &self.handover_ms, self.handover_p50_ms, self.handover_max_ms);
        text += &format!(
            "{} writes acknowledged, {} lost, {} duplicated; {} of unknown outcome, of which {} are done\n",
            self.acknowledged, self.lost, self.duplicated, self.unknown, self.unknown_written
        );
        let equal = if self.equal_digests { "equal" } else { "NOT equal" };
        text += &format!("{} nodes, {equal}: {} entries, {} terms", self.nodes, self.entries, self.terms);
        text
    }
}

/// The outcome of `bench leader`, as `--json` prints it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LeaderReport {
    pub(crate) bench: &'static str,
    /// As fast as it goes, ours over the baseline: above 1 ours is faster.
    pub(crate) ratio: Option<f64>,
    pub(crate) append_per_s: f64,
    /// One writer that appends a message a write, each behind the sequence that it expects.
    pub(crate) baseline_append_per_s: Option<f64>,
    /// At the rate of the load, from the moment that a message was due.
    pub(crate) baseline_write_p50_ms: Option<f64>,
    pub(crate) baseline_write_p99_ms: Option<f64>,
    pub(crate) followers: u8,
    pub(crate) rate: u32,
    pub(crate) seconds: u32,
    pub(crate) size: u32,
    pub(crate) keys: u32,
    pub(crate) tasks: u32,
    pub(crate) lease_ms: u32,
    pub(crate) store: StoreKind,
    pub(crate) broker: &'static str,
    pub(crate) replicas: u8,
    /// Where the nodes ran.
    pub(crate) nodes_in: &'static str,
    pub(crate) seed: u64,
    pub(crate) namespace: String,
    pub(crate) acknowledged: u64,
    /// Writes that were refused, or of which the outcome is not known.
    pub(crate) failed: u64,
    pub(crate) writes_per_s: f64,
    /// From the moment that a write was due.
    pub(crate) write_p50_ms: Option<f64>,
    pub(crate) write_p99_ms: Option<f64>,
    pub(crate) write_max_ms: Option<f64>,
    /// From the acknowledgement until a follower had applied it.
    pub(crate) lag_p50_ms: Option<f64>,
    pub(crate) lag_p99_ms: Option<f64>,
    pub(crate) lag_max_ms: Option<f64>,
    /// From the call of the write.
    pub(crate) visible_p50_ms: Option<f64>,
    pub(crate) visible_p99_ms: Option<f64>,
    pub(crate) lag_samples: usize,
    pub(crate) lag_samples_left_out: u64,
    /// Of single writes, from the call until all followers had applied it.
    pub(crate) idle_visible_p50_ms: Option<f64>,
    pub(crate) idle_visible_max_ms: Option<f64>,
    pub(crate) rss_mb: Rss,
    /// Of each node, at the end.
    pub(crate) entries: Vec<u64>,
    pub(crate) keys_stored: u64,
    /// How often a node began to lead.
    pub(crate) terms: u64,
    pub(crate) equal_digests: bool,
    pub(crate) elapsed_ms: u64,
    pub(crate) error: Option<String>,
}

/// What this process occupies, in MiB: before the load, after it, and each second of it. Empty where the system does not
/// tell.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Rss {
    pub(crate) start: Option<u64>,
    pub(crate) end: Option<u64>,
    pub(crate) over_time: Vec<u64>,
}

impl LeaderReport {
    pub(crate) fn baseline(&mut self, plain: &Appended) {
        self.baseline_append_per_s = Some(plain.per_s);
        self.baseline_write_p50_ms = plain.latencies.percentile_ms(50.0);
        self.baseline_write_p99_ms = plain.latencies.percentile_ms(99.0);
    }

    /// What was acknowledged as fast as it went, all in all.
    pub(crate) fn full_speed(&mut self, acknowledged: u64, took: Duration) {
        self.append_per_s = per_second(acknowledged, took);
        self.ratio = self.baseline_append_per_s.and_then(|theirs| ratio(self.append_per_s, theirs));
    }

    pub(crate) fn written(&mut self, took: Duration, latencies: &Samples, failed: u64) {
        self.acknowledged = latencies.len() as u64;
        self.failed = failed;
        self.writes_per_s = per_second(self.acknowledged, took);
        self.write_p50_ms = latencies.percentile_ms(50.0);
        self.write_p99_ms = latencies.percentile_ms(99.0);
        self.write_max_ms = latencies.percentile_ms(100.0);
    }

    pub(crate) fn seen(&mut self, seen: &Seen) {
        self.lag_p50_ms = seen.lag.percentile_ms(50.0);
        self.lag_p99_ms = seen.lag.percentile_ms(99.0);
        self.lag_max_ms = seen.lag.percentile_ms(100.0);
        self.visible_p50_ms = seen.visible.percentile_ms(50.0);
        self.visible_p99_ms = seen.visible.percentile_ms(99.0);
        self.lag_samples = seen.lag.len();
        self.lag_samples_left_out = seen.left_out;
    }

    /// Whether all is as it must be.
    pub(crate) fn verdict(&self) -> Result<(), BenchError> {
        if self.acknowledged == 0 {
            return Err(BenchError::NothingWritten);
        }
        match self.equal_digests {
            true => Ok(()),
            false => {
                let findings = "the nodes do not have the same state and history".into();
                Err(BenchError::Broken { findings })
            }
        }
    }

    /// For a person.
    pub(crate) fn text(&self) -> String {
        let ms = |value: Option<f64>| value.map_or_else(|| "-".into(), |ms| format!("{ms:.1} ms"));
        let mb = |value: Option<u64>| value.map_or_else(|| "-".into(), |mb| format!("{mb} MiB"));
        let equal = if self.equal_digests { "equal" } else { "NOT equal" };
        let rate = |value: Option<f64>| value.map_or_else(|| "-".into(), |rate| format!("{rate:.0}"));
        format!(
            "ratio:   {} times plain compare-and-append: {:.0} a second against {}, as fast as it goes\n\
             writes:  {:.0} a second of {} asked for; {} acknowledged, {} failed\n\
             latency: median {}, 99 % within {}; of the baseline median {}, 99 % within {}\n\
             lag:     median {}, 99 % within {}, at most {}, from the acknowledgement; {} samples\n\
             visible: median {}, 99 % within {}, from the call\n\
             idle:    median {}, at most {}, from the call until all followers have it\n\
             memory:  {} before the load, {} after it, all nodes together\n\
             nodes:   {equal}, {} entries, {} keys",
            shown(self.ratio),
            self.append_per_s,
            rate(self.baseline_append_per_s),
            self.writes_per_s,
            self.rate,
            self.acknowledged,
            self.failed,
            ms(self.write_p50_ms),
            ms(self.write_p99_ms),
            ms(self.baseline_write_p50_ms),
            ms(self.baseline_write_p99_ms),
            ms(self.lag_p50_ms),
            ms(self.lag_p99_ms),
            ms(self.lag_max_ms),
            self.lag_samples,
            ms(self.visible_p50_ms),
            ms(self.visible_p99_ms),
            ms(self.idle_visible_p50_ms),
            ms(self.idle_visible_max_ms),
            mb(self.rss_mb.start),
            mb(self.rss_mb.end),
            self.entries.first().copied().unwrap_or_default(),
            self.keys_stored,
        )
    }
}

/// The outcome of `bench http`, as `--json` prints it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct HttpReport {
    pub(crate) bench: &'static str,
    pub(crate) rate: u32,
    pub(crate) seconds: u32,
    pub(crate) size: u32,
    pub(crate) keys: u32,
    pub(crate) connections: u32,
    pub(crate) durability: Synced,
    pub(crate) seed: u64,
    /// Writes that the node has answered with success.
    pub(crate) acknowledged: u64,
    /// Those that failed, by what was said.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Those that were due and were never sent, as all connections were busy for too long.
    pub(crate) not_sent: u64,
    pub(crate) writes_per_s: f64,
    /// From the moment that a write was due to its answer.
    pub(crate) write_p50_ms: Option<f64>,
    pub(crate) write_p99_ms: Option<f64>,
    pub(crate) write_p999_ms: Option<f64>,
    pub(crate) write_max_ms: Option<f64>,
    /// Of the node's process.
    pub(crate) rss_mb: Rss,
    pub(crate) elapsed_ms: u64,
    pub(crate) error: Option<String>,
}

impl HttpReport {
    pub(crate) fn written(&mut self, took: Duration, latencies: &Samples, errors: BTreeMap<String, u64>) {
        self.acknowledged = latencies.len() as u64;
        self.errors = errors;
        let due = u64::from(self.rate) * u64::from(self.seconds);
        self.not_sent = due.saturating_sub(self.acknowledged + self.failed());
        self.writes_per_s = per_second(self.acknowledged, took);
        self.write_p50_ms = latencies.percentile_ms(50.0);
        self.write_p99_ms = latencies.percentile_ms(99.0);
        self.write_p999_ms = latencies.percentile_ms(99.9);
        self.write_max_ms = latencies.percentile_ms(100.0);
    }

    fn failed(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Whether all that was due is acknowledged.
    pub(crate) fn verdict(&self) -> Result<(), BenchError> {
        match (self.acknowledged, self.failed() + self.not_sent) {
            (0, _) => Err(BenchError::NothingWritten),
            (_, 0) => Ok(()),
            (_, missed) => Err(BenchError::Missed { missed, errors: self.errors.keys().cloned().collect() }),
        }
    }

    /// For a person.
    pub(crate) fn text(&self) -> String {
        let ms = |value: Option<f64>| value.map_or_else(|| "-".into(), |ms| format!("{ms:.1} ms"));
        let mb = |value: Option<u64>| value.map_or_else(|| "-".into(), |mb| format!("{mb} MiB"));
        let middle = self.rss_mb.over_time.get(self.rss_mb.over_time.len() / 2).copied();
        format!(
            "writes:  {:.0} a second of {} asked for; {} acknowledged, {} failed, {} not sent\n\
             latency: median {}, 99 % within {}, 99.9 % within {}, at most {}, from when a write was due\n\
             memory:  {} before the load, {} in the middle of it, {} after it",
            self.writes_per_s,
            self.rate,
            self.acknowledged,
            self.failed(),
            self.not_sent,
            ms(self.write_p50_ms),
            ms(self.write_p99_ms),
            ms(self.write_p999_ms),
            ms(self.write_max_ms),
            mb(self.rss_mb.start),
            mb(middle),
            mb(self.rss_mb.end),
        )
    }
}

pub(crate) fn per_second(count: u64, took: Duration) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
    let per_s = count as f64 * 1_000.0 / millis(took).max(1) as f64;
    (per_s * 10.0).round() / 10.0
}
