use std::process::{Command, Output};

use archipelago_testkit::simulation::Scenario;
use serde_json::Value;

fn simulate(arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_simulate"));
    // As if nobody could build it anew.
    command.args(arguments.split_whitespace()).env_remove("CARGO").output().expect("it starts")
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn the_sums_do_not_depend_on_the_number_of_threads() {
    let sums = |threads: u64| {
        let output = simulate(&format!("--seeds 12 --from 3 --scenario network --json --threads {threads}"));
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let mut sums = json(&output);
        let sums = sums.as_object_mut().expect("an object");
        for of_the_machine in ["elapsed_ms", "steps_per_second"] {
            assert!(sums.remove(of_the_machine).is_some_and(|number| number.is_u64()), "{of_the_machine}");
        }
        sums.clone()
    };
    let one = sums(1);
    assert_eq!(one, sums(4));
    assert_eq!((one["seeds"].as_u64(), one["failures"].as_u64()), (Some(12), Some(0)));
    assert_eq!(one["scenario"], "network");
    assert!(one["steps"].as_u64() > one["writes"].as_u64());
    assert!(one["faults_injected"]["cut"].as_u64() > Some(0), "{one:?}");
    assert!(one["faults_felt"]["cut"].as_u64() > Some(0), "{one:?}");
    assert!(one["effects"]["reads"].as_u64() > Some(0), "{one:?}");
}

#[test]
fn what_can_be_simulated_is_listed_with_a_sentence_each() {
    let output = simulate("--list");
    let text = String::from_utf8(output.stdout).expect("text");
    for name in Scenario::NAMES.into_iter().chain(["leader-follower", "masters"]) {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
        assert!(line.is_some_and(|line| line.split_whitespace().count() > 3), "{name}: {text}");
    }
}

#[test]
fn whole_managers_are_simulated_through_the_same_program() {
    for managers in ["leader-follower", "masters"] {
        let output = simulate(&format!("--seeds 2 --scenario {managers} --json"));
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let sums = json(&output);
        assert_eq!((sums["seeds"].as_u64(), sums["failures"].as_u64()), (Some(2), Some(0)));
        assert!(sums["writes"].as_u64() > Some(0), "{sums}");
    }
}

#[test]
fn what_is_not_there_is_told_and_ends_in_an_error() {
    for arguments in ["--scenario nowhere", "--replay nowhere.json", "--minutes -1", "--threads 0"] {
        let output = simulate(arguments);
        assert!(!output.status.success(), "{arguments}");
        assert!(!output.stderr.is_empty(), "{arguments}");
    }
}
