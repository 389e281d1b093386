use super::{ScaleReport, point::Point, setting::Series};
use crate::bench::masters::shown;

/// All points as Markdown.
pub(super) fn table(report: &ScaleReport) -> String {
    let mut table = "| series | | ratio | an event | events a second | of a plain map |\n\
                     |---|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for (series, points) in &report.series {
        table.extend(points.iter().map(|point| row(*series, point)));
    }
    table
}

fn row(series: Series, point: &Point) -> String {
    format!(
        "| {} | {} | {} | {} | {} | {} |\n",
        series.title(),
        grouped(point.at),
        shown(point.ratio),
        point.cost_us.map_or_else(|| "-".into(), |us| format!("{us:.1} µs")),
        whole(point.events_per_s),
        point.baseline_ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
    )
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for people")]
fn whole(rate: f64) -> String {
    grouped(rate.round() as u64)
}

/// With commas between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let all = [0, 999, 1_000, 65_536, 10_000_000].map(grouped);
        assert_eq!(all, ["0", "999", "1,000", "65,536", "10,000,000"]);
    }
}
