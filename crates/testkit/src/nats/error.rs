use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

/// Why a server could not be started, stopped or broken.
///
/// All are permanent, in the sense that asking again without changing anything is not expected to help.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum NatsServerError {
    /// No program to run. Nothing was started.
    #[error(
        "no nats-server 2.10 or newer: {tried}. Run `cargo xtask test`, which fetches one, or set NATS_SERVER to its path"
    )]
    NoBinary {
        /// What was looked at and passed over.
        tried: String,
    },
    /// The system refused a file, a process or a signal. What ran before runs still.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The server ended by itself before it was ready, most often for a setting that it refuses.
    #[error("nats-server ended before it was ready ({status}); its log ends with:\n{log}")]
    Ended {
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// The server did not accept clients in time. It was killed.
    #[error("nats-server was not ready after {waited:?}; its log ends with:\n{log}")]
    NotReady {
        /// How long it was given.
        waited: Duration,
        /// The last lines of its log.
        log: String,
    },
    /// The server's port was taken by someone else while it was down. Nothing was started.
    #[error("port {port} is taken by another program after {waited:?}")]
    PortTaken {
        /// The port that clients of this server know.
        port: u16,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The server still ran long after it was told to end. It runs on.
    #[error("nats-server still runs {waited:?} after it was told to end")]
    NotEnded {
        /// How long it was given.
        waited: Duration,
    },
    /// The server runs, and must not for what was asked. Nothing changed.
    #[error("nats-server runs: stop or kill it first")]
    Running,
    /// The server does not run, and must for what was asked. Nothing changed.
    #[error("nats-server does not run")]
    NotRunning,
}

/// The same as `Display`: what a test that unwraps or returns the error shows is its `Debug`, and there a person must
/// find what to do.
impl fmt::Debug for NatsServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl NatsServerError {
    /// For `map_err`: names what was attempted.
    pub(crate) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, source }
    }
}
