//! `archipelago bench leader`: writes at a rate, and how far behind the followers are.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use archipelago_testkit::nats::NatsServer;
use futures::StreamExt;
use serde_json::Value;
use support::{Ended, bench};

/// The JSON of two seconds with 500 writes each to three followers.
#[track_caller]
fn measured(ended: &Ended) -> Value {
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout.lines().count(), 1, "only JSON on standard output:\n{}", ended.stdout);
    let json = ended.json();
    let number = |name: &str| json[name].as_f64().unwrap_or_else(|| panic!("{name}: {json}"));
    assert_eq!((&json["error"], &json["equal_digests"]), (&Value::Null, &true.into()), "{json}");
    assert_eq!(json["failed"], 0, "{json}");
    assert!((990.0..=1_001.0).contains(&number("acknowledged")), "{json}");
    assert!((1.0..=505.0).contains(&number("writes_per_s")), "{json}");
    assert!(number("append_per_s") > 0.0, "{json}");
    assert!(number("lag_samples") >= 3.0 * 990.0, "{json}");
    for (p50, greater) in [
        ("lag_p50_ms", "lag_p99_ms"),
        ("visible_p50_ms", "visible_p99_ms"),
        ("write_p50_ms", "write_p99_ms"),
        ("lag_p50_ms", "visible_p50_ms"),
        ("idle_visible_p50_ms", "idle_visible_max_ms"),
    ] {
        assert!(number(p50) >= 0.0 && number(p50) <= number(greater), "{p50}, {greater}: {json}");
    }
    let entries = json["entries"].as_array().unwrap();
    assert!(entries.len() == 4 && entries.iter().all(|count| *count == entries[0]), "{json}");
    // The load, the single writes, the start of a term, and three followers that are registered.
    assert!(entries[0].as_f64().unwrap() >= number("acknowledged") + 50.0 + 1.0 + 3.0, "{json}");
    if cfg!(target_os = "linux") {
        assert!(json["rss_mb"]["start"].as_u64().unwrap() > 0, "{json}");
        assert!(json["rss_mb"]["end"].as_u64().unwrap() > 0, "{json}");
    }
    json
}

const SHORT: [&str; 7] = ["leader", "--json", "--rate", "500", "--seconds", "2", "--keys=300"];

#[tokio::test(flavor = "multi_thread")]
async fn followers_in_memory_have_all_that_is_written() {
    let json = measured(&bench(&SHORT).await);
    assert_eq!((&json["broker"], &json["store"]), (&"embedded".into(), &"memory".into()));
    assert!(json["ratio"].is_null() && json["baseline_append_per_s"].is_null(), "{json}");
    assert!(json["keys_stored"].as_u64().unwrap() <= 300 + 50, "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_in_folders_behind_a_server_have_all_that_is_written() {
    let server = NatsServer::start().await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let (url, folder) = (server.url(), home.path().join("stores"));
    let more = ["--store", "fjall", "--nats", &url, "--folder", folder.to_str().unwrap()];
    let json = measured(&bench(&[&SHORT[..], &more].concat()).await);
    assert_eq!((&json["broker"], &json["store"]), (&"nats".into(), &"fjall".into()));
    assert!(folder.join("node-4").is_dir(), "the folder that was named stays");
    let number = |name: &str| json[name].as_f64().unwrap_or_else(|| panic!("{name}: {json}"));
    assert!(number("ratio") > 0.0 && number("baseline_append_per_s") > 0.0, "{json}");
    assert!(number("baseline_write_p50_ms") <= number("baseline_write_p99_ms"), "{json}");
    let client = async_nats::connect(&url).await.unwrap();
    let streams = async_nats::jetstream::new(client).stream_names().count().await;
    assert_eq!(streams, 0, "nothing is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_reads_rates_and_lags() {
    let ended = bench(&["leader", "--followers", "1", "--rate", "100", "--seconds", "1"]).await;
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    for text in ["ratio:   - ", "writes:  ", "lag:     median ", "idle:    median ", "nodes:   equal"] {
        assert!(ended.stdout.contains(text), "{text} is missing in:\n{}", ended.stdout);
    }
}
