//! One command of a task: announced, then run from the root of the checkout.

use std::io;
use std::process::{Child, Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::{Outcome, root};

/// The cargo that runs this program, so that a `+toolchain` is kept.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Says on standard error what happens next.
pub(crate) fn announce(what: &str) {
    eprintln!("==> {what}");
}

/// Runs `command` with its output passed through.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let line = describe(command);
    announce(&line);
    conclude(&line, command.status())
}

/// The same, but ends the command if it has not ended by itself in time.
pub(crate) fn run_within(command: &mut Command, limit: Duration) -> Outcome {
    let line = describe(command);
    announce(&line);
    conclude(&line, command.spawn().and_then(|child| wait_within(child, limit)))
}

fn wait_within(mut child: Child, limit: Duration) -> io::Result<ExitStatus> {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        sleep(Duration::from_millis(50));
    }
    child.kill()?;
    child.wait()
}

fn conclude(line: &str, ended: io::Result<ExitStatus>) -> Outcome {
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{line}` failed ({status})")),
        Err(error) => Err(format!("cannot run `{line}`: {error}")),
    }
}

/// The command as a person would type it, without the path of the program.
pub(crate) fn describe(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_stem().unwrap_or(program.as_os_str()).to_string_lossy();
    let args = command.get_args().map(|arg| arg.to_string_lossy());
    std::iter::once(name).chain(args).collect::<Vec<_>>().join(" ")
}
