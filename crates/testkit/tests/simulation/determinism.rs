use std::{fmt::Write, fs, path::Path, process::Command};

use archipelago_testkit::simulation::{Detail, Scenario};

/// Of how many seeds of every scenario the traces are frozen.
const FROZEN_SEEDS: u64 = 3;
/// Set to anything, this makes the digests anew.
const REFREEZE: &str = "ARCHIPELAGO_SIM_REFREEZE";

fn trace(name: &str, seed: u64) -> String {
    let scenario = Scenario::named(name).expect("it is built in");
    scenario.run(&scenario.case(seed), Detail::Traced).trace.join("\n")
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    for name in Scenario::NAMES {
        assert_eq!(trace(name, 1), trace(name, 1), "{name}");
    }
}

#[test]
fn a_seed_is_the_same_run_in_every_process() {
    let told = || {
        let program = env!("CARGO_BIN_EXE_simulate");
        let told =
            Command::new(program).args(["--scenario", "mixed", "--seed", "7"]).output().expect("it starts");
        assert!(told.status.success(), "{told:?}");
        String::from_utf8(told.stdout).expect("text")
    };
    let one = told();
    assert_eq!(one, told());
    assert!(one.contains(&trace("mixed", 7)), "the trace is not that of this process");
}

#[test]
fn a_trace_does_not_depend_on_what_was_run_before() {
    let alone = trace("mixed", 5);
    trace("machines", 2);
    assert_eq!(trace("mixed", 5), alone);
}

/// After a change of the simulation, or of what engines do, on purpose:
/// `ARCHIPELAGO_SIM_REFREEZE=1 cargo test -p archipelago-testkit --test simulation frozen`.
#[test]
fn a_seed_is_the_same_run_on_every_machine_as_frozen() {
    let mut digests = String::new();
    for name in Scenario::NAMES {
        for seed in 0..FROZEN_SEEDS {
            writeln!(digests, "{name} {seed} {:016x}", fnv_1a(&trace(name, seed))).expect("a string grows");
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/frozen.txt");
    if std::env::var_os(REFREEZE).is_some() {
        fs::write(&path, &digests).expect("the file can be written");
    }
    let frozen = fs::read_to_string(&path).expect("the frozen digests");
    assert_eq!(
        digests, frozen,
        "a seed is another run than it was. If the simulation or the engine was changed on purpose, set {REFREEZE}"
    );
}

/// The digest that every machine computes alike: Fowler, Noll, Vo.
fn fnv_1a(text: &str) -> u64 {
    let digest = |digest: u64, byte: u8| (digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, digest)
}
