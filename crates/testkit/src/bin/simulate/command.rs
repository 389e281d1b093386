/// What runs this program, built as it is now, with these arguments.
pub(crate) fn with(arguments: &str) -> String {
    let release = if cfg!(debug_assertions) { "" } else { " --release" };
    let features = if cfg!(feature = "mutations") { " --features mutations" } else { "" };
    format!("cargo run{release} -p archipelago-testkit{features} --bin simulate -- {arguments}")
}

/// What runs a seed again, and tells what happens.
pub(crate) fn of_seed(scenario: &str, seed: u64) -> String {
    with(&format!("--scenario {scenario} --seed {seed}"))
}
