//! What `archipelago bench` says to bad input: one clear error and a status that is not zero.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use archipelago_testkit::nats::NatsServer;
use support::{Ended, bench};

/// The one error of a run that failed, on standard error and in the JSON.
#[track_caller]
fn error(ended: &Ended) -> String {
    assert_eq!(ended.status, Some(1), "{}", ended.stderr);
    let errors: Vec<&str> = ended.stderr.lines().filter_map(|line| line.strip_prefix("error: ")).collect();
    assert_eq!(errors.len(), 1, "{}", ended.stderr);
    assert_eq!(ended.json()["error"], errors[0], "{}", ended.stdout);
    errors[0].to_owned()
}

#[tokio::test]
async fn a_wrong_url_says_what_to_check() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = listener.local_addr().unwrap().port();
    drop(listener);
    for (url, expected) in [
        (format!("nats://127.0.0.1:{free}"), "--nats"),
        ("nats://no.such.host.invalid:4222".to_owned(), "--nats"),
        ("http:// what".to_owned(), "nats://host:port"),
    ] {
        for kind in ["failover", "leader", "replicate", "catch-up"] {
            let said = error(&bench(&[kind, "--json", "--nats", &url]).await);
            assert!(said.contains(expected), "{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_are_told_and_not_shown() {
    let server = NatsServer::builder().credentials("app", "secret").start().await.unwrap();
    let wrong = server.url().replace("nats://", "nats://app:hunter2@");
    let said = error(&bench(&["failover", "--json", "--nats", &wrong]).await);
    assert!(said.contains("--nats-creds") && !said.contains("hunter2"), "{said}");
    let right = server.url().replace("nats://", "nats://app:secret@");
    let short = ["--runs", "0", "--handovers", "1", "--lease-ms", "500"];
    let ended = bench(&[&["failover", "--json", "--nats", &right][..], &short].concat()).await;
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_need_a_cluster() {
    let said = error(&bench(&["leader", "--json", "--replicas", "3"]).await);
    assert!(said.contains("--replicas 3 needs --nats"), "{said}");
    let server = NatsServer::start().await.unwrap();
    let said = error(&bench(&["leader", "--json", "--replicas", "3", "--nats", &server.url()]).await);
    assert!(said.contains("cluster"), "{said}");
}

#[tokio::test]
async fn a_folder_is_not_used_twice() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("node-2")).unwrap();
    let folder = home.path().to_str().unwrap();
    for kind in ["failover", "leader"] {
        let args = [kind, "--json", "--store", "fjall", "--folder", folder];
        let said = error(&bench(&args).await);
        assert!(said.contains("node-2") && said.contains("--folder"), "{said}");
    }
}

#[tokio::test]
async fn numbers_out_of_range_are_refused() {
    for args in [
        ["failover", "--nodes", "1"],
        ["failover", "--rate", "0"],
        ["failover", "--lease-ms", "99"],
        ["leader", "--followers", "0"],
        ["leader", "--seconds", "0"],
        ["leader", "--size", "15"],
        ["leader", "--store", "paper"],
    ] {
        let ended = bench(&args).await;
        assert_eq!(ended.status, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(args[1]), "{}", ended.stderr);
    }
}
