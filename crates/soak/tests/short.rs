//! The short forms of the soak: each fault a few times, on real processes, disks and a real server.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::Command,
};

/// A run that takes longer is stuck.
const TIMEOUT: Duration = Duration::from_secs(180);

fn soak(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_soak"));
    command.args(["--json", "--minutes", "2", "--settle-s", "60"]).args(args).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs to the end, in which nothing may be lost, have effect twice, or diverge.
async fn clean(args: &[&str]) -> Value {
    let output = tokio::time::timeout(TIMEOUT, soak(args).output()).await.expect("the run ends").unwrap();
    let (out, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{told}");
    let json: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    for wrong in ["lost", "duplicated", "divergent"] {
        assert_eq!(json[wrong], 0, "{json}");
    }
    assert!(json["error"].is_null() && json["kept"].is_null(), "{json}");
    assert!(json["acknowledged"].as_u64().unwrap() > 100, "there was a load: {json}");
    json
}

fn count(json: &Value, what: &str) -> u64 {
    json[what].as_u64().unwrap_or_else(|| panic!("{what}: {json}"))
}

#[tokio::test]
async fn masters_killed_under_load_lose_nothing_and_do_nothing_twice() {
    let json = clean(&["--seed", "1", "--kills", "10", "--heartbeat-ms", "250"]).await;
    assert!(count(&json, "kills") >= 10, "{json}");
    assert!(count(&json, "unknown") > 0, "some were killed in the middle of a write: {json}");
}

#[tokio::test]
async fn a_lost_log_is_noticed_within_two_heartbeats_and_mended_without_an_operator() {
    for (fault, seed) in [("wipe-stream", "3"), ("wipe-files", "4")] {
        let json = clean(&["--seed", seed, "--only", fault, "--rounds", "1"]).await;
        assert_eq!(count(&json, "wipes"), 1, "{json}");
        assert!(count(&json, "notice_ms_max") <= 2 * count(&json, "heartbeat_ms"), "{json}");
    }
}

#[tokio::test]
async fn old_copies_part_and_tell_and_lose_nothing() {
    let json = clean(&["--seed", "5", "--only", "restore", "--rounds", "1", "--heartbeat-ms", "250"]).await;
    assert_eq!((count(&json, "restores"), count(&json, "reincarnations")), (1, 1), "{json}");
}

#[tokio::test]
async fn twins_part_and_tell_and_lose_nothing() {
    let json = clean(&["--seed", "6", "--only", "twin", "--rounds", "1", "--heartbeat-ms", "250"]).await;
    assert_eq!((count(&json, "twins"), count(&json, "reincarnations")), (1, 2), "{json}");
}

#[tokio::test]
async fn removals_leave_no_tombstone_and_wait_for_a_laggard_until_it_is_retired() {
    let json = clean(&["--seed", "7", "--only", "deletes", "--rounds", "1", "--heartbeat-ms", "250"]).await;
    assert_eq!(count(&json, "removed"), 2_000, "{json}");
    let json = clean(&["--seed", "8", "--only", "laggard", "--rounds", "1", "--heartbeat-ms", "250"]).await;
    assert_eq!(count(&json, "laggards"), 1, "{json}");
}

#[tokio::test]
async fn an_interrupted_run_says_what_it_did_and_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let mut running = soak(&["--seed", "9", "--dir", home.path().to_str().unwrap()]).spawn().unwrap();
    let mut told = BufReader::new(running.stderr.take().unwrap()).lines();
    let ending = async {
        while !told.next_line().await.unwrap().expect("it starts").contains("start: agreed") {}
        let id = running.id().and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).unwrap()));
        rustix::process::kill_process(id.unwrap(), rustix::process::Signal::INT).unwrap();
        while told.next_line().await.unwrap().is_some() {}
        let mut out = String::new();
        running.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
        (running.wait().await.unwrap(), out)
    };
    let (status, out) = tokio::time::timeout(TIMEOUT, ending).await.expect("it ends");
    assert_eq!(status.code(), Some(130));
    let json: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert_eq!((&json["error"], &json["lost"]), (&"interrupted".into(), &0.into()), "{json}");
    assert!(count(&json, "acknowledged") > 0, "{json}");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "its folders are gone");
}
