//! What `archipelago demo` says to bad input: one clear error and a status that is not zero, or a complaint and on.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::{Path, PathBuf};

use support::{demo, records_file};

fn written(folder: &Path, content: &[u8]) -> PathBuf {
    let path = folder.join("bad.jsonl");
    std::fs::write(&path, content).unwrap();
    path
}

#[tokio::test]
async fn malformed_lines_are_named_counted_and_left_out() {
    let home = tempfile::tempdir().unwrap();
    let lines = b"{\"id\": \"a\", \"name\": \"A\"}\n{\"id\": \"b\"\n\n[1, 2]\n{\"name\": \"no id\"}\n{\"id\": 7}\n\xff\n\
        {\"id\": \"c\", \"name\": \"C\"}\n{\"id\": \"a\", \"name\": \"A again\"}\n{\"id\": \"d\", \"deep\": {\"x\": [1]}}";
    let path = written(home.path(), lines);
    let ended = demo(&["--json", "--writes", "9", "--records", path.to_str().unwrap()]).await;
    let json = ended.converged();
    assert_eq!((&json["malformed"], &json["records"]), (&5.into(), &3.into()), "{json}");
    for (line, why) in [(2, "EOF"), (4, "found list"), (5, "missing"), (6, "must be a string"), (7, "utf-8")]
    {
        let place = format!("bad.jsonl, line {line}: ");
        let said = ended.stderr.lines().find(|said| said.contains(&place)).expect(&place);
        assert!(said.contains(why), "{said}");
    }
}

#[tokio::test]
async fn a_record_over_the_limit_names_its_place_size_and_limit() {
    let home = tempfile::tempdir().unwrap();
    let large = format!("{{\"id\": \"a\"}}\n{{\"id\": \"big\", \"blob\": \"{}\"}}\n", "x".repeat(600_000));
    let path = written(home.path(), large.as_bytes());
    let error = demo(&["--json", "--records", path.to_str().unwrap()]).await.error();
    for text in ["bad.jsonl", "line 2", "\"big\"", "600", "value_bytes_max = 524288"] {
        assert!(error.contains(text), "{text} is missing in: {error}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named() {
    let home = tempfile::tempdir().unwrap();
    let error = demo(&["--json", "--records", "/nowhere/records.jsonl"]).await.error();
    assert!(error.contains("/nowhere/records.jsonl") && error.contains("--records"), "{error}");
    let empty = written(home.path(), b"\n[]\n");
    let error = demo(&["--json", "--records", empty.to_str().unwrap()]).await.error();
    assert!(error.contains("no usable record"), "{error}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named() {
    let home = tempfile::tempdir().unwrap();
    let file = records_file(home.path(), 1);
    let error = demo(&["--json", "--dir", &format!("{file}/stores")]).await.error();
    assert!(error.contains("cannot write") && error.contains("records.jsonl/stores"), "{error}");
}

#[tokio::test]
async fn processes_need_a_server() {
    let error = demo(&["--json", "--processes"]).await.error();
    assert!(error.contains("--processes needs --nats"), "{error}");
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
        let error = demo(&["--json", "--nats", &url]).await.error();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn too_few_writes_and_unknown_strategies_are_refused() {
    for args in [["--writes", "2"], ["--strategy", "newest"]] {
        let ended = demo(&args).await;
        assert_eq!(ended.status, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(args[0]), "{}", ended.stderr);
    }
}
