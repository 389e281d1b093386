//! The node as a program: it serves, the session of `docs/NODE.md` works as it stands there, and a signal ends it.

use std::process::Command;

#[path = "support/node.rs"]
mod node;

use node::{Node, archipelago};

fn session() -> String {
    let page = include_str!("../../../docs/NODE.md");
    let (_, from) = page.split_once("```sh\n").expect("a session");
    from.split_once("```").expect("its end").0.to_owned()
}

#[test]
fn the_session_in_the_docs_works_and_a_signal_ends_the_node() {
    let node = Node::start();
    let session = Command::new("sh")
        .args(["-euc", &session()])
        .env("NODE", &node.url)
        .current_dir(node.folder.path())
        .status()
        .expect("a shell");
    assert!(session.success(), "the session failed: {session}");
    node.end();
}

#[test]
fn a_configuration_is_checked_and_an_example_of_one_is_usable() {
    let folder = tempfile::tempdir().expect("a folder");
    let example = archipelago().args(["config", "example"]).output().expect("the program");
    let path = folder.path().join("node.toml");
    std::fs::write(&path, &example.stdout).expect("a file");
    let check = |name: &[&str]| {
        let mut command = archipelago();
        command.args(["config", "check", "--config"]).arg(&path).args(name);
        command.output().expect("the program")
    };
    let nameless = check(&[]);
    assert!(!nameless.status.success());
    let error = String::from_utf8(nameless.stderr).expect("text");
    assert!(error.starts_with("error: node.name: "), "{error}");
    assert!(check(&["--node-name", "us-east"]).status.success());
    let told = check(&["--node-name", "us-east", "--nats-token", "hunter2", "--json"]);
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).expect("JSON");
    assert_eq!((&told["is_ok"], &told["config"]["node"]["name"]), (&true.into(), &"us-east".into()));
    assert_eq!(told["config"]["nats"]["token"], "***");
    let told: serde_json::Value = serde_json::from_slice(&check(&["--json"]).stdout).expect("JSON");
    assert_eq!((&told["is_ok"], told["error"].is_string()), (&false.into(), true));
}

#[test]
fn a_new_token_comes_with_the_lines_that_admit_it() {
    let printed = archipelago().args(["token", "new", "--role", "write"]).output().expect("the program");
    let text = String::from_utf8(printed.stdout).expect("text");
    let (token, lines) = text.split_once("\n\n").expect("a token, and lines");
    assert!(token.starts_with("archipelago_"), "{text}");
    let wanted = format!("[node]\nname = \"a\"\n{lines}");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("node.toml");
    std::fs::write(&path, wanted).expect("a file");
    let checked =
        archipelago().args(["config", "check", "--config"]).arg(&path).status().expect("the program");
    assert!(checked.success(), "{text}");
}

/// A huge page is cleared while a request waits for it.
#[cfg(target_os = "linux")]
#[test]
fn a_node_does_without_huge_pages() {
    let node = Node::start();
    let told =
        std::fs::read_to_string(format!("/proc/{}/status", node.pid().as_raw_nonzero())).expect("a process");
    let says = told.lines().find_map(|line| line.strip_prefix("THP_enabled:"));
    // Kernels before 5.0 do not say.
    assert!(says.is_none_or(|says| says.trim() == "0"), "{told}");
    node.end();
}
