//! Two nodes that share a namespace over a real nats-server, as the verbs show them.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::{Duration, Instant};

use archipelago_testkit::nats::NatsServer;
use serde_json::Value;

#[path = "support/node.rs"]
mod node;

use node::{Node, run};

/// Longer than anything here takes, so that only a hang runs into it.
const DEADLINE: Duration = Duration::from_secs(60);

/// Asks again until the answer is as wanted.
fn until(node: &Node, args: &[&str], is_wanted: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + DEADLINE;
    loop {
        let answer = node.json(args);
        if is_wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < end, "{args:?} stays {answer:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_see_each_other_and_hold_the_same() {
    let server = NatsServer::start().await.unwrap();
    let settings =
        ["--nats-servers", &server.url(), "--namespaces", "{ default = { heartbeat_interval_ms = 50 } }"];
    let start = |name: &str| Node::with(&[&["--node-name", name][..], &settings].concat());
    let (east, west) = (start("east"), start("west"));
    let put = east.json(&["put", "a", "1", "--ack", "peers:1", "--wait-ms", "10000"]);
    assert_eq!(put["reached"]["enough"], true, "{put}");
    west.run(&["put", "b", "2"]).ok();
    let diff = run(&["diff", &east.url, &west.url, "--settle-ms", "30000"]).ok();
    assert_eq!(diff.stdout, "equal: 2 entities\n");

    let nodes = until(&east, &["nodes"], |nodes| nodes["nodes"].as_array().unwrap().len() == 2);
    assert_eq!((&nodes["nodes"][0]["is_self"], &nodes["nodes"][1]["node"]), (&true.into(), &"west".into()));
    until(&east, &["lag"], |lag| lag["namespaces"]["default"][0]["health"] == "in-sync");
    let shown = east.run(&["lag"]).ok().stdout;
    assert!(shown.contains("west@") && shown.contains("in-sync"), "{shown}");
    until(&west, &["members", "list"], |members| members["members"].as_array().unwrap().len() == 2);

    drop(east);
    let retired = west.json(&["members", "retire", "east", "--yes"]);
    assert!(retired["retired"].as_str().unwrap().starts_with("east@"), "{retired}");
    let members = west.json(&["members", "list"]);
    assert!(
        members["members"].as_array().unwrap().iter().any(|member| member["state"] == "retired"),
        "{members}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn leaders_are_made_and_a_follower_takes_the_state_anew_by_verbs() {
    let server = NatsServer::start().await.unwrap();
    let namespace =
        "{ default = { mode = \"leader-follower\", heartbeat_interval_ms = 50, lease_ms = 1000 } }";
    let settings = ["--nats-servers", &server.url(), "--namespaces", namespace];
    let start = |name: &str| Node::with(&[&["--node-name", name][..], &settings].concat());
    let (east, west) = (start("east"), start("west"));
    let at_rest = |node: &Node| {
        until(node, &["status"], |status| {
            status["namespaces"]["default"]["leadership"]["health"] == "healthy"
        });
    };
    until(&east, &["nodes"], |nodes| nodes["nodes"].as_array().unwrap().len() == 2);
    for (node, other) in [(&east, &west), (&west, &east)] {
        at_rest(node);
        let promoted = node.json(&["promote"]);
        assert_eq!(promoted["role"], "leader", "{promoted}");
        node.run(&["put", "a", "1"]).ok();
        until(other, &["status"], |status| {
            status["namespaces"]["default"]["leadership"]["role"] == "follower"
        });
    }
    let (leader, follower) = (&west, &east);
    let shown =
        ["status", "nodes", "lag", "ls", "ls --values", "members list", "export", "tail --since 0 --count 1"];
    for (node, verb) in [leader, follower].into_iter().flat_map(|node| shown.map(|verb| (node, verb))) {
        let words: Vec<_> = verb.split(' ').collect();
        assert!(!node.run(&words).ok().stdout.is_empty(), "{verb}");
    }
    let lines = leader.folder.path().join("lines.jsonl");
    std::fs::write(&lines, "{\"id\": \"b\", \"value\": {\"n\": 1}}\n").unwrap();
    leader.run(&["import", lines.to_str().unwrap()]).ok();
    leader.run(&["patch", "b", "{\"n\": 2}"]).ok();
    leader.run(&["delete", "b"]).ok();
    until(follower, &["get", "a"], |value| value["value"] == 1);
    let begun = leader.json(&["resync", "--target", "east"]);
    assert_eq!(begun["node"], "east");
    until(follower, &["resync", "--count"], |counts| {
        let counts = &counts["namespaces"]["default"];
        counts["attempts"] == 1 && counts["is_resyncing"] == false
    });
    assert_eq!(follower.run(&["get", "a"]).ok().stdout.trim(), "1");
    assert_eq!(leader.run(&["quarantine"]).ok().stdout, "nothing is in quarantine\n");
    assert_ne!(leader.json(&["demote"])["role"], "leader");
}

#[tokio::test(flavor = "multi_thread")]
async fn masters_that_agree_have_nothing_to_repair() {
    let server = NatsServer::start().await.unwrap();
    let settings =
        ["--nats-servers", &server.url(), "--namespaces", "{ default = { heartbeat_interval_ms = 50 } }"];
    let start = |name: &str| Node::with(&[&["--node-name", name][..], &settings].concat());
    let (east, west) = (start("east"), start("west"));
    east.run(&["put", "a", "1", "--ack", "peers:1", "--wait-ms", "10000"]).ok();
    until(&west, &["nodes"], |nodes| nodes["nodes"].as_array().unwrap().len() == 2);
    let repaired = west.json(&["repair", "--from", "east"]);
    assert!(repaired["from"].as_str().unwrap().starts_with("east"), "{repaired}");
    for none in ["joined", "replaced", "left"] {
        assert_eq!(repaired[none], serde_json::json!([]), "{repaired}");
    }
    let nobody = west.run(&["repair", "--from", "north"]);
    assert!(nobody.error().contains("no master \"north\" was heard"), "{nobody:?}");
}
