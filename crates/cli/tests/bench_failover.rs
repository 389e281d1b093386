//! `archipelago bench failover`: it measures every kill and hand-over, and finds that nothing is lost.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::process::Command;

use archipelago_testkit::nats::NatsServer;
use futures::TryStreamExt;
use serde_json::Value;
use support::{Demo, Ended, bench};

/// The JSON of a run in which all went well, with so many kills and hand-overs.
#[track_caller]
fn proved(ended: &Ended, kills: usize, handovers: usize) -> Value {
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout.lines().count(), 1, "only JSON on standard output:\n{}", ended.stdout);
    let json = ended.json();
    for (times, count) in [("failover_ms", kills), ("rejoin_ms", kills), ("handover_ms", handovers)] {
        let times = json[times].as_array().unwrap();
        assert_eq!(times.len(), count, "{json}");
        assert!(times.iter().all(|ms| ms.as_f64().unwrap() > 0.0), "{json}");
    }
    for none in ["lost", "duplicated", "contradicted", "unsound"] {
        assert_eq!(json[none], 0, "{none}: {json}");
    }
    assert_eq!((&json["equal_digests"], &json["log_is_history"]), (&true.into(), &true.into()), "{json}");
    assert_eq!(json["error"], Value::Null);
    let count = |name: &str| json[name].as_u64().unwrap();
    // At least a term for the start and one for each change of the leader.
    assert!(count("terms") > (kills + handovers) as u64, "{json}");
    let written = count("acknowledged") + count("unknown_written") + count("terms");
    assert!(count("acknowledged") > 0 && count("entries") >= written, "{json}");
    json
}

/// The streams on a server.
async fn streams(server: &NatsServer) -> Vec<String> {
    let client = async_nats::connect(server.url()).await.unwrap();
    async_nats::jetstream::new(client).stream_names().try_collect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_nodes_of_one_process_are_cut_off_and_dropped() {
    for store in ["memory", "fjall"] {
        let args =
            ["failover", "--json", "--runs", "2", "--handovers", "1", "--lease-ms", "500", "--store", store];
        let ended = bench(&args).await;
        let json = proved(&ended, 2, 1);
        assert_eq!((&json["broker"], &json["store"]), (&"embedded".into(), &store.into()));
        assert!(ended.stderr.contains("cut off and dropped"), "{}", ended.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_processes_are_killed_and_nothing_stays_on_the_server() {
    let server = NatsServer::start().await.unwrap();
    for store in ["fjall", "memory"] {
        let url = server.url();
        let args = ["failover", "--json", "--runs", "2", "--handovers", "1", "--lease-ms", "1000", "--rate"];
        let args = [&args[..], &["500", "--store", store, "--nats", &url]].concat();
        let ended = bench(&args).await;
        let json = proved(&ended, 2, 1);
        assert_eq!((&json["broker"], &json["store"]), (&"nats".into(), &store.into()));
        assert!(ended.stderr.contains("SIGKILL"), "{}", ended.stderr);
        assert_eq!(streams(&server).await, Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_tells_what_was_measured_and_leaves_nothing() {
    let server = NatsServer::start().await.unwrap();
    let url = server.url();
    let args = ["failover", "--json", "--runs", "1000", "--lease-ms", "500", "--nats", &url];
    let mut run = Demo::program("bench", &args);
    run.until("was killed").await;
    assert!(Command::new("kill").args(["-INT", &run.id().to_string()]).status().unwrap().success());
    let ended = run.end().await;
    assert_eq!(ended.status, Some(130), "{}", ended.stderr);
    assert!(ended.stderr.contains("error: interrupted"), "{}", ended.stderr);
    let json = ended.json();
    assert!(!json["failover_ms"].as_array().unwrap().is_empty(), "{json}");
    assert!(json["error"].as_str().unwrap().contains("interrupted"), "{json}");
    assert_eq!(streams(&server).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_reads_times_and_the_verdict() {
    let ended = bench(&["failover", "--runs", "1", "--handovers", "1", "--lease-ms", "300"]).await;
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    for text in ["failover : median ", "hand-over: median ", " 0 lost, 0 duplicated", "3 nodes, equal"] {
        assert!(ended.stdout.contains(text), "{text} is missing in:\n{}", ended.stdout);
    }
}
