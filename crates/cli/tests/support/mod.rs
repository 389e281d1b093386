//! The program `archipelago`, run and watched by a test: most often `archipelago demo`.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{path::Path, process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
};

/// A run that takes longer is stuck.
const TIMEOUT: Duration = Duration::from_secs(100);

/// A demo that runs. It is killed when it is dropped.
pub(crate) struct Demo {
    child: Child,
    stderr: Lines<BufReader<ChildStderr>>,
    seen: String,
}

/// A demo that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Demo {
    pub(crate) fn start(args: &[&str]) -> Demo {
        Demo::program("demo", args)
    }

    /// Another subcommand.
    pub(crate) fn program(subcommand: &str, args: &[&str]) -> Demo {
        let mut command = Command::new(env!("CARGO_BIN_EXE_archipelago"));
        command.arg(subcommand).args(args).env_remove("RUST_LOG").env_remove("ARCHIPELAGO_NATS_CREDS");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        Demo { child, stderr, seen: String::new() }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Reads on until a line contains `text`, and gives that line.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        let reading = async {
            while let Some(line) = self.stderr.next_line().await.unwrap() {
                self.seen += &line;
                self.seen.push('\n');
                if line.contains(text) {
                    return Some(line);
                }
            }
            None
        };
        let line = tokio::time::timeout(TIMEOUT, reading).await;
        match line {
            Ok(Some(line)) => line,
            Ok(None) => panic!("the demo ended before {text:?}:\n{}", self.seen),
            Err(_) => panic!("the demo did not come to {text:?}:\n{}", self.seen),
        }
    }

    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn end(mut self) -> Ended {
        let mut stdout = self.child.stdout.take().unwrap();
        let ending = async {
            let mut out = String::new();
            let reading_out = stdout.read_to_string(&mut out);
            let reading_err = async {
                while let Some(line) = self.stderr.next_line().await.unwrap() {
                    self.seen += &line;
                    self.seen.push('\n');
                }
            };
            let (read, ()) = tokio::join!(reading_out, reading_err);
            read.unwrap();
            (out, self.child.wait().await.unwrap())
        };
        let (stdout, status) = tokio::time::timeout(TIMEOUT, ending).await.expect("the demo does not end");
        Ended { status: status.code(), stdout, stderr: self.seen }
    }
}

/// Runs the demo to its end.
pub(crate) async fn demo(args: &[&str]) -> Ended {
    Demo::start(args).end().await
}

/// Runs a measurement to its end.
pub(crate) async fn bench(args: &[&str]) -> Ended {
    Demo::program("bench", args).end().await
}

impl Ended {
    /// The last line of standard output.
    pub(crate) fn json(&self) -> Value {
        let line = self.stdout.lines().last();
        let line = line.unwrap_or_else(|| panic!("no line on standard output:\n{}", self.stderr));
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }

    /// The JSON of a run in which all went well.
    #[track_caller]
    pub(crate) fn converged(&self) -> Value {
        assert_eq!(self.status, Some(0), "{}", self.stderr);
        let json = self.json();
        assert_eq!(json["converged"], true, "{json}");
        assert_eq!(json["acknowledged_lost"], 0, "{json}");
        assert_eq!(json["error"], Value::Null, "{json}");
        assert!(json["conflicts"].as_u64().unwrap() > 0, "{json}");
        let digests = json["digests"].as_array().unwrap();
        assert!(digests.len() == 3 && digests.iter().all(|digest| *digest == digests[0]), "{json}");
        let lags = json["masters"].as_array().unwrap().iter();
        assert!(lags.clone().all(|master| master["lag_events"] == 0 && master["outbox"] == 0), "{json}");
        json
    }

    /// The one error of a run that failed: on standard error, and in the JSON if that was asked for.
    #[track_caller]
    pub(crate) fn error(&self) -> String {
        assert_eq!(self.status, Some(1), "{}", self.stderr);
        let errors: Vec<&str> = self.stderr.lines().filter_map(|line| line.strip_prefix("error: ")).collect();
        assert_eq!(errors.len(), 1, "{}", self.stderr);
        if !self.stdout.is_empty() {
            let json = self.json();
            assert_eq!(json["converged"], false, "{json}");
            assert_eq!(json["error"], errors[0], "{json}");
        }
        errors[0].to_owned()
    }
}

/// A file of `count` small records.
pub(crate) fn records_file(folder: &Path, count: usize) -> String {
    let path = folder.join("records.jsonl");
    let lines: String = (0..count)
        .map(|at| format!("{{\"id\": \"isle/{at}\", \"name\": \"Isle {at}\", \"size\": {at}.5, \"tags\": [null, {at}]}}\n"))
        .collect();
    std::fs::write(&path, lines).unwrap();
    path.to_str().unwrap().to_owned()
}
