//! The program that drives Chromium.

use std::{env, path::PathBuf, process::Stdio};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::support::DEADLINE;

/// What it says once it listens, before the port.
const READY: &str = "started successfully on port ";

/// A chromedriver on a port of its own. It ends with this, and its browser with it.
pub(crate) struct Chromedriver {
    pub(crate) url: String,
    pub(crate) profile: TempDir,
    _process: Child,
}

impl Chromedriver {
    pub(crate) async fn start() -> Chromedriver {
        let program =
            env::var_os("CHROMEDRIVER").map_or_else(|| PathBuf::from("chromedriver"), PathBuf::from);
        let mut process = Command::new(&program)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot run {}: {error}; `cargo xtask browser` says what is needed", program.display())
            });
        let mut lines = BufReader::new(process.stdout.take().expect("it was asked to be piped")).lines();
        let port = async {
            while let Some(line) = lines.next_line().await.expect("what chromedriver says") {
                if let Some((_, port)) = line.split_once(READY) {
                    return port.trim_end_matches('.').to_owned();
                }
            }
            panic!("chromedriver ended before it listened");
        };
        let port = timeout(DEADLINE, port).await.expect("chromedriver in time");
        let profile = tempfile::tempdir().expect("a folder");
        Chromedriver { url: format!("http://127.0.0.1:{port}"), profile, _process: process }
    }
}
