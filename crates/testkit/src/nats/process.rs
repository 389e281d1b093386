use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use tokio::time::{Instant, sleep};

/// How often a state that cannot be awaited is looked at.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// How much of the log an error shows.
const LOG_LINES_SHOWN: usize = 20;

/// One running nats-server process; killed when dropped.
///
/// Built on the standard library's processes, as tokio's can only be dropped inside of a runtime without leaving a
/// zombie.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Runs `binary` with the configuration file, its output appended to `log`.
    pub(crate) fn spawn(binary: &Path, config: &Path, log: &Path) -> io::Result<Self> {
        let output = OpenOptions::new().create(true).append(true).open(log)?;
        let child = Command::new(binary)
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        Ok(Self { child, log: log.to_owned() })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        // The process is reaped only through `self.child`, so its id cannot belong to another meanwhile.
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Freezes the process, and returns when its last thread has stopped: some may run on for milliseconds after
    /// the signal was sent.
    pub(crate) fn pause(&self) -> io::Result<()> {
        self.signal(Signal::STOP)?;
        // The end counts too, or this could wait forever; `NOWAIT` leaves it to `self.child` to be reaped.
        let stopped = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(Pid::from_child(&self.child)), stopped)?;
        Ok(())
    }

    /// How the process ended, if it has.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits for the end; false if it has not come by `deadline`.
    pub(crate) async fn wait_for_end(&mut self, deadline: Instant) -> io::Result<bool> {
        while self.ended()?.is_none() {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(true)
    }

    /// The last lines of the log, for error messages.
    pub(crate) fn log_end(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
