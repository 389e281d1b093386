use archipelago_testkit::rehearsal::masters;

use crate::{
    elsewhere::is_the_same_in_another_process,
    seeds::{Seeds, Sums},
};

/// How many seeds are run if nobody says.
const SEEDS: u64 = 30;

/// Seeds that showed a mistake once, each with what was wrong. What they break changes when more is drawn; kept, they cost
/// little.
const MISTAKES_ONCE: [(u64, &str); 6] = [
    (
        180,
        "one on an old copy of its store took another identity, and below the floor the state of another one, and diverged",
    ),
    (284, "the same"),
    (443, "the same"),
    (549, "the same"),
    (645, "one of an identity that was forked was retired, and came back with what had been removed"),
    (1230, "after a twin and two changes of identity there was a name that nobody had written under"),
];

#[test]
fn seeds_that_showed_a_mistake_of_masters_once_do_not_any_more() {
    for (seed, mistake) in MISTAKES_ONCE {
        assert_eq!(masters::run(seed).violations, Vec::<String>::new(), "seed {seed}, where {mistake}");
    }
}

#[test]
fn whatever_breaks_what_is_promised_of_masters_holds() {
    let seeds = Seeds::from_environment_or(SEEDS);
    let mut sums = Sums::default();
    for seed in seeds.iter() {
        let outcome = masters::run(seed);
        sums.add(&outcome);
        if !outcome.violations.is_empty() {
            seeds.tell_failure(&outcome, "of_masters");
        }
    }
    sums.tell();
    assert!(sums.failed.is_empty(), "these seeds break what is promised: {:?}", sums.failed);
}

/// Seeds that were not the same run twice: several acknowledgements came at one moment, or a repair was refused again and
/// again and rested by another clock.
const DIFFERED_ONCE: [u64; 6] = [1545, 1585, 1761, 1771, 1999, 2075];

#[test]
fn one_seed_decides_everything_of_masters() {
    for seed in (0..6).chain(DIFFERED_ONCE) {
        let (one, other) = (masters::run(seed), masters::run(seed));
        assert_eq!(one.trace, other.trace, "seed {seed}");
    }
}

#[test]
fn a_seed_of_masters_is_the_same_in_another_process() {
    let test = "masters::a_seed_of_masters_is_the_same_in_another_process";
    is_the_same_in_another_process(test, &[1, 4], masters::run);
}

#[cfg(feature = "mutations")]
#[test]
fn each_mistake_of_the_manager_of_masters_is_caught() {
    use archipelago_engine::mutation::{Mutation, Part};

    for mutation in Mutation::ALL.iter().filter(|mutation| mutation.part() == Part::MasterManager) {
        let caught = (0..SEEDS).find(|seed| mutation.with(|| !masters::run(*seed).violations.is_empty()));
        assert!(caught.is_some(), "{mutation} breaks what is promised, and {SEEDS} seeds do not show it");
    }
}
