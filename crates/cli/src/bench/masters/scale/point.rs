use std::time::Duration;

use serde::Serialize;

use super::{setting::Setting, took::Took};
use crate::bench::report::per_second;

/// What was measured with one setting.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Point {
    /// What varies.
    pub(super) at: u64,
    /// Over `cost_us` of the series' base.
    pub(super) ratio: Option<f64>,
    /// What the measured master's threads used for each event, its own writes and those of others: in the best turn, as
    /// whatever else the machine does can only add to it.
    pub(super) cost_us: Option<f64>,
    /// What they use in each second in which nobody writes.
    pub(super) rest_ms_per_s: Option<f64>,
    /// What the whole process used for each event at each master.
    pub(super) process_cost_us: Option<f64>,
    /// Until every master has all of them.
    pub(super) events_per_s: f64,
    /// Of an ordered map with as many entities: what an update takes, and how many times as much as at the base.
    pub(super) baseline_us: Option<f64>,
    pub(super) baseline_ratio: Option<f64>,
    /// Of a hundred events, those that the measured master found to be concurrent with what it had.
    pub(super) conflicts_percent: f64,
}

impl Point {
    /// `rest` is what the master uses at rest, in seconds for each second.
    pub(super) fn new(
        at: u64,
        setting: Setting,
        turns: &[Took],
        rest: Option<f64>,
        baseline: Option<Duration>,
    ) -> Point {
        let took = turns.iter().copied().fold(Took::NOTHING, Took::and);
        #[allow(clippy::cast_precision_loss, reason = "means for people")]
        let (writes, conflicts) = (took.writes.max(1) as f64, took.conflicts as f64);
        let us = |used: Duration, events: f64| rounded(used.as_secs_f64() * 1e6 / events, 1_000.0);
        #[allow(clippy::cast_precision_loss, reason = "a mean for people")]
        let costs = turns.iter().filter_map(|turn| Some(us(turn.cpu?, turn.writes.max(1) as f64)));
        Point {
            at,
            ratio: None,
            cost_us: costs.min_by(f64::total_cmp),
            rest_ms_per_s: rest.map(|share| rounded(share * 1_000.0, 100.0)),
            process_cost_us: took.process_cpu.map(|used| us(used, writes * f64::from(setting.masters))),
            events_per_s: per_second(took.writes, took.elapsed),
            baseline_us: baseline.map(|update| us(update, 1.0)),
            baseline_ratio: None,
            conflicts_percent: rounded(conflicts * 100.0 / writes, 10.0),
        }
    }
}

fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}
