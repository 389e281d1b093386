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
