use super::{
    Act, Author, Case, Detail, Durability, Fault, Outcome, Scenario, Step, Violation, network::BROKER,
};

/// How often a case is run at most to make it smaller, if nobody says.
pub const RUNS_MAX: u64 = 2_000;

/// A failing case of which little can be left out.
#[derive(Clone, Debug)]
pub struct Minimised {
    /// What is left.
    pub case: Case,
    /// What is wrong with it: the same checker says so as of the whole case.
    pub violation: Violation,
    /// How often a case was run for it.
    pub runs: u64,
}

impl Scenario {
    /// Makes a failing case smaller: fewer steps, fewer replicas, milder settings, in at most `runs_max` runs. `None` if
    /// it does not fail.
    ///
    /// Source: Zeller, Hildebrandt: "Simplifying and Isolating Failure-Inducing Input" (2002). Of its `ddmin` only the
    /// complements are tried: that a part of a history alone fails is rare. And after a success it goes on where it is
    /// instead of from the beginning.
    pub fn minimise(&self, case: &Case, runs_max: u64) -> Option<Minimised> {
        let mut search = Search::begin(self, case, runs_max)?;
        loop {
            let before = search.best.clone();
            search.ends_with_the_violation();
            search.fewer_steps();
            search.milder_settings();
            search.fewer_replicas();
            search.shorter_pauses();
            if search.best == before || search.runs >= runs_max {
                let Search { best, violation, runs, .. } = search;
                return Some(Minimised { case: best, violation, runs });
            }
        }
    }

    /// Runs a case as [`run`](Scenario::run) does. A panic is told as a violation of `panic`, with no trace.
    pub fn attempt(&self, case: &Case, detail: Detail) -> Outcome {
        Outcome::of(case.seed, || self.run(case, detail))
    }
}

struct Search<'a> {
    scenario: &'a Scenario,
    /// The smallest that failed.
    best: Case,
    violation: Violation,
    runs: u64,
    runs_max: u64,
}

impl<'a> Search<'a> {
    fn begin(scenario: &'a Scenario, case: &Case, runs_max: u64) -> Option<Self> {
        let violation = scenario.attempt(case, Detail::Untraced).violation?;
        Some(Search { scenario, best: case.clone(), violation, runs: 1, runs_max })
    }

    /// Whether the case fails in the same way; if so it is the best from now on.
    fn fails(&mut self, case: Case) -> bool {
        if case == self.best || self.runs >= self.runs_max {
            return false;
        }
        self.runs += 1;
        let found = self.scenario.attempt(&case, Detail::Untraced).violation;
        let Some(violation) = found.filter(|violation| violation.is_like(&self.violation)) else {
            return false;
        };
        (self.best, self.violation) = (case, violation);
        true
    }

    /// What comes after the violation has nothing to do with it.
    fn ends_with_the_violation(&mut self) {
        let mut case = self.best.clone();
        case.steps.retain(|step| step.at_ms <= self.violation.at_ms);
        self.fails(case);
    }

    fn fewer_steps(&mut self) {
        let mut size = self.best.steps.len().div_ceil(2);
        while size > 0 && self.runs < self.runs_max {
            let mut at = 0;
            let mut is_smaller = false;
            while at < self.best.steps.len() {
                let mut case = self.best.clone();
                case.steps.drain(at..(at + size).min(self.best.steps.len()));
                match self.fails(case) {
                    true => is_smaller = true,
                    false => at += size,
                }
            }
            // What was needed for a step that is gone is not needed any more.
            size = if is_smaller && size == 1 { 1 } else { size / 2 };
        }
    }

    fn milder_settings(&mut self) {
        let milder: [fn(&mut Case); 13] = [
            |case| case.settings.loss_permille = 0,
            |case| case.settings.duplication_permille = 0,
            |case| case.settings.gossip_permille = 0,
            |case| case.settings.old_builds = 0,
            |case| case.settings.durability = Durability::Fsync,
            |case| case.settings.latency_ms = (1, 1),
            |case| case.settings.latency_ms.1 = 20.max(case.settings.latency_ms.0),
            |case| case.settings.deduplication_ms = 120_000,
            |case| case.settings.piece_bytes = 100_000,
            |case| case.settings.max_drift_ms = 60_000,
            |case| case.settings.event_buffer_events_max = 1_000,
            |case| (case.settings.heartbeat_ms, case.settings.repair_after_ms) = (1_000, 4_000),
            |case| {
                for step in &mut case.steps {
                    if let Act::Write { author, .. } = &mut step.act {
                        *author = Author::UpToDate;
                    }
                }
            },
        ];
        for change in milder {
            let mut case = self.best.clone();
            change(&mut case);
            self.fails(case);
        }
    }

    fn fewer_replicas(&mut self) {
        for gone in (0..self.best.settings.replicas).rev() {
            if self.best.settings.replicas > 1 {
                self.fails(without(gone, &self.best));
            }
        }
    }

    fn shorter_pauses(&mut self) {
        for pause_ms in [10, 100, 1_000] {
            let mut case = self.best.clone();
            let (mut before_ms, mut now_ms) = (0, 0);
            for step in &mut case.steps {
                now_ms += (step.at_ms - before_ms).min(pause_ms);
                before_ms = std::mem::replace(&mut step.at_ms, now_ms);
            }
            if self.fails(case) {
                return;
            }
        }
    }
}

/// The same with one replica less: what it did is left out, and those after it move up.
fn without(gone: usize, case: &Case) -> Case {
    let settings = &case.settings;
    let was_old = gone + settings.old_builds >= settings.replicas;
    let old_builds = settings.old_builds - usize::from(was_old && settings.old_builds > 0);
    let replicas = settings.replicas - 1;
    Case {
        settings: super::Settings { replicas, old_builds, ..settings.clone() },
        steps: case.steps.iter().filter_map(|step| step_without(gone, step)).collect(),
        ..case.clone()
    }
}

fn step_without(gone: usize, step: &Step) -> Option<Step> {
    let mut step = step.clone();
    let named = match &mut step.act {
        Act::Write { island, .. } | Act::Turn { island, .. } | Act::Read { island, .. } => vec![island],
        Act::Fault(Fault::Partition { islands, .. }) => {
            islands.retain(|island| *island != gone);
            if islands.is_empty() {
                return None;
            }
            islands.iter_mut().collect()
        }
        Act::Fault(fault) => fault.islands_mut(),
    };
    for island in named {
        match (*island).cmp(&gone) {
            std::cmp::Ordering::Equal => return None,
            std::cmp::Ordering::Greater if *island != BROKER => *island -= 1,
            _ => {}
        }
    }
    Some(step)
}
