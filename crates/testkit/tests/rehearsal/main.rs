//! Real managers on virtual time, broken again and again.

mod masters;
mod seeds;

use std::process::Command;

use archipelago_testkit::rehearsal::leader_follower;

use crate::seeds::{Seeds, Sums};

/// How many seeds are run if nobody says.
const SEEDS: u64 = 150;
/// The name under which another process tells the trace of a seed.
const TOLD: &str = "ARCHIPELAGO_SIM_TOLD";

#[test]
fn whatever_breaks_what_is_promised_of_leaders_and_followers_holds() {
    let seeds = Seeds::from_environment_or(SEEDS);
    let mut sums = Sums::default();
    for seed in seeds.iter() {
        let outcome = leader_follower::run(seed);
        sums.add(&outcome);
        if !outcome.violations.is_empty() {
            seeds.tell_failure(&outcome, "leaders_and_followers");
        }
    }
    sums.tell();
    assert!(sums.failed.is_empty(), "these seeds break what is promised: {:?}", sums.failed);
}

#[test]
fn one_seed_decides_everything() {
    for seed in 0..12 {
        let (one, other) = (leader_follower::run(seed), leader_follower::run(seed));
        assert_eq!(one.trace, other.trace, "seed {seed}");
    }
}

#[test]
fn a_seed_is_the_same_in_another_process() {
    // The other process is this one, started again with this test alone.
    if let Ok(seed) = std::env::var(TOLD) {
        let seed = seed.parse().expect("a number");
        let path = std::env::var_os("ARCHIPELAGO_SIM_TRACE").expect("where to write");
        std::fs::write(path, leader_follower::run(seed).trace.join("\n")).expect("a file");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    for seed in [3, 14, 15] {
        let trace = folder.path().join("trace");
        let told = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "a_seed_is_the_same_in_another_process"])
            .env(TOLD, seed.to_string())
            .env("ARCHIPELAGO_SIM_TRACE", &trace)
            .output()
            .expect("it starts");
        assert!(told.status.success(), "{told:?}");
        let told = std::fs::read_to_string(&trace).expect("it was written");
        assert_eq!(told, leader_follower::run(seed).trace.join("\n"), "seed {seed}");
    }
}
