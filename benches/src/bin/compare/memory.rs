use std::process::Command;

use serde_json::Value;

/// The name under which the memory of a record is asked for.
pub(crate) const CASE: &str = "memory";

/// The most bytes that a record may cost beyond its key and value.
pub(crate) const BYTES_MAX: f64 = 150.0;

/// Has the program `memory` load a replica, and gives what it prints. It is a program of its own because it counts
/// allocations, which would slow down everything else here.
pub(crate) fn measure(records: usize) -> Result<Value, String> {
    eprintln!("[memory] {records} records, in a program of its own");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments =
        ["run", "--quiet", "--release", "--package", "archipelago-benches", "--bin", "memory", "--"];
    let output = Command::new(&cargo)
        .args(arguments)
        .arg(records.to_string())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run {} to measure memory: {error}", cargo.display()))?;
    if !output.status.success() {
        return Err(format!("the program `memory` failed ({})", output.status));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("the program `memory` printed what is not JSON: {error}"))
}
