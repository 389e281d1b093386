//! Requests that the node's own description of its API allows, and such that it does not, made up by schemathesis and sent to a
//! node that runs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{Outcome, root, step, target_dir};

/// The PyPI package, and its pinned version.
const PACKAGE: &str = "schemathesis==4.32.5";

/// How long requests are made up, in seconds.
const FUZZ_S: &str = "60";
/// How long all of it may take, the last requests and the report included.
const FUZZ_TIMEOUT: Duration = Duration::from_secs(180);
/// How long an installation may take.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(180);

/// This never ends by itself; `crates/server/tests/server/changes.rs` has it.
const STREAM: &str = "/v1/namespaces/{namespace}/changes";

/// The program, or `None` if it is not there and cannot be fetched.
pub(crate) fn find_or_fetch() -> Option<PathBuf> {
    let folder = target_dir().join("schemathesis");
    let programs = folder.join(if cfg!(windows) { "Scripts" } else { "bin" });
    let program = programs.join("schemathesis").with_extension(std::env::consts::EXE_EXTENSION);
    let version = PACKAGE.replace("==", ", version ");
    let is_there = || {
        let output = Command::new(&program).arg("--version").output();
        output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == version)
    };
    if is_there() {
        return Some(program);
    }
    let mut environment = Command::new("python3");
    environment.args(["-m", "venv", "--clear"]).arg(&folder);
    let mut install = Command::new(programs.join("python"));
    install.args(["-m", "pip", "install", "--quiet", "--only-binary", ":all:", "--retries", "1", PACKAGE]);
    install.env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    let fetched = step::run_within(&mut environment, INSTALL_TIMEOUT)
        .and_then(|()| step::run_within(&mut install, INSTALL_TIMEOUT));
    fetched.map_err(|message| eprintln!("{message}")).is_ok_and(|()| is_there()).then_some(program)
}

/// Builds and starts a node, and runs `schemathesis` against it.
pub(crate) fn run(schemathesis: &Path) -> Outcome {
    step::run(step::cargo().args(["build", "--quiet", "-p", "archipelago-cli", "--bin", "archipelago"]))?;
    let built = target_dir().join("debug/archipelago").with_extension(std::env::consts::EXE_EXTENSION);
    let folder = target_dir().join(format!("api-{}", std::process::id()));
    let outcome = fuzz(schemathesis, &built, &folder);
    let removed = fs::remove_dir_all(&folder);
    outcome?;
    removed.map_err(|error| format!("cannot remove {}: {error}", folder.display()))
}

fn fuzz(schemathesis: &Path, archipelago: &Path, folder: &Path) -> Outcome {
    fs::create_dir_all(folder).map_err(|error| format!("cannot create {}: {error}", folder.display()))?;
    let token = configure(archipelago, folder)?;
    let mut node = Node::start(archipelago, folder)?;
    let mut run = Command::new(schemathesis);
    run.arg("--config-file").arg(root().join("xtask/schemathesis.toml"));
    run.args(["run", &format!("{}/v1/openapi.json", node.url)]);
    run.args(["--header", &format!("Authorization: Bearer {token}"), "--no-color"]);
    run.args(["--max-time", FUZZ_S, "--exclude-path", STREAM, "--continue-on-failure"]);
    // What it makes up may be as large and as odd as it likes.
    run.args(["--suppress-health-check", "all"]).current_dir(folder);
    step::run_within(&mut run, FUZZ_TIMEOUT)?;
    match node.process.try_wait() {
        Ok(None) => Ok(()),
        ended => Err(format!("the node has ended: {ended:?}")),
    }
}

/// Writes the configuration of a node that has all that there is without a broker; gives the token that may do everything.
fn configure(archipelago: &Path, folder: &Path) -> Outcome<String> {
    let minted =
        Command::new(archipelago).args(["token", "new", "--role", "admin", "--name", "fuzz"]).output();
    let minted = minted.map_err(|error| format!("cannot run {}: {error}", archipelago.display()))?;
    let minted = String::from_utf8_lossy(&minted.stdout).into_owned();
    let (token, section) = minted.split_once("\n\n").ok_or("`archipelago token new` gave no token")?;
    let config = format!(
        "[node]\nname = \"fuzz\"\ndata = {:?}\n[http]\nlisten = \"127.0.0.1:0\"\nwait_ms_max = 200\n[snapshots]\nfolder = {:?}\n\
         [namespaces.default]\nstrategy = \"crdt-merge\"\n{section}",
        folder.join("data"),
        folder.join("snapshots"),
    );
    let written = fs::write(folder.join("node.toml"), config);
    written.map_err(|error| format!("cannot write in {}: {error}", folder.display()))?;
    Ok(token.to_owned())
}

/// A node that runs until it is dropped.
struct Node {
    process: Child,
    url: String,
}

impl Node {
    fn start(archipelago: &Path, folder: &Path) -> Outcome<Node> {
        let mut serve = Command::new(archipelago);
        serve.args(["serve", "--config"]).arg(folder.join("node.toml")).current_dir(root());
        serve.env("RUST_LOG", "error").stdin(Stdio::null()).stdout(Stdio::piped());
        step::announce(&step::describe(&serve));
        let process = serve.spawn().map_err(|error| format!("cannot run the node: {error}"))?;
        let mut node = Node { process, url: String::new() };
        let mut line = String::new();
        let output = node.process.stdout.take().expect("standard output was asked to be piped");
        BufReader::new(output).read_line(&mut line).map_err(|error| format!("the node: {error}"))?;
        let url = line.trim().strip_prefix("listening at ").ok_or("the node did not start")?;
        node.url = url.to_owned();
        Ok(node)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
