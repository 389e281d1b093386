use std::time::Duration;

use archipelago_benches::contest::{Case, Contender, Contest};

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// How many turns of each library count.
    pub(crate) rounds: usize,
    /// A turn is over once the times of its laps have reached this.
    pub(crate) turn: Duration,
}

/// What was measured of one case.
#[derive(Clone, Debug)]
pub(crate) struct CaseResult {
    pub(crate) case: Case,
    /// Of each library the median over its rounds.
    pub(crate) times: Vec<(&'static str, f64)>,
}

/// Measures all contenders in turns: a round that does not count, then those that do. Who comes first changes from
/// round to round.
pub(crate) fn contest(contest: Contest, effort: &Effort) -> Vec<CaseResult> {
    let Contest { cases, mut contenders } = contest;
    let count = contenders.len();
    // By contender, then case, then round.
    let mut samples = vec![vec![Vec::new(); cases.len()]; count];
    for round in 0..=effort.rounds {
        for place in 0..count {
            let at = (round + place) % count;
            let times = turn(&mut contenders[at], &cases, effort.turn);
            if round > 0 {
                for (samples, time) in samples[at].iter_mut().zip(times) {
                    samples.push(time);
                }
            }
        }
    }
    let results = cases.into_iter().enumerate().map(|(at, case)| {
        let medians = samples.iter_mut().map(|samples| median(&mut samples[at]));
        let times = contenders.iter().map(|contender| contender.library).zip(medians).collect();
        CaseResult { case, times }
    });
    results.collect()
}

/// As many laps as fill a turn. Gives for each case the nanoseconds of one operation.
fn turn(contender: &mut Contender, cases: &[Case], at_least: Duration) -> Vec<f64> {
    let mut totals = vec![Duration::ZERO; cases.len()];
    let mut laps = 0.0;
    while totals.iter().sum::<Duration>() < at_least {
        for (total, time) in totals.iter_mut().zip(contender.lap()) {
            *total += time;
        }
        laps += 1.0;
    }
    let per_operation =
        |(total, case): (Duration, &Case)| total.as_secs_f64() * 1e9 / (laps * case.operations as f64);
    totals.into_iter().zip(cases).map(per_operation).collect()
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    let middle = samples.len() / 2;
    if samples.len() % 2 == 1 { samples[middle] } else { (samples[middle - 1] + samples[middle]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use archipelago_benches::contest::OURS;

    use super::*;

    #[test]
    fn a_time_is_the_median_of_the_rounds_that_count_by_operation() {
        let mut lap = 0;
        // The first lap is the warm-up; then 1, 2 and 3 ms for 1,000 operations.
        let contender = Contender::new(OURS, move || {
            lap += 1;
            vec![Duration::from_millis(if lap == 1 { 900 } else { lap - 1 })]
        });
        let case = Case { name: "case".into(), about: String::new(), operations: 1_000, goal: 1.0 };
        let effort = Effort { rounds: 3, turn: Duration::from_micros(1) };
        let results = super::contest(Contest { cases: vec![case], contenders: vec![contender] }, &effort);
        assert_eq!(results[0].times.len(), 1);
        assert!((results[0].times[0].1 - 2_000.0).abs() < 1e-6);
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), 2.5);
    }
}
