//! The node as a program: it serves, the session of `docs/NODE.md` works as it stands there, and a signal ends it.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

/// The program, with no variable of ours in its environment.
fn archipelago() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_archipelago"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ARCHIPELAGO_")) {
        command.env_remove(name);
    }
    command
}

fn session() -> String {
    let page = include_str!("../../../docs/NODE.md");
    let (_, from) = page.split_once("```sh\n").expect("a session");
    from.split_once("```").expect("its end").0.to_owned()
}

fn serve(folder: &std::path::Path) -> (Child, String) {
    let mut node = archipelago()
        .args(["serve", "--node-name", "us-east", "--http-listen", "127.0.0.1:0", "--node-data"])
        .arg(folder.join("data"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program");
    let mut line = String::new();
    BufReader::new(node.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    let url = line.trim().strip_prefix("listening at ").expect("where it listens").to_owned();
    (node, url)
}

#[test]
fn the_session_in_the_docs_works_and_a_signal_ends_the_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut node, url) = serve(folder.path());
    let session = Command::new("sh")
        .args(["-euc", &session()])
        .env("NODE", url)
        .current_dir(folder.path())
        .status()
        .expect("a shell");
    let pid = Pid::from_child(&node);
    kill_process(pid, Signal::TERM).expect("it runs");
    let ended = node.wait().expect("an end");
    assert!(session.success(), "the session failed: {session}");
    assert!(ended.success(), "{ended}");
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
