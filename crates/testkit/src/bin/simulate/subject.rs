use archipelago_testkit::{
    rehearsal::{self, leader_follower, masters},
    simulation::{Detail, Injected, Outcome, Scenario, Tally, Violation},
};

/// What is simulated.
#[derive(Clone, Debug)]
pub(crate) enum Subject {
    /// Engines of masters.
    Engines(Box<Scenario>),
    /// Whole managers, tasks and all.
    Managers { name: &'static str, what: &'static str, run: fn(u64) -> rehearsal::Outcome },
}

/// The checker by which whole managers are found to be wrong. The detail says which promise is broken.
const MANAGERS: &str = "rehearsal";

impl Subject {
    pub(crate) fn all() -> Vec<Subject> {
        let engines = Scenario::NAMES.iter().filter_map(|name| Scenario::named(name));
        engines.map(|scenario| Subject::Engines(Box::new(scenario))).chain(Self::managers()).collect()
    }

    fn managers() -> [Subject; 2] {
        [
            Subject::Managers {
                name: "leader-follower",
                what: "whole managers of a leader-follower namespace, with their broker, in everything that can break",
                run: leader_follower::run,
            },
            Subject::Managers {
                name: "masters",
                what: "whole managers of masters, with their broker, disks and clocks, in everything that can break",
                run: masters::run,
            },
        ]
    }

    pub(crate) fn named(name: &str) -> Option<Subject> {
        Self::all().into_iter().find(|subject| subject.name() == name)
    }

    /// For the arguments.
    pub(crate) fn parse(name: &str) -> Result<String, String> {
        match Self::named(name) {
            Some(_) => Ok(name.to_owned()),
            None => Err("there is no such scenario; `--list` tells what there is".to_owned()),
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Subject::Engines(scenario) => scenario.name(),
            Subject::Managers { name, .. } => name,
        }
    }

    /// What it is, in a sentence.
    pub(crate) fn what(&self) -> &str {
        match self {
            Subject::Engines(scenario) => Scenario::what(scenario.name()).unwrap_or_default(),
            Subject::Managers { what, .. } => what,
        }
    }

    /// Runs a seed. A panic is told as a violation.
    pub(crate) fn run(&self, seed: u64, detail: Detail) -> Outcome {
        match self {
            Subject::Engines(scenario) => scenario.attempt(&scenario.case(seed), detail),
            Subject::Managers { run, .. } => Outcome::of(seed, || outcome(run(seed))),
        }
    }
}

fn outcome(found: rehearsal::Outcome) -> Outcome {
    let virtual_ms = u64::try_from(found.virtual_time.as_millis()).unwrap_or(u64::MAX);
    let faults = found.faults.into_iter().map(|(fault, injected)| (fault, Injected { injected, felt: 0 }));
    let violation = (!found.violations.is_empty()).then(|| Violation {
        checker: MANAGERS,
        at_ms: virtual_ms,
        detail: found.violations.join("\n"),
    });
    Outcome {
        seed: found.seed,
        steps: found.steps,
        virtual_ms,
        writes: (found.acknowledged + found.unknown) as u64,
        tally: Tally { faults: faults.collect(), ..Tally::default() },
        violation,
        trace: found.trace,
    }
}
