//! The short forms of `soak leader`: each fault twice, on real processes, disks and a real server, with a lease of a second.

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
    command.args(["leader", "--json", "--minutes", "2"]).args(args).env_remove("RUST_LOG");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Two rounds of a fault, after which clients must have seen one store that keeps its promises.
async fn clean(fault: &str, seed: &str) -> Value {
    let mut command = soak(&["--seed", seed, "--only", fault, "--rounds", "2"]);
    let output = tokio::time::timeout(TIMEOUT, command.output()).await.expect("the run ends").unwrap();
    let (out, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{told}");
    let json: Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    for wrong in ["lost", "duplicated", "linearizability_violations", "term_violations", "divergent"] {
        assert_eq!(json[wrong], 0, "{json}");
    }
    assert!(json["error"].is_null() && json["kept"].is_null(), "{json}");
    assert_eq!(json["rounds"][fault], 2, "{json}");
    assert_eq!(json["failover_ms"][fault]["count"], 2, "{json}");
    assert!(json["acknowledged"].as_u64().unwrap() > 200, "there was a load: {json}");
    json
}

#[tokio::test]
async fn a_leader_killed_under_load_is_replaced_and_no_acknowledged_write_is_lost_or_done_twice() {
    let json = clean("kill", "1").await;
    assert!(json["terms"].as_u64().unwrap() >= 3, "{json}");
}

#[tokio::test]
async fn a_leader_paused_past_its_lease_appends_nothing_when_it_goes_on_and_says_that_it_is_deposed() {
    let json = clean("pause", "2").await;
    assert_eq!((&json["stale_appends"], &json["demoted_ms"]["pause"]["count"]), (&0.into(), &2.into()));
}

#[tokio::test]
async fn a_leader_cut_off_from_the_broker_demotes_itself_and_appends_nothing_once_it_is_back() {
    let json = clean("partition", "3").await;
    assert_eq!((&json["stale_appends"], &json["demoted_ms"]["partition"]["count"]), (&0.into(), &2.into()));
}

#[tokio::test]
async fn a_log_deleted_under_its_leader_is_mended_with_every_acknowledged_write_at_its_index() {
    let json = clean("delete", "4").await;
    assert!(json["mended"].as_u64().unwrap() >= 2, "{json}");
}

#[tokio::test]
async fn an_interrupted_run_says_what_it_did_and_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let mut running = soak(&["--seed", "5", "--dir", home.path().to_str().unwrap()]).spawn().unwrap();
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
    assert_eq!(
        (&json["error"], &json["linearizability_violations"]),
        (&"interrupted".into(), &0.into()),
        "{json}"
    );
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "its folders are gone");
}
