//! `archipelago snapshot`: made of a store at rest, listed, verified, restored, interrupted and gone on with, and what is
//! said to bad input.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use archipelago::{FjallStore, MultiMasterManager};
use serde_json::Value;

const RECORDS: u64 = 3_000;

/// A command that has ended.
struct Ended {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_archipelago"));
    command.arg("snapshot").args(args).env_remove("RUST_LOG").env_remove("ARCHIPELAGO_NATS_CREDS");
    command.stdin(Stdio::null());
    command
}

fn snapshot(args: &[&str]) -> Ended {
    let output = command(args).output().unwrap();
    Ended {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Ended {
    #[track_caller]
    fn json(&self) -> Value {
        assert_eq!(self.status, Some(0), "{}", self.stderr);
        assert_eq!(self.stdout.lines().count(), 1, "{}", self.stdout);
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// The one error, which with --json is in the JSON too.
    #[track_caller]
    fn error(&self) -> String {
        assert_eq!(self.status, Some(1), "{}{}", self.stdout, self.stderr);
        let errors: Vec<&str> = self.stderr.lines().filter_map(|line| line.strip_prefix("error: ")).collect();
        assert_eq!(errors.len(), 1, "{}", self.stderr);
        if !self.stdout.is_empty() {
            assert_eq!(serde_json::from_str::<Value>(&self.stdout).unwrap()["error"], errors[0]);
        }
        errors[0].to_owned()
    }
}

/// A folder with the store of a master that wrote `RECORDS` records and was closed.
async fn store(home: &Path) -> String {
    let folder = home.join("store");
    let master = master(&folder, "us-east").await;
    for n in 0..RECORDS {
        let noise = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        master.write(format!("isle/{n}"), &format!("{noise:x} {noise:b} {n}")).await.unwrap();
    }
    master.delete("isle/7").await.unwrap();
    master.close().await.unwrap();
    folder.to_str().unwrap().to_owned()
}

async fn master(folder: &Path, name: &str) -> MultiMasterManager {
    let master = MultiMasterManager::builder().master_id(name).namespace("isles");
    let master = master.durability(archipelago::Durability::Os);
    master.store(FjallStore::open(folder).unwrap()).start().await.unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn only_file(folder: &Path) -> PathBuf {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|it| it == "snapshot")).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

#[tokio::test]
async fn a_store_goes_through_a_folder_into_a_new_store_with_the_same_state() {
    let home = tempfile::tempdir().unwrap();
    let (from, kept, to) = (store(home.path()).await, home.path().join("kept"), home.path().join("new"));
    let made =
        snapshot(&["create", "--store", &from, "--to", text(&kept), "--namespace", "isles", "--json"]).json();
    assert_eq!((&made["entities"], &made["namespace"]), (&RECORDS.into(), &"isles".into()), "{made}");
    assert!(made["chunks"].as_u64().unwrap() >= 2, "{made}");
    assert!(made["bytes"].as_u64().unwrap() < made["raw_bytes"].as_u64().unwrap(), "{made}");

    let listed = snapshot(&["list", "--from", text(&kept), "--json"]).json();
    assert_eq!(listed["snapshots"], Value::from(vec![made.clone()]));
    let shown = snapshot(&["list", "--from", text(&kept)]);
    assert!(shown.stdout.contains(made["name"].as_str().unwrap()), "{}", shown.stdout);
    assert_eq!(snapshot(&["verify", "--from", text(&kept), "--json"]).json(), made);

    // A copy of the file alone is enough.
    let copy = home.path().join("copy.snapshot");
    std::fs::copy(only_file(&kept), &copy).unwrap();
    let verified = snapshot(&["verify", "--from", text(&copy), "--json"]).json();
    assert_eq!(verified["digest"], made["digest"]);
    let restore = [
        "restore",
        "--from",
        text(&copy),
        "--store",
        text(&to),
        "--master-id",
        "new",
        "--namespace",
        "isles",
    ];
    let restored = snapshot(&[&restore[..], &["--json"]].concat()).json();
    assert_eq!(restored["digest"], made["digest"]);

    let (old, new) = (master(Path::new(&from), "us-east").await, master(&to, "new").await);
    assert_eq!(old.state_digest().await.unwrap(), new.state_digest().await.unwrap());
    assert_eq!(new.read::<String>("isle/7").await.unwrap(), None);
    new.close().await.unwrap();
    let refused = snapshot(&restore).error();
    assert!(refused.contains("not empty") && refused.contains("--store"), "{refused}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_restore_that_is_interrupted_says_so_and_goes_on_when_it_is_run_again() {
    use std::io::{BufRead, BufReader};

    let home = tempfile::tempdir().unwrap();
    let from = store(home.path()).await;
    let (kept, to) = (home.path().join("kept"), home.path().join("new"));
    snapshot(&["create", "--store", &from, "--to", text(&kept), "--json"]).json();
    let restore = [
        "restore",
        "--from",
        text(&kept),
        "--store",
        text(&to),
        "--master-id",
        "new",
        "--namespace",
        "isles",
    ];
    let mut child = command(&restore).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    assert!(first.contains("restore"), "{first}");
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let rest: Vec<String> = lines.map(|line| line.unwrap()).collect();
    let status = child.wait().unwrap().code();
    if status == Some(130) {
        assert!(rest.iter().any(|line| line.contains("run the same command again")), "{rest:?}");
    } else {
        // It was faster than the signal.
        assert_eq!(status, Some(0), "{rest:?}");
        std::fs::remove_dir_all(&to).unwrap();
    }
    snapshot(&[&restore[..], &["--json"]].concat()).json();
    let (old, new) = (master(Path::new(&from), "us-east").await, master(&to, "new").await);
    assert_eq!(old.state_digest().await.unwrap(), new.state_digest().await.unwrap());
}

#[tokio::test]
async fn damage_is_found_and_named() {
    let home = tempfile::tempdir().unwrap();
    let (from, kept) = (store(home.path()).await, home.path().join("kept"));
    snapshot(&["create", "--store", &from, "--to", text(&kept)]);
    let file = only_file(&kept);
    let whole = std::fs::read(&file).unwrap();
    for at in [20, whole.len() / 3, whole.len() / 2, whole.len() - 60] {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        std::fs::write(&file, damaged).unwrap();
        let error = snapshot(&["verify", "--from", text(&file), "--json"]).error();
        assert!(error.contains("damaged"), "{at}: {error}");
    }
    std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
    let error = snapshot(&["verify", "--from", text(&file)]).error();
    assert!(error.contains("damaged"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_used_is_named_with_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let (none, empty) = (home.path().join("none"), home.path().join("empty"));
    std::fs::create_dir(&empty).unwrap();
    let file = home.path().join("file");
    std::fs::write(&file, b"no snapshot").unwrap();
    let (none, empty, file) = (text(&none), text(&empty), text(&file));
    let to = home.path().join("to");
    for (args, says) in [
        (vec!["create", "--store", none, "--to", empty], "no store in"),
        (vec!["create", "--store", empty, "--to", empty], "no store in"),
        (vec!["list", "--from", none], "no folder"),
        (vec!["list", "--from", "nats://127.0.0.1:1"], "--namespace"),
        (vec!["list", "--from", "nats://127.0.0.1:1", "--namespace", "isles"], "check the URL"),
        (vec!["verify", "--from", empty], "no snapshot in"),
        (vec!["verify", "--from", file], "damaged"),
        (vec!["verify", "--from", empty, "isles-1"], "no snapshot \"isles-1\""),
        (
            vec!["restore", "--from", empty, "--store", text(&to), "--master-id", "a", "--namespace", "b"],
            "no snapshot in",
        ),
    ] {
        let error = snapshot(&args).error();
        assert!(error.contains(says), "{args:?}: {error}");
    }
    assert!(!to.exists(), "nothing was made");
    assert_eq!(std::fs::read_dir(empty).unwrap().count(), 0, "nothing was made");
    let listed = snapshot(&["list", "--from", empty, "--json"]).json();
    assert_eq!(listed["snapshots"], Value::Array(vec![]));
    assert_eq!(snapshot(&["create"]).status, Some(2));
}

#[tokio::test]
async fn a_store_in_use_and_a_foreign_one_are_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let (from, kept) = (store(home.path()).await, home.path().join("kept"));
    let create = ["create", "--store", &from, "--to", text(&kept), "--master-id", "eu-west"];
    let error = snapshot(&create).error();
    assert!(error.contains("us-east"), "{error}");
    let running = master(Path::new(&from), "us-east").await;
    let error = snapshot(&create).error();
    assert!(error.contains("already open"), "{error}");
    running.close().await.unwrap();
}
