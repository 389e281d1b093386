//! `bench scale`: how what an event costs grows with what there is.
//!
//! | module | noun |
//! |---|---|
//! | `setting` | what varies, and what stays meanwhile |
//! | `measuring` | one point, from the start of its masters to their end |
//! | `rounds`, `took` | masters that write, round by round; what writes took |
//! | `apart` | threads of their own for the master that is measured |
//! | `map` | the baseline of growing state: an ordered map |
//! | `point` | what was measured with one setting |
//! | `plot`, `table` | all points, as SVG and as Markdown |

mod apart;
mod map;
mod measuring;
mod plot;
mod point;
mod rounds;
mod setting;
mod table;
mod took;

use std::{collections::BTreeMap, fs, path::Path, process::ExitCode};

use serde::Serialize;

pub(super) use self::setting::Series;
use self::{apart::Apart, measuring::Measuring, point::Point, setting::Setting};
use super::{
    options::Scale,
    ratio,
    report::{Report, measured},
    shown,
};
use crate::{
    bench::{BenchError, session::namespace},
    interrupt::Interrupt,
    progress::Progress,
};

/// All points of a series are measured in turns, so that what else the machine does strikes all of them.
const TURNS: u64 = 5;

/// The outcome of `bench scale`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ScaleReport {
    /// What an event costs with most masters, over what it costs with fewest.
    ratio_masters: Option<f64>,
    /// What it costs with most entities, over what it costs at the base; and of an ordered map.
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
        let mut points = Vec::new();
        for setting in series.settings(options) {
            points
                .push(Measuring::open(options, &apart, *series, setting, progress, &report.namespace).await?);
        }
        for turn in 1..=TURNS {
            progress.say(format!("{}: turn {turn} of {TURNS}", series.title()));
            for point in &mut points {
                point.turn((options.writes / TURNS).max(1)).await?;
            }
        }
        for point in points {
            let point = point.end().await?;
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
             entities: {} times as much with most entities as at the base; goal 2.00; of a plain map {} times\n\n{}",
            shown(self.ratio_masters),
            shown(self.ratio_entities),
            shown(self.baseline_ratio_entities),
            table::table(self).trim_end(),
        )
    }
}
