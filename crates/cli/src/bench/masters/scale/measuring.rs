use std::time::Duration;

use super::{
    super::{
        group::Noise,
        options::{Scale, Writing},
    },
    apart::Apart,
    map,
    point::Point,
    rounds::{Heartbeats, Rounds},
    setting::{Series, Setting},
    table,
    took::Took,
};
use crate::{bench::BenchError, progress::Progress};

/// A point that is being measured.
pub(super) struct Measuring<'a> {
    at: u64,
    setting: Setting,
    rounds: Rounds<'a>,
    turns: Vec<Took>,
    rest: Option<f64>,
    baseline: Option<Duration>,
}

impl<'a> Measuring<'a> {
    /// Measures what goes before, and has everything ready for turns.
    pub(super) async fn open(
        options: &Scale,
        apart: &'a Apart,
        series: Series,
        setting: Setting,
        progress: &Progress,
        namespace: &str,
    ) -> Result<Measuring<'a>, BenchError> {
        let (at, seed) = (series.of(&setting), options.seed);
        progress.say(format!("{}: {}", series.title(), table::grouped(at)));
        let namespace = format!("{namespace}-{series:?}-{at}");
        let baseline = match series {
            Series::Entities => {
                let noise = Noise::new(seed, Writing { size: setting.size, keys: 1, tasks: 0 });
                let update = map::update(setting.entities, options.writes, noise, seed).await;
                Some(update.map_err(|error| BenchError::Baseline { reason: error.to_string() })?)
            }
            _ => None,
        };
        let rest = match series {
            Series::Masters => {
                let (phase, beats) = (progress.phase("at rest", "entities", at), Heartbeats::AsAlways);
                let setting = Setting { entities: at, ..setting };
                let name = format!("{namespace}-rest");
                let rounds = Rounds::open(apart, &name, series, setting, beats, seed, &phase).await?;
                let rest = rounds.rest().await;
                rounds.end().await?;
                rest
            }
            _ => None,
        };
        let (phase, beats) = (progress.phase("fill", "entities", setting.entities), Heartbeats::Seldom);
        let rounds = Rounds::open(apart, &namespace, series, setting, beats, seed, &phase).await?;
        phase.finish();
        Ok(Measuring { at, setting, rounds, turns: Vec::new(), rest, baseline })
    }

    pub(super) async fn turn(&mut self, writes: u64) -> Result<(), BenchError> {
        // Another one had the caches.
        self.rounds.run((writes / 2).max(1)).await?;
        self.turns.push(self.rounds.run(writes).await?);
        Ok(())
    }

    pub(super) async fn end(self) -> Result<Point, BenchError> {
        self.rounds.end().await?;
        Ok(Point::new(self.at, self.setting, &self.turns, self.rest, self.baseline))
    }
}
