use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::Instant;

use super::process::Process;
use super::watchdog::Watchdog;
use super::{NatsServerBuilder, NatsServerError, config, find_binary, readiness};

/// How long a server may take to accept clients; with much stored it recovers for a while.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a server may take to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// A nats-server with JetStream on a port of its own, for one test.
///
/// It listens on 127.0.0.1 only, and stores in files. Its address and store stay the same through [`stop`],
/// [`kill`] and [`restart`]. Dropping it kills the process and removes its folder; should the test process itself
/// be killed, both still happen.
///
/// [`stop`]: NatsServer::stop
/// [`kill`]: NatsServer::kill
/// [`restart`]: NatsServer::restart
// Dropped in this order: the process, the watchdog that guards it, the folder of both.
#[derive(Debug)]
pub struct NatsServer {
    process: Option<Process>,
    watchdog: Watchdog,
    port: u16,
    store_dir: PathBuf,
    settings: NatsServerBuilder,
    binary: PathBuf,
    home: TempDir,
}

impl NatsServer {
    /// Starts a server with default settings and waits until it accepts clients.
    ///
    /// # Errors
    ///
    /// [`NatsServerError::NoBinary`] if there is no program to run; [`NatsServerError::Ended`] or
    /// [`NatsServerError::NotReady`], each with the end of the log, if it does not come up.
    pub async fn start() -> Result<Self, NatsServerError> {
        Self::builder().start().await
    }

    /// A server with other settings.
    pub fn builder() -> NatsServerBuilder {
        NatsServerBuilder::default()
    }

    pub(crate) async fn start_with(settings: NatsServerBuilder) -> Result<Self, NatsServerError> {
        let binary = find_binary()?;
        let home = tempfile::Builder::new()
            .prefix("archipelago-nats-")
            .tempdir()
            .map_err(NatsServerError::io("create a temporary folder"))?;
        let watchdog = Watchdog::start(home.path()).map_err(NatsServerError::io("start the watchdog"))?;
        let store_dir = settings.store_dir.clone().unwrap_or_else(|| home.path().join("store"));
        let mut server = Self { process: None, watchdog, port: 0, store_dir, settings, binary, home };
        server.run().await?;
        Ok(server)
    }

    /// Where clients connect to: `nats://127.0.0.1:<port>`, without credentials.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Where its monitoring is, `http://127.0.0.1:<port>`, if it runs and its [settings](NatsServerBuilder::settings) have one
    /// (`http: "127.0.0.1:-1"`). Another one after each restart.
    pub fn monitor_url(&self) -> Option<String> {
        readiness::read_url(self.home.path(), self.process.as_ref()?.id(), "monitoring")
    }

    /// The port that the server listens on, the same through its restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder that JetStream stores in, the same through its restarts.
    pub fn store_dir(&self) -> &Path {
        &self.store_dir
    }

    /// Ends the server in good order (`SIGTERM`), paused or not, and waits until it has. If it does not run,
    /// nothing happens.
    ///
    /// # Errors
    ///
    /// [`NatsServerError::NotEnded`] if it does not end in time; it may be killed then.
    pub async fn stop(&mut self) -> Result<(), NatsServerError> {
        // A paused process would only see the signal when it is resumed.
        self.end(&[Signal::TERM, Signal::CONT]).await
    }

    /// Ends the server at once (`SIGKILL`), as a crash does: what the operating system was given to write is kept,
    /// what the server held in memory is lost. If it does not run, nothing happens.
    ///
    /// # Errors
    ///
    /// [`NatsServerError::Io`] if the system refuses.
    pub async fn kill(&mut self) -> Result<(), NatsServerError> {
        self.end(&[Signal::KILL]).await
    }

    /// Starts the server again on the same port and the same store, and waits until it accepts clients. If it
    /// runs, it is [stopped](Self::stop) first.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start) and [`stop`](Self::stop), and [`NatsServerError::PortTaken`].
    pub async fn restart(&mut self) -> Result<(), NatsServerError> {
        self.stop().await?;
        readiness::wait_for_port(self.port, START_TIMEOUT).await?;
        self.run().await
    }

