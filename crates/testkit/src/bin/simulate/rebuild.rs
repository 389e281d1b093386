use std::{
    env,
    process::{Command, ExitCode},
};

use crate::{Done, command, interrupt::Interrupt};

/// Builds this program with the mistakes in it, and runs it with the same arguments. Whoever interrupts this one interrupts
/// the other, too, whose end is waited for.
pub(crate) fn with_mutations(_: &Interrupt) -> Done {
    let Some(cargo) = env::var_os("CARGO") else {
        return Err(format!(
            "this program was built without the feature `mutations`, and was not started by cargo, which could build it \
             anew; run: {}",
            command::with("--mutations").replace(" --bin", " --features mutations --bin")
        ));
    };
    let mut build = Command::new(cargo);
    build.args(["run", "--quiet", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    build.args(["--features", "mutations", "--bin", "simulate"]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let status = build.arg("--").args(env::args_os().skip(1)).status();
    let status = status.map_err(|error| format!("cannot run cargo: {error}"))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
