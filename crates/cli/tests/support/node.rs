//! The program, run beside a node of its own.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// The program, with no variable of ours in its environment.
pub(crate) fn archipelago() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_archipelago"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ARCHIPELAGO_")) {
        command.env_remove(name);
    }
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// A node that runs. It is killed when it is dropped.
pub(crate) struct Node {
    child: Child,
    pub(crate) url: String,
    pub(crate) folder: TempDir,
}

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Node {
    /// A node that works for itself.
    pub(crate) fn start() -> Node {
        Node::with(&[])
    }

    pub(crate) fn with(args: &[&str]) -> Node {
        Node::on(tempfile::tempdir().unwrap(), "127.0.0.1:0", args)
    }

    /// A node on a folder that another one may have used, at an address.
    pub(crate) fn on(folder: TempDir, listen: &str, args: &[&str]) -> Node {
        let mut command = archipelago();
        command.arg("serve").args(["--node-durability", "os", "--http-listen", listen]).args(args);
        if !args.contains(&"--node-name") {
            command.args(["--node-name", "us-east"]);
        }
        let data = folder.path().join("data");
        let mut child = command.arg("--node-data").arg(data).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening at ").expect("where it listens").to_owned();
        Node { child, url, folder }
    }

    /// Runs a verb against it.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        run(&[args, &["--node", &self.url]].concat())
    }

    /// The one document that a verb prints.
    #[track_caller]
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        self.run(&[args, &["--json"]].concat()).ok().json()
    }

    /// The folder of a namespace.
    pub(crate) fn store(&self, namespace: &str) -> String {
        self.folder.path().join("data").join(namespace).to_str().unwrap().to_owned()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Ends it in good order, and gives its folder.
    pub(crate) fn end(mut self) -> TempDir {
        kill_process(self.pid(), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a verb to its end.
pub(crate) fn run(args: &[&str]) -> Ran {
    let output = archipelago().args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

impl Ran {
    #[track_caller]
    pub(crate) fn ok(self) -> Ran {
        assert_eq!(self.status, Some(0), "{self:?}");
        self
    }

    /// The one error of a run that failed.
    #[track_caller]
    pub(crate) fn error(&self) -> &str {
        assert_eq!(self.status, Some(1), "{self:?}");
        let mut errors = self.stderr.lines().filter_map(|line| line.strip_prefix("error: "));
        let error = errors.next().unwrap_or_else(|| panic!("no error: {self:?}"));
        assert_eq!(errors.next(), None, "{self:?}");
        error
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        let line = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(line).collect()
    }
}

/// All that is in a folder, byte by byte.
pub(crate) fn image(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push((path.to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}
