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
    /// Of each library the best of its rounds.
    pub(crate) times: Vec<(&'static str, f64)>,
}

/// Measures all contenders in turns: a round that does not count, then those that do. Who comes first changes from
/// round to round.
///
/// The best round of each library counts, as whatever else the machine does can only add to a time.
pub(crate) fn contest(contest: Contest, effort: &Effort) -> Vec<CaseResult> {
    let Contest { cases, mut contenders } = contest;
    let count = contenders.len();
    // By contender, then case.
    let mut best = vec![vec![f64::INFINITY; cases.len()]; count];
    for round in 0..=effort.rounds {
        for place in 0..count {
            let at = (round + place) % count;
            let times = turn(&mut contenders[at], &cases, effort.turn);
            if round > 0 {
                for (best, time) in best[at].iter_mut().zip(times) {
                    *best = best.min(time);
                }
            }
        }
    }
    let results = cases.into_iter().enumerate().map(|(at, case)| {
        let times =
            contenders.iter().zip(&best).map(|(contender, best)| (contender.library, best[at])).collect();
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

#[cfg(test)]
mod tests {
    use archipelago_benches::contest::OURS;

    use super::*;

    #[test]
    fn a_time_is_the_best_of_the_rounds_that_count_by_operation() {
        // The first lap is the warm-up; the others are of 1,000 operations each.
        let mut laps = [1, 40, 20, 30].into_iter();
        let contender = Contender::new(OURS, move || {
            vec![Duration::from_millis(laps.next().expect("four turns of a lap"))]
        });
        let case = Case { name: "case".into(), about: String::new(), operations: 1_000, goal: Some(1.0) };
        let effort = Effort { rounds: 3, turn: Duration::from_micros(1) };
        let results = super::contest(Contest { cases: vec![case], contenders: vec![contender] }, &effort);
        assert_eq!(results[0].times.len(), 1);
        assert!((results[0].times[0].1 - 20_000.0).abs() < 1e-6);
    }
}
