//! `bench scale`: how what an event costs grows with what there is.
//!
//! | module | noun |
//! |---|---|
//! | `setting` | what varies, and what stays meanwhile |
//! | `rounds` | masters that write, round by round |
//! | `apart` | threads of their own for the master that is measured |
//! | `map` | the baseline of growing state: an ordered map |
//! | `point` | what was measured with one setting |
//! | `plot`, `table` | all points, as SVG and as Markdown |

mod apart;
mod map;
mod plot;
mod point;
mod rounds;
mod setting;
mod table;

use std::{collections::BTreeMap, fs, path::Path, process::ExitCode};

use serde::Serialize;

pub(super) use self::setting::Series;
use self::{apart::Apart, point::Point, rounds::Rounds, setting::Setting};
use super::{
    group::Noise,
    options::{Scale, Writing},
    ratio,
    report::{Report, measured},
    shown,
};
use crate::{
    bench::{BenchError, session::namespace},
    interrupt::Interrupt,
    progress::Progress,
};

/// Writes that do not count: until caches are warm.
const WARM_UP_SHARE: u64 = 10;

/// The outcome of `bench scale`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ScaleReport {
    /// What an event costs with most masters, over what it costs with fewest.
    ratio_masters: Option<f64>,
    /// What it costs with most entities, over what it costs with 10,000; and of an ordered map.
    ratio_entities: Option<f64>,
    baseline_ratio_entities: Option<f64>,
    series: BTreeMap<Series, Vec<Point>>,
    base: Setting,
    writes: u64,
    seed: u64,
    namespace: String,
}

pub(crate) async fn run(options: &Scale, interrupt: &Interrupt) -> ExitCode {
    let report = ScaleReport {
        ratio_masters: None,
        ratio_entities: None,
        baseline_ratio_entities: None,
        series: BTreeMap::new(),
        base: Setting::base(options),
        writes: options.writes,
        seed: options.seed,
        namespace: namespace(),
    };
    let setting = "masters in this process, memory stores, a broker inside";
    measured("scale", setting, options.output, interrupt, report, async |progress, report| {
        measure(options, progress, report).await
    })
    .await
}

async fn measure(options: &Scale, progress: &Progress, report: &mut ScaleReport) -> Result<(), BenchError> {
    let apart = Apart::new()?;
    for series in &options.series {
        for setting in series.settings(options) {
            let point = measure_point(options, &apart, *series, setting, progress, report).await?;
            report.add(*series, point);
        }
    }
    let keep = |file: Option<&Path>, text: &dyn Fn() -> String| match file {
        Some(file) => {
            fs::write(file, text()).map_err(|source| BenchError::Output { file: file.to_owned(), source })
        }
        None => Ok(()),
    };
    keep(options.svg.as_deref(), &|| plot::plot(report))?;
    keep(options.table.as_deref(), &|| table::table(report))
}

async fn measure_point(
    options: &Scale,
    apart: &Apart,
    series: Series,
    setting: Setting,
    progress: &Progress,
    report: &ScaleReport,
) -> Result<Point, BenchError> {
    let at = series.of(&setting);
    progress.say(format!("{}: {}", series.title(), table::grouped(at)));
    let baseline = match series {
        Series::Entities => {
            let noise = Noise::new(options.seed, Writing { size: setting.size, keys: 1, tasks: 0 });
            let update = map::update(setting.entities, options.writes, noise, options.seed).await;
            Some(update.map_err(|error| BenchError::Baseline { reason: error.to_string() })?)
        }
        _ => None,
    };
    let namespace = format!("{}-{series:?}-{at}", report.namespace);
    let phase = progress.phase("fill", "entities", setting.entities);
    let mut rounds = Rounds::open(apart, &namespace, series, setting, options.seed, &phase).await?;
    phase.finish();
    let warm_up = (options.writes / WARM_UP_SHARE).max(1);
    let phase = progress.phase("warm-up", "writes", warm_up);
    rounds.run(warm_up, &phase).await?;
    phase.finish();
    let phase = progress.phase("measure", "writes", options.writes);
    let took = rounds.run(options.writes, &phase).await?;
    phase.finish();
    let point = Point::new(at, setting, took, baseline);
    rounds.end().await?;
    Ok(point)
}

impl ScaleReport {
    /// One point more, and how it compares with the base of its series.
    fn add(&mut self, series: Series, mut point: Point) {
        let base_at = series.of(&self.base);
        let points = self.series.entry(series).or_default();
        points.push(point);
        let base = points.iter().find(|point| point.at == base_at).copied();
        let over =
            |ours: Option<f64>, base: Option<f64>| ours.zip(base).and_then(|(ours, base)| ratio(ours, base));
        for of in points.iter_mut() {
            of.ratio = over(of.cost_us, base.and_then(|base| base.cost_us));
            of.baseline_ratio = over(of.baseline_us, base.and_then(|base| base.baseline_us));
            point = *of;
        }
        match series {
            Series::Masters => self.ratio_masters = point.ratio,
            Series::Entities => {
                (self.ratio_entities, self.baseline_ratio_entities) = (point.ratio, point.baseline_ratio);
            }
            Series::Size | Series::Conflicts | Series::Siblings => {}
        }
    }
}

impl Report for ScaleReport {
    fn has_results(&self) -> bool {
        !self.series.is_empty()
    }

    fn text(&self) -> String {
        format!(
            "masters:  {} times as much for an event with most masters as with fewest; goal 1.50\n\
             entities: {} times as much with most entities as with 10,000; goal 2.00; of a plain map {} times\n\n{}",
            shown(self.ratio_masters),
            shown(self.ratio_entities),
            shown(self.baseline_ratio_entities),
            table::table(self).trim_end(),
        )
    }
}
