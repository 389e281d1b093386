use std::process::Command;

use archipelago_testkit::rehearsal::Outcome;

/// The name under which another process tells the trace of a seed.
const TOLD: &str = "ARCHIPELAGO_SIM_TOLD";
/// Where it writes it.
const TRACE: &str = "ARCHIPELAGO_SIM_TRACE";

/// Each seed has the same trace in another process: this one, started again with `test` alone, which calls this.
pub(crate) fn is_the_same_in_another_process(test: &str, seeds: &[u64], run: fn(u64) -> Outcome) {
    if let Ok(seed) = std::env::var(TOLD) {
        let seed = seed.parse().expect("a number");
        let path = std::env::var_os(TRACE).expect("where to write");
        std::fs::write(path, run(seed).trace.join("\n")).expect("a file");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    for seed in seeds {
        let trace = folder.path().join("trace");
        let told = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", test])
            .env(TOLD, seed.to_string())
            .env(TRACE, &trace)
            .output()
            .expect("it starts");
        assert!(told.status.success(), "{told:?}");
        let told = std::fs::read_to_string(&trace).expect("it was written");
        assert_eq!(told, run(*seed).trace.join("\n"), "seed {seed}");
    }
}
