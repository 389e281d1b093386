use std::thread;

use archipelago_testkit::simulation::{Detail, Scenario, Survey};

/// How many seeds of `mixed` CI runs.
const MIXED_SEEDS: u64 = 160;
/// How many of every other scenario.
const OTHER_SEEDS: u64 = 10;
/// How many seeds a thread runs.
const SEEDS_OF_A_THREAD: u64 = 40;

#[test]
fn whatever_breaks_what_is_promised_of_masters_holds() {
    let mut parts = Vec::new();
    for name in Scenario::NAMES {
        let seeds = if name == "mixed" { MIXED_SEEDS } else { OTHER_SEEDS };
        for from in (0..seeds).step_by(usize::try_from(SEEDS_OF_A_THREAD).expect("a few")) {
            parts.push(thread::spawn(move || run(name, from, (from + SEEDS_OF_A_THREAD).min(seeds))));
        }
    }
    let mut failed = Vec::new();
    let mut survey = Survey::default();
    for part in parts {
        let (name, part) = part.join().expect("a panic of a run is a violation");
        for (seed, violation) in &part.failing {
            failed.push(format!("simulate --scenario {name} --seed {seed}: {violation}"));
        }
        survey.tally.add(&part.tally);
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    for (fault, times) in &survey.tally.faults {
        assert!(times.injected > 0, "{fault} was never injected");
        assert!(times.felt > 0, "{fault} was injected {} times and never felt", times.injected);
    }
    // Every kind that a plan can draw, and those of the network and of old builds.
    assert!(survey.tally.faults.len() >= 26, "{:?}", survey.tally.faults.keys());
}

fn run(name: &'static str, from: u64, to: u64) -> (&'static str, Survey) {
    let scenario = Scenario::named(name).expect("it is built in");
    let mut survey = Survey::default();
    for seed in from..to {
        survey.add(scenario.attempt(&scenario.case(seed), Detail::Untraced));
    }
    (name, survey)
}