    /// Deletes all that JetStream has stored, as the loss of a disk does.
    ///
    /// # Errors
    ///
    /// [`NatsServerError::Running`] if the server has not been stopped or killed before.
    pub fn wipe(&mut self) -> Result<(), NatsServerError> {
        if let Some(process) = &mut self.process
            && process.ended().map_err(NatsServerError::io("watch nats-server"))?.is_none()
        {
            return Err(NatsServerError::Running);
        }
        // Nothing else: the folder may be the caller's.
        match fs::remove_dir_all(self.store_dir.join("jetstream")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(NatsServerError::io("delete the stored files")(error))
            }
            _ => Ok(()),
        }
    }

    /// Freezes the server (`SIGSTOP`): connections stay open and nothing answers, as with a machine that swaps or
    /// a network that swallows every packet. Returns when it is frozen.
    ///
    /// # Errors
    ///
    /// [`NatsServerError::NotRunning`] if it was stopped or killed.
    pub fn pause(&self) -> Result<(), NatsServerError> {
        self.running()?.pause().map_err(NatsServerError::io("pause nats-server"))
    }

    /// Lets a paused server go on (`SIGCONT`) where it was.
    ///
    /// # Errors
    ///
    /// [`NatsServerError::NotRunning`] if it was stopped or killed.
    pub fn resume(&self) -> Result<(), NatsServerError> {
        self.running()?.signal(Signal::CONT).map_err(NatsServerError::io("resume nats-server"))
    }

    /// Runs the program on `self.port`, or on a free one if there is none yet.
    async fn run(&mut self) -> Result<(), NatsServerError> {
        let config_path = self.home.path().join("nats.conf");
        let config = config::render(&self.settings, self.port, &self.store_dir, self.home.path());
        fs::write(&config_path, config).map_err(NatsServerError::io("write the configuration"))?;

        let mut process = self.spawn(&config_path)?;
        let port = readiness::wait(&mut process, self.home.path(), START_TIMEOUT).await;
        match port {
            Ok(port) => {
                self.port = port;
                self.process = Some(process);
                Ok(())
            }
            Err(error) => {
                drop(process);
                self.unguard()?;
                Err(error)
            }
        }
    }

    fn spawn(&mut self, config_path: &Path) -> Result<Process, NatsServerError> {
        let log = self.home.path().join("nats.log");
        let process = Process::spawn(&self.binary, config_path, &log)
            .map_err(NatsServerError::io("start nats-server"))?;
        self.watchdog.guard(Some(process.id())).map_err(NatsServerError::io("guard nats-server"))?;
        Ok(process)
    }

    async fn end(&mut self, signals: &[Signal]) -> Result<(), NatsServerError> {
        let Some(process) = &mut self.process else { return Ok(()) };
        if process.ended().map_err(NatsServerError::io("watch nats-server"))?.is_none() {
            for signal in signals {
                process.signal(*signal).map_err(NatsServerError::io("signal nats-server"))?;
            }
        }
        let ended = process.wait_for_end(Instant::now() + STOP_TIMEOUT).await;
        if !ended.map_err(NatsServerError::io("watch nats-server"))? {
            return Err(NatsServerError::NotEnded { waited: STOP_TIMEOUT });
        }
        self.process = None;
        self.unguard()
    }

    /// After the process has ended, its id may become another's.
    fn unguard(&mut self) -> Result<(), NatsServerError> {
        self.watchdog.guard(None).map_err(NatsServerError::io("tell the watchdog"))
    }

    fn running(&self) -> Result<&Process, NatsServerError> {
        self.process.as_ref().ok_or(NatsServerError::NotRunning)
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // In this order: the watchdog must not kill an id that is free again.
        self.process = None;
        let _ = self.unguard();
    }
}
