//! What is in `deploy/`, checked by the programs that it is for.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo_test::{self, Gated, TestRun};
use crate::packages::{install, named_or_on_path, on_path};
use crate::{Outcome, root, step, target_dir};

const HOW_TO_MEND: &str = "\
The checks of deploy/ need promtool and HAProxy. Any one of these mends it:
  - on Debian and Ubuntu: apt-get install prometheus haproxy;
  - install both (https://prometheus.io/download, https://www.haproxy.org), on PATH;
  - set PROMTOOL and HAPROXY to the paths of the programs.";

const PACKAGES: [&str; 2] = ["prometheus", "haproxy"];

/// What the unit calls the program; while it is checked, it is another one that is there.
const INSTALLED: &str = "/usr/bin/archipelago";

/// Reads files of YAML.
const READ_YAML: &str = "import sys, yaml\nfor path in sys.argv[1:]: yaml.safe_load(open(path))";

/// The programs that must be there.
#[derive(Debug)]
pub(crate) struct Tools {
    promtool: PathBuf,
    haproxy: PathBuf,
}

/// Finds them, or has them installed.
pub(crate) fn find_or_install() -> Outcome<Tools> {
    let missing = match find() {
        Ok(tools) => return Ok(tools),
        Err(missing) => missing,
    };
    step::announce(&missing);
    install(&PACKAGES).and_then(|()| find()).map_err(|why| format!("{missing}; {why}\n{HOW_TO_MEND}"))
}

fn find() -> Outcome<Tools> {
    let found = |variable: &str, program: &str| {
        let path = named_or_on_path(variable, program).or_else(|| {
            // Where Debian has it, which is on the PATH of root alone.
            Some(Path::new("/usr/sbin").join(program)).filter(|path| path.is_file())
        });
        path.ok_or_else(|| format!("no {program} was found"))
    };
    Ok(Tools { promtool: found("PROMTOOL", "promtool")?, haproxy: found("HAPROXY", "haproxy")? })
}

/// Runs every check, and the tests with a real HAProxy against `server`. What could not be checked is a remark.
pub(crate) fn run(server: &Path, remarks: &mut Vec<String>) -> Outcome<TestRun> {
    let tools = find_or_install()?;
    let checked = check(&tools, server, remarks);
    let mut run = cargo_test::run_only("deploy", server, &gated(tools))?;
    let failures: Vec<_> = [checked, run.verdict].into_iter().filter_map(Result::err).collect();
    run.verdict = if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) };
    Ok(run)
}

/// What builds and runs the tests with these tools.
pub(crate) fn gated(tools: Tools) -> Gated {
    let variables = vec![("PROMTOOL", tools.promtool), ("HAPROXY", tools.haproxy)];
    Gated { features: vec!["archipelago-server/deploy"], variables }
}

/// Runs the programs over the files.
pub(crate) fn check(tools: &Tools, server: &Path, remarks: &mut Vec<String>) -> Outcome {
    let checks = [
        step::run(promtool(tools).args(["check", "rules", "deploy/prometheus/alerts.yml"])),
        step::run(promtool(tools).args(["test", "rules", "deploy/prometheus/alerts_test.yml"])),
        // The file of the token is on the machine that it is for.
        step::run(promtool(tools).args([
            "check",
            "config",
            "--syntax-only",
            "deploy/prometheus/prometheus.yml",
        ])),
        haproxy(tools),
        step::run(here(server).args(["-t", "-c", "deploy/compose/nats.conf"])),
        unit(remarks),
        compose(remarks),
    ];
    let failures: Vec<_> = checks.into_iter().filter_map(Result::err).collect();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
}

/// A program that runs at the root of the checkout.
fn here(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

fn promtool(tools: &Tools) -> Command {
    here(&tools.promtool)
}

/// Any warning counts. The nodes have addresses, as the names in the file are not known here.
fn haproxy(tools: &Tools) -> Outcome {
    let mut command = here(&tools.haproxy);
    for number in 1..=3 {
        command.env(format!("ARCHIPELAGO_NODE_{number}"), format!("127.0.0.1:{}", 7_100 + number));
    }
    step::run(command.args(["-c", "-dW", "-f", "deploy/haproxy.cfg"]))
}

/// The unit of systemd.
fn unit(remarks: &mut Vec<String>) -> Outcome {
    let Some(systemd_analyze) = on_path("systemd-analyze") else {
        remarks.push("the unit of systemd was not checked: there is no systemd-analyze".to_owned());
        return Ok(());
    };
    let there = std::env::current_exe().map_err(|error| format!("this program has no path: {error}"))?;
    let folder = target_dir().join("deploy");
    let (name, copy) = ("archipelago.service", folder.join("archipelago.service"));
    let write = || {
        let text = std::fs::read_to_string(root().join("deploy/systemd").join(name))?;
        std::fs::create_dir_all(&folder)?;
        std::fs::write(&copy, text.replace(INSTALLED, &there.to_string_lossy()))
    };
    write().map_err(|error| format!("cannot copy {name} to {}: {error}", folder.display()))?;
    // A line that it does not know counts, too; what other units have is their business.
    let args = ["--man=no", "--recursive-errors=no", "verify"];
    step::run(here(&systemd_analyze).args(args).arg(copy))
}

/// The compose file: by compose if it is there, else that it is YAML.
fn compose(remarks: &mut Vec<String>) -> Outcome {
    const FILE: &str = "deploy/compose/compose.yml";
    let works = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
    if works(here(Path::new("docker")).args(["compose", "version"])) {
        return step::run(here(Path::new("docker")).args(["compose", "-f", FILE, "config", "--quiet"]));
    }
    let python = Path::new("python3");
    if works(here(python).args(["-c", "import yaml"])) {
        remarks.push(format!("{FILE} was only read as YAML: there is no docker compose"));
        return step::run(here(python).args(["-c", READ_YAML, FILE]));
    }
    remarks.push(format!("{FILE} was not checked: there is no docker compose, and no PyYAML"));
    Ok(())
}
