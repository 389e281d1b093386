//! The plot: a small panel for each series, with the ratio to the base over what varies, as SVG.

use std::fmt::Write;

use super::{ScaleReport, point::Point, setting::Series, table::grouped};

const PANEL_WIDTH: f64 = 300.0;
const PANEL_HEIGHT: f64 = 220.0;
const COLUMNS: usize = 3;
/// Around the lines of a panel, for its title and the numbers.
const LEFT: f64 = 44.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 44.0;
const OURS: &str = "#1f6feb";
const BASELINE: &str = "#8c959f";
const GOAL: &str = "#cf222e";

/// All series that have points.
pub(super) fn plot(report: &ScaleReport) -> String {
    let series: Vec<_> = report.series.iter().filter(|(_, points)| !points.is_empty()).collect();
    let columns = series.len().clamp(1, COLUMNS);
    let rows = series.len().div_ceil(columns);
    #[allow(clippy::cast_precision_loss, reason = "a handful of panels")]
    let place = |at: usize| ((at % columns) as f64 * PANEL_WIDTH, (at / columns) as f64 * PANEL_HEIGHT);
    let ((last_x, _), (_, last_y)) = (place(columns - 1), place((rows * columns).max(1) - 1));
    let (width, height) = (last_x + PANEL_WIDTH, last_y + PANEL_HEIGHT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"11\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    for (at, (series, points)) in series.into_iter().enumerate() {
        let (x, y) = place(at);
        let _ = writeln!(svg, "<g transform=\"translate({x} {y})\">");
        Panel::new(*series, points).draw(&mut svg);
        svg += "</g>\n";
    }
    svg + "</svg>\n"
}

/// One series, and how its numbers become places.
struct Panel<'a> {
    series: Series,
    points: &'a [Point],
    /// What stands at the left and at the right end, as it is scaled.
    ends: (f64, f64),
    /// What stands at the top; at the bottom is 0.
    top: f64,
}

impl Panel<'_> {
    fn new(series: Series, points: &[Point]) -> Panel<'_> {
        let at = |point: Option<&Point>| point.map_or(0.0, |point| scaled(series, point.at));
        let ratios = points.iter().flat_map(|point| [point.ratio, point.baseline_ratio]);
        let greatest = ratios.chain([series.goal()]).flatten().fold(1.5, f64::max);
        Panel { series, points, ends: (at(points.first()), at(points.last())), top: greatest * 1.15 }
    }

    fn x(&self, at: u64) -> f64 {
        let (first, last) = self.ends;
        let span = (last - first).max(f64::EPSILON);
        LEFT + (scaled(self.series, at) - first) / span * (PANEL_WIDTH - LEFT - RIGHT)
    }

    fn y(&self, ratio: f64) -> f64 {
        PANEL_HEIGHT - BOTTOM - ratio / self.top * (PANEL_HEIGHT - TOP - BOTTOM)
    }

    fn draw(&self, svg: &mut String) {
        let (left, right, bottom) = (LEFT, PANEL_WIDTH - RIGHT, PANEL_HEIGHT - BOTTOM);
        let _ = writeln!(
            svg,
            "<text x=\"{left}\" y=\"20\" font-size=\"13\" font-weight=\"bold\">{}</text>\n\
             <path d=\"M{left} {TOP}V{bottom}H{right}\" fill=\"none\" stroke=\"#57606a\"/>",
            self.series.title()
        );
        let step = [0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0].into_iter().find(|step| self.top / step <= 5.0);
        let step = step.unwrap_or(self.top / 4.0);
        let marks = std::iter::successors(Some(step), |mark| Some(mark + step));
        for mark in marks.take_while(|mark| *mark < self.top) {
            let y = self.y(mark);
            let _ = writeln!(
                svg,
                "<path d=\"M{left} {y:.1}H{right}\" stroke=\"#d0d7de\"/>\n\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{mark}</text>",
                left - 6.0,
                y + 4.0
            );
        }
        if let Some(goal) = self.series.goal() {
            let y = self.y(goal);
            let _ = writeln!(
                svg,
                "<path d=\"M{left} {y:.1}H{right}\" stroke=\"{GOAL}\" stroke-dasharray=\"5 4\"/>\n\
                 <text x=\"{right}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"{GOAL}\">goal</text>",
                y - 4.0
            );
        }
        self.line(svg, BASELINE, |point| point.baseline_ratio);
        self.line(svg, OURS, |point| point.ratio);
        for point in self.points {
            let (x, text) = (self.x(point.at), grouped(point.at));
            let us = point.cost_us.map_or_else(String::new, |us| format!("{us:.1} µs"));
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>\n\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"9\" fill=\"#57606a\">{us}</text>",
                bottom + 16.0,
                bottom + 30.0
            );
        }
    }

    fn line(&self, svg: &mut String, colour: &str, ratio: impl Fn(&Point) -> Option<f64>) {
        let places = self.points.iter().filter_map(|point| Some((self.x(point.at), self.y(ratio(point)?))));
        let places: Vec<(f64, f64)> = places.collect();
        let Some((last_x, last_y)) = places.last() else { return };
        if colour == BASELINE {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"{colour}\">plain map</text>",
                last_x - 8.0,
                last_y + 4.0
            );
        }
        let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            path.join(" ")
        );
        for (x, y) in places {
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
    }
}

/// In tens, or as it is where there is a zero.
#[allow(clippy::cast_precision_loss, reason = "a place in a picture")]
fn scaled(series: Series, at: u64) -> f64 {
    match series {
        Series::Conflicts => at as f64,
        _ => (at as f64).log10(),
    }
}
