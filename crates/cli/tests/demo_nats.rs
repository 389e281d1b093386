//! `archipelago demo` over a real NATS server, with what can happen to it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{process::Command, time::Duration};

use archipelago::FjallStore;
use archipelago_testkit::nats::NatsServer;
use support::{Demo, demo, records_file};

#[tokio::test(flavor = "multi_thread")]
async fn it_converges_over_a_server() {
    let server = NatsServer::start().await.unwrap();
    let ended = demo(&["--json", "--writes", "300", "--nats", &server.url()]).await;
    let json = ended.converged();
    assert_eq!((&json["records"], &json["writes"]), (&300.into(), &300.into()), "{json}");
    assert!(ended.stderr.contains(&format!("ARCHIPELAGO_{}", json["namespace"].as_str().unwrap())));
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_converge_although_one_is_killed() {
    let server = NatsServer::start().await.unwrap();
    for (strategy, writes) in [("lww", "900"), ("field-merge", "3")] {
        let args =
            ["--json", "--processes", "--writes", writes, "--strategy", strategy, "--nats", &server.url()];
        let json = demo(&args).await.converged();
        assert_eq!(json["kills"], 1, "{json}");
        assert_eq!((&json["records"], json["writes"].to_string().as_str()), (&300.into(), writes), "{json}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_for_a_while_changes_nothing() {
    let mut server = NatsServer::start().await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let records = records_file(home.path(), 1_000);
    for processes in [&["--processes"][..], &[]] {
        let args = ["--json", "--writes", "900", "--records", &records, "--nats", &server.url()];
        let mut demo = Demo::start(&[&args[..], processes].concat());
        demo.until("load: 1000 records").await;
        server.kill().await.unwrap();
        demo.until("the pipeline is away").await;
        server.restart().await.unwrap();
        let json = demo.end().await.converged();
        assert_eq!((&json["records"], &json["writes"]), (&1_000.into(), &900.into()), "{json}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_everything_costs_a_repair_and_no_write() {
    let mut server = NatsServer::start().await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let records = records_file(home.path(), 3_000);
    let args = ["--json", "--writes", "3000", "--records", &records, "--nats", &server.url()];
    let mut demo = Demo::start(&args);
    demo.until("load: 3000 records").await;
    server.kill().await.unwrap();
    server.wipe().unwrap();
    server.restart().await.unwrap();
    let ended = demo.end().await;
    let json = ended.converged();
    assert_eq!(json["logs_lost"], 3, "each master noticed: {json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_someone_deletes_or_trims_costs_a_repair_and_no_write() {
    let server = NatsServer::start().await.unwrap();
    let client = async_nats::connect(server.url()).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    for processes in [&["--processes"][..], &[]] {
        let args = ["--json", "--writes", "30000", "--nats", &server.url()];
        let mut demo = Demo::start(&[&args[..], processes].concat());
        let line = demo.until("namespace: ").await;
        let stream = format!("ARCHIPELAGO_{}", line.trim_start_matches("namespace: "));
        demo.until("linked: ").await;
        match processes {
            [] => drop(jetstream.get_stream(&stream).await.unwrap().purge().await.unwrap()),
            _ => drop(jetstream.delete_stream(&stream).await.unwrap()),
        }
        let ended = demo.end().await;
        let json = ended.converged();
        if !processes.is_empty() {
            assert!(json["logs_lost"].as_u64().unwrap() >= 2, "those that were not cut off noticed: {json}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_on_the_subject_are_skipped_and_counted() {
    let server = NatsServer::start().await.unwrap();
    let client = async_nats::connect(server.url()).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    let home = tempfile::tempdir().unwrap();
    let records = records_file(home.path(), 2_000);
    let args = ["--json", "--writes", "900", "--records", &records, "--nats", &server.url()];
    let mut demo = Demo::start(&args);
    let line = demo.until("namespace: ").await;
    let subject = format!("archipelago.{}.events.x", line.trim_start_matches("namespace: "));
    demo.until("load: 2000 records").await;
    for garbage in [&b"\xc1\xff\x00"[..], b"", &[0x92; 300]] {
        let ack = jetstream.publish(subject.clone(), garbage.to_vec().into()).await.unwrap();
        ack.await.unwrap();
    }
    let ended = demo.end().await;
    let json = ended.converged();
    assert_eq!(json["messages_unreadable"], 3 * 3, "three messages at three masters: {json}");
    assert!(ended.stderr.contains("9 messages on the shared log were skipped"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_say_what_to_do() {
    let server = NatsServer::builder().credentials("app", "secret").start().await.unwrap();
    let with = |login: &str| server.url().replace("nats://", &format!("nats://{login}@"));
    for url in [server.url(), with("app:hunter2")] {
        let error = demo(&["--json", "--nats", &url]).await.error();
        assert!(error.contains("--nats-creds") && !error.contains("hunter2"), "{error}");
    }
    demo(&["--json", "--writes", "3", "--nats", &with("app:secret")]).await.converged();
    let error =
        demo(&["--json", "--nats", &server.url(), "--nats-creds", "/nowhere/app.creds"]).await.error();
    assert!(error.contains("/nowhere/app.creds"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_message_limit_is_kept() {
    let server = NatsServer::builder().max_payload_bytes(64 * 1024).start().await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("large.jsonl");
    let record =
        |id: &str, bytes: usize| format!("{{\"id\": \"{id}\", \"blob\": \"{}\"}}\n", "x".repeat(bytes));
    let records: String = (0..20).map(|at| record(&format!("r{at}"), 20_000)).collect();
    std::fs::write(&path, records).unwrap();
    let url = server.url();
    let args = ["--json", "--writes", "30", "--nats", &url, "--records", path.to_str().unwrap()];
    demo(&args).await.converged();
    std::fs::write(&path, record("large", 60_000)).unwrap();
    let error = demo(&args).await.error();
    assert!(error.contains("value_bytes_max"), "{error}");
}

/// A demo of processes that is in the middle of its work, with its stores in `dir`.
async fn started(server: &NatsServer, dir: &str) -> Demo {
    let args = ["--json", "--processes", "--writes", "200000", "--nats", &server.url(), "--dir", dir];
    let mut demo = Demo::start(&args);
    demo.until("linked: ").await;
    demo
}

/// Returns once no process has the store open.
async fn released(dir: &std::path::Path) {
    let opened = async {
        while FjallStore::open(dir.join("us-east")).is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), opened).await.expect("a process outlives the demo");
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_the_processes_and_says_so() {
    let server = NatsServer::start().await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let demo = started(&server, home.path().to_str().unwrap()).await;
    assert!(Command::new("kill").args(["-INT", &demo.id().to_string()]).status().unwrap().success());
    let ended = demo.end().await;
    assert_eq!(ended.status, Some(130), "{}", ended.stderr);
    assert!(ended.stderr.contains("error: interrupted"), "{}", ended.stderr);
    assert_eq!(ended.json()["converged"], false);
    FjallStore::open(home.path().join("us-east")).expect("no process has the store open any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_process_outlives_a_killed_demo() {
    let server = NatsServer::start().await.unwrap();
    let home = tempfile::tempdir().unwrap();
    started(&server, home.path().to_str().unwrap()).await.kill().await;
    released(home.path()).await;
}
