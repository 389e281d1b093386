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

/// The checker by which a seed is found not to decide everything.
const DETERMINISM: &str = "determinism";

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

    /// Runs a seed twice. That they differ is told as a violation, with the first line that does.
    pub(crate) fn run_twice(&self, seed: u64) -> Outcome {
        let (one, other) = (self.run(seed, Detail::Traced), self.run(seed, Detail::Traced));
        let differs = difference(&one.trace, &other.trace);
        let violation =
            differs.map(|detail| Violation { checker: DETERMINISM, at_ms: one.virtual_ms, detail });
        Outcome { violation: violation.or(other.violation), ..one }
    }
}

/// The first line in which two traces differ.
fn difference(one: &[String], other: &[String]) -> Option<String> {
    let lines = one.len().max(other.len());
    let (one, other) =
        (0..lines).map(|line| (one.get(line), other.get(line))).find(|(one, other)| one != other)?;
    let told = |line: Option<&String>| line.map_or("nothing more", String::as_str).to_owned();
    Some(format!("one run has {:?}, and the other one {:?}", told(one), told(other)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_traces_differ_in_a_line_or_in_their_length() {
        let lines = |text: &str| text.split(' ').map(String::from).collect::<Vec<_>>();
        assert_eq!(difference(&lines("a b"), &lines("a b")), None);
        assert_eq!(
            difference(&lines("a b c"), &lines("a x y")).unwrap(),
            r#"one run has "b", and the other one "x""#
        );
        assert_eq!(
            difference(&lines("a"), &lines("a b")).unwrap(),
            r#"one run has "nothing more", and the other one "b""#
        );
    }

    #[test]
    fn each_subject_is_the_same_run_twice() {
        for subject in Subject::all() {
            let outcome = subject.run_twice(3);
            assert_eq!(outcome.violation, None, "{}", subject.name());
            assert!(!outcome.trace.is_empty(), "{}", subject.name());
        }
    }
}
