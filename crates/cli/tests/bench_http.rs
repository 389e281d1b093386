//! `archipelago bench http`: writes at a rate to a node of its own.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use serde_json::Value;
use support::bench;

#[tokio::test(flavor = "multi_thread")]
async fn every_write_that_was_due_is_acknowledged_and_told() {
    let ended = bench(&["http", "--json", "--rate", "200", "--seconds", "2", "--durability", "os"]).await;
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout.lines().count(), 1, "only JSON on standard output:\n{}", ended.stdout);
    let json = ended.json();
    let number = |name: &str| json[name].as_f64().unwrap_or_else(|| panic!("{name}: {json}"));
    assert_eq!((&json["error"], &json["errors"]), (&Value::Null, &serde_json::json!({})), "{json}");
    assert_eq!((number("acknowledged"), number("not_sent")), (400.0, 0.0), "{json}");
    let names = ["write_p50_ms", "write_p99_ms", "write_p999_ms", "write_max_ms"];
    assert!(names.map(number).is_sorted() && number("write_p50_ms") > 0.0, "{json}");
    if cfg!(target_os = "linux") {
        assert!(json["rss_mb"]["start"].as_u64().unwrap() > 0, "{json}");
        assert!(json["rss_mb"]["end"].as_u64().unwrap() > 0, "{json}");
    }
}

#[tokio::test]
async fn a_folder_that_has_a_node_is_not_used() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("bench")).unwrap();
    let ended = bench(&["http", "--folder", home.path().to_str().unwrap()]).await;
    assert_eq!(ended.status, Some(1), "{}", ended.stdout);
    assert!(ended.stderr.contains("already holds the store of a node"), "{}", ended.stderr);
}
