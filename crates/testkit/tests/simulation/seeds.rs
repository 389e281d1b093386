use archipelago_testkit::simulation::{Detail, Scenario, Survey};

/// How many seeds of `mixed` CI runs.
const MIXED_SEEDS: u64 = 200;
/// How many of every other scenario.
const OTHER_SEEDS: u64 = 12;

/// What a replica of another one cannot notice, as nothing goes otherwise for it.
const NEVER_INJECTED: [&str; 1] = ["old_build"];

#[test]
fn whatever_breaks_what_is_promised_of_masters_holds() {
    let mut survey = Survey::default();
    for (name, seeds) in Scenario::NAMES.iter().map(|name| (*name, seeds_of(name))) {
        let scenario = Scenario::named(name).expect("it is built in");
        for seed in 0..seeds {
            let outcome = scenario.attempt(&scenario.case(seed), Detail::Untraced);
            if let Some(violation) = &outcome.violation {
                eprintln!("{name}: seed {seed}: {violation}");
            }
            survey.add(outcome);
        }
    }
    assert_eq!(survey.failed, 0, "run `simulate --scenario NAME --seed N` of those above");
    for (fault, times) in &survey.tally.faults {
        assert!(times.injected > 0 || NEVER_INJECTED.contains(fault), "{fault} was never injected");
        assert!(times.felt > 0, "{fault} was injected {} times and never felt", times.injected);
    }
    // Every kind that a plan can draw, and those of the network.
    assert!(survey.tally.faults.len() >= 22, "{:?}", survey.tally.faults.keys());
}

fn seeds_of(name: &str) -> u64 {
    if name == "mixed" { MIXED_SEEDS } else { OTHER_SEEDS }
}
