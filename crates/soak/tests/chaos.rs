//! The short forms of `soak chaos`: faults of both modes, on one server and on a cluster of real ones.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::Command,
};

/// A run that takes longer is stuck.
const TIMEOUT: Duration = Duration::from_secs(180);

fn chaos(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_soak"));
    command.args(["chaos", "--json", "--minutes", "2"]).args(args).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// The exit status, the line of JSON, and what a person was told.
async fn ended(mut command: Command) -> (Option<i32>, Value, String) {
    let output = tokio::time::timeout(TIMEOUT, command.output()).await.expect("the run ends").unwrap();
    let (out, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let json = out.lines().last().map_or(Value::Null, |line| serde_json::from_str(line).unwrap());
    (output.status.code(), json, told.into_owned())
}

/// Runs to the end, in which nothing may be wrong, and each of these faults come about once in each of so many runs.
async fn clean(command: Command, faults: &[&str], runs: u64) -> Value {
    let (status, json, told) = ended(command).await;
    assert_eq!(status, Some(0), "{told}");
    for wrong in ["lost", "duplicated", "divergent", "linearizability_violations", "session_violations"] {
        assert_eq!(json[wrong], 0, "{json}");
    }
    assert!(json["error"].is_null() && json["kept"].is_null(), "{json}");
    assert_eq!(json["runs"], runs, "{json}");
    for fault in faults {
        assert_eq!(json["faults"][fault], runs, "{json}");
    }
    for run in json["targets"].as_array().unwrap() {
        assert!(run["acknowledged"].as_u64().unwrap() > 100, "there was a load: {json}");
    }
    json
}

#[tokio::test]
async fn bad_lines_and_wrong_clocks_lose_nothing_and_confuse_nobody() {
    let faults = ["partition", "delay", "loss", "clock"];
    let only = faults.join(",");
    let args = ["--seed", "11", "--target", "single", "--rounds", "1", "--only", &only];
    let json = clean(chaos(&args), &faults, 2).await;
    let modes: Vec<&Value> = json["targets"].as_array().unwrap().iter().map(|run| &run["mode"]).collect();
    assert_eq!(modes, ["masters", "leader"], "{json}");
}

#[tokio::test]
async fn a_full_disk_is_told_of_and_costs_nothing_once_there_is_room() {
    let args = ["--seed", "12", "--target", "single", "--rounds", "1", "--only", "disk-full"];
    let json = clean(chaos(&args), &["disk-full"], 2).await;
    assert!(json["unknown"].as_u64().unwrap() > 0, "somebody was writing when it was full: {json}");
    // As where nobody may mount.
    let mut command = chaos(&args);
    command.env("ARCHIPELAGO_SOAK_MOUNTS", "refused");
    let json = clean(command, &["disk-full"], 2).await;
    assert_eq!(json["disk_full_by"], "file-size-limit", "{json}");
}

#[tokio::test]
async fn masters_outlive_every_server_of_their_cluster() {
    let args = ["--seed", "13", "--mode", "masters", "--rounds", "1", "--only", "outage"];
    let mut command = chaos(&args);
    command.args(["--target", "cluster"]);
    clean(command, &["outage"], 1).await;
}

#[tokio::test]
async fn a_leader_on_a_cluster_is_linearizable_while_its_servers_are_parted() {
    let args = ["--seed", "14", "--mode", "leader", "--rounds", "1", "--only", "broker-partition"];
    let mut command = chaos(&args);
    command.args(["--target", "cluster"]);
    clean(command, &["broker-partition"], 1).await;
}

#[tokio::test]
async fn a_run_that_fails_says_so_and_its_folders_are_kept_and_named() {
    let home = tempfile::tempdir().unwrap();
    let mut command = chaos(&["--seed", "15", "--dir", home.path().to_str().unwrap()]);
    command.env("NATS_SERVER", "/nowhere/nats-server");
    let (status, json, told) = ended(command).await;
    assert_eq!(status, Some(1), "{told}");
    assert_eq!(json["error"], "4 of 4 runs failed");
    for run in json["targets"].as_array().unwrap() {
        let kept = run["kept"].as_str().unwrap();
        assert!(std::path::Path::new(kept).starts_with(home.path()) && told.contains(kept), "{told}");
        assert!(std::fs::read_dir(kept).is_ok(), "{json}");
        assert!(run["error"].as_str().unwrap().contains("/nowhere/nats-server"), "{json}");
    }
}

#[tokio::test]
async fn a_fault_of_clusters_is_refused_on_one_server() {
    let (status, json, told) = ended(chaos(&["--target", "single", "--only", "outage"])).await;
    assert_eq!((status, json), (Some(1), Value::Null));
    assert!(told.contains("say --target cluster"), "{told}");
}

#[tokio::test]
async fn an_interrupted_run_says_what_it_did_and_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let args = ["--seed", "16", "--target", "single", "--dir", home.path().to_str().unwrap()];
    let mut running = chaos(&args).spawn().unwrap();
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
    assert_eq!((&json["error"], &json["runs"], &json["lost"]), (&"interrupted".into(), &1.into(), &0.into()));
    assert!(json["acknowledged"].as_u64().unwrap() > 0, "{json}");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "its folders are gone");
}
