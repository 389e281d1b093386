//! The verbs that steer nodes: what they ask for, and how they tell of the answer. The node is played by the test.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    thread::JoinHandle,
};

use serde_json::{Value, json};

#[path = "support/node.rs"]
mod node;

use node::{Ran, run};

/// Answers one request, and gives its first line and its body.
fn answering(status: &str, answer: Value) -> (String, JoinHandle<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (status, answer) = (status.to_owned(), answer.to_string());
    let asked = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(connection.try_clone().unwrap());
        let (mut first, mut length) = (String::new(), 0);
        reader.read_line(&mut first).unwrap();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if line.trim().is_empty() {
                break;
            }
            if let Some(bytes) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = bytes.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let head =
            format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", answer.len());
        connection.write_all(format!("{head}{answer}").as_bytes()).unwrap();
        (first.trim().to_owned(), String::from_utf8(body).unwrap())
    });
    (url, asked)
}

/// What a verb asks a node that answers so, and what it tells.
fn steer(args: &[&str], status: &str, answer: Value) -> (String, Value, Ran) {
    let (url, asked) = answering(status, answer);
    let ran = run(&[args, &["--node", &url]].concat());
    let (first, body) = asked.join().unwrap();
    (first, serde_json::from_str(&body).unwrap_or_default(), ran)
}

fn problem(name: &str, status: u16) -> Value {
    json!({ "type": format!("urn:archipelago:problem:{name}"), "title": "t", "status": status, "detail": "so it is" })
}

#[test]
fn a_node_is_promoted_and_demoted() {
    let leads = json!({ "role": "leader", "term": 7, "applied_sequence": 9, "health": "healthy" });
    let (asked, _, ran) = steer(&["promote", "-n", "shop"], "200 OK", leads.clone());
    assert_eq!(asked, "POST /v1/namespaces/shop/promote HTTP/1.1");
    assert!(ran.ok().stdout.contains("it is the leader in term 7, healthy"));
    let (asked, _, ran) = steer(&["demote", "--json"], "200 OK", leads.clone());
    assert_eq!(asked, "POST /v1/namespaces/default/demote HTTP/1.1");
    assert_eq!(ran.ok().json(), leads);
    let (_, _, ran) = steer(&["promote"], "409 Conflict", problem("wrong-mode", 409));
    assert!(
        ran.error().contains("so it is (409 wrong-mode); `archipelago status` shows the mode"),
        "{ran:?}"
    );
}

#[test]
fn a_master_is_repaired_from_another_one() {
    let done = json!({
        "from": "eu@01", "joined": ["a"], "replaced": ["b", "c"], "is_truncated": true,
        "left": [{ "id": "d", "reason": "in-flight" }],
    });
    let (asked, body, ran) = steer(&["repair", "--from", "eu"], "200 OK", done.clone());
    assert_eq!(asked, "POST /cluster/resync HTTP/1.1");
    assert_eq!(body, json!({ "namespace": "default", "from": "eu" }));
    let told = ran.ok().stdout;
    assert!(
        told.contains("3 entities were taken from eu@01, 1 were left") && told.contains("in-flight"),
        "{told}"
    );
    assert!(told.contains("repair again"), "{told}");
    let (_, _, ran) = steer(&["repair", "--from", "eu", "--json"], "200 OK", done.clone());
    assert_eq!(ran.ok().json(), done);
    let (_, _, ran) = steer(&["repair", "--from", "eu"], "403 Forbidden", problem("forbidden", 403));
    assert!(ran.error().contains("(403 forbidden); use a token of a role that may do this"), "{ran:?}");
    assert_eq!(run(&["repair"]).status, Some(2));
}

#[test]
fn a_follower_takes_the_state_anew() {
    let (asked, body, ran) = steer(&["resync"], "202 Accepted", json!({ "node": "eu" }));
    assert_eq!(asked, "POST /cluster/resync HTTP/1.1");
    assert_eq!(body, json!({ "namespace": "default" }));
    assert!(ran.ok().stdout.starts_with("eu takes the state of another node anew"));
    let (_, body, ran) =
        steer(&["resync", "--target", "us", "--json"], "202 Accepted", json!({ "node": "us" }));
    assert_eq!(body, json!({ "namespace": "default", "node": "us" }));
    assert_eq!(ran.ok().json(), json!({ "node": "us" }));
    let counts = json!({ "namespaces": { "default": { "is_resyncing": false, "attempts": 3 } } });
    let (asked, _, ran) = steer(&["resync", "--count"], "200 OK", counts);
    assert_eq!(asked, "GET /cluster/resync HTTP/1.1");
    assert!(ran.ok().stdout.contains("is resyncing"));
    let (_, _, ran) = steer(&["resync"], "409 Conflict", problem("not-eligible", 409));
    assert!(ran.error().starts_with("so it is (409 not-eligible)"), "{ran:?}");
}

#[test]
fn what_was_not_taken_in_is_shown() {
    let nothing =
        json!({ "events": [], "masters": 0, "messages_unreadable": 0, "orphans": [], "is_truncated": false });
    let (asked, _, ran) = steer(&["quarantine"], "200 OK", nothing);
    assert_eq!(asked, "GET /v1/namespaces/default/quarantine HTTP/1.1");
    assert_eq!(ran.ok().stdout, "nothing is in quarantine\n");
    let much = json!({
        "events": [{ "dot": "eu@01:7", "ahead_ms": 90_000 }], "masters": 1, "messages_unreadable": 2,
        "orphans": [{ "sequence": 4, "term": 2, "operation": "put", "id": "a", "value": { "n": 1 } }], "is_truncated": false,
    });
    let (_, _, ran) = steer(&["quarantine"], "200 OK", much);
    let told = ran.ok().stdout;
    for part in ["eu@01:7", "1 min 30 s", "2 messages", "{\"n\":1}"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let (_, _, ran) = steer(&["quarantine"], "404 Not Found", problem("no-such-path", 404));
    assert!(ran.error().contains("of another version than this program"), "{ran:?}");
}

#[test]
fn whoever_writes_to_a_follower_is_sent_to_the_leader() {
    let (_, _, ran) = steer(&["put", "a", "1"], "503 Service Unavailable", problem("not-leader", 503));
    assert!(ran.error().contains("`archipelago nodes` shows who leads"), "{ran:?}");
    let nodes = json!({ "nodes": [
        { "node": "eu", "is_self": false, "namespaces": ["default"], "silent_ms": 5, "address": "http://eu:7070", "leads": ["default"] },
    ] });
    let (_, _, ran) = steer(&["nodes"], "200 OK", nodes);
    assert!(ran.ok().stdout.contains("http://eu:7070"));
}
