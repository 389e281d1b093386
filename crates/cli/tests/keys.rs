//! Keys as they are made, let in and withdrawn, with real nodes over a real nats-server.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

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

/// Makes a key, and gives the public one.
fn key(folder: &Path, name: &str) -> String {
    let file = folder.join(name);
    run(&["keys", "new", file.to_str().unwrap()]).ok().stdout.trim().to_owned()
}

#[test]
fn a_key_is_made_once_and_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let public = key(folder.path(), "paris");
    assert!(public.starts_with("ed25519:") && public.len() == 72, "{public}");
    let file = folder.path().join("paris");
    let file = file.to_str().unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(run(&["keys", "show", file]).ok().stdout.trim(), public);
    assert_eq!(run(&["keys", "show", file, "--json"]).ok().json()["public"], *public);
    let before = std::fs::read_to_string(file).unwrap();
    let again = run(&["keys", "new", file]);
    assert!(again.error().contains("exists"), "{again:?}");
    assert_eq!(std::fs::read_to_string(file).unwrap(), before, "a key is never overwritten");
    std::fs::write(file, "nonsense").unwrap();
    let shown = run(&["keys", "show", file]);
    assert!(shown.error().contains("no secret key"), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_heard_once_it_is_let_in_and_no_more_once_its_key_is_withdrawn() {
    let server = NatsServer::start().await.unwrap();
    let keys = tempfile::tempdir().unwrap();
    let [paris, tokyo, lima] = ["paris", "tokyo", "lima"].map(|name| key(keys.path(), name));
    let start = |name: &str, trusted: &str| {
        let file = keys.path().join(name);
        Node::with(&[
            "--node-name",
            name,
            "--nats-servers",
            &server.url(),
            "--namespaces",
            "{ default = { heartbeat_interval_ms = 50 } }",
            "--signatures-key-file",
            file.to_str().unwrap(),
            "--signatures-trusted",
            trusted,
        ])
    };
    let in_paris = start("paris", &format!("tokyo={tokyo}"));
    let in_tokyo = start("tokyo", &format!("paris={paris}"));
    let in_lima = start("lima", &format!("paris={paris}"));
    in_paris.run(&["put", "a", "1", "--ack", "peers:1", "--wait-ms", "10000"]).ok();
    in_lima.run(&["put", "b", "2"]).ok();
    until(&in_tokyo, &["keys", "list"], |list| list["refused"].as_u64() > Some(0));
    let heard = until(&in_tokyo, &["nodes"], |nodes| nodes["nodes"].as_array().unwrap().len() > 1);
    let names: Vec<_> = heard["nodes"].as_array().unwrap().iter().map(|node| &node["node"]).collect();
    assert!(!names.contains(&&"lima".into()), "it is not heard: {names:?}");
    assert!(in_tokyo.run(&["get", "b"]).error().contains("no-such-entity"));

    in_paris.run(&["keys", "trust", "lima", &lima]).ok();
    let waits = Instant::now() + DEADLINE;
    while in_tokyo.run(&["ls"]).ok().stdout != "a\nb\n" {
        assert!(Instant::now() < waits, "what lima wrote before it was let in does not come");
    }
    assert_eq!(in_tokyo.json(&["get", "b"])["value"], 2);
    let shown = in_tokyo.run(&["keys", "list"]).ok().stdout;
    assert!(shown.contains(&lima) && shown.contains("its own"), "{shown}");

    in_tokyo.run(&["keys", "withdraw", "lima", &lima, "--yes"]).ok();
    let is_withdrawn = |list: &Value| {
        let of_lima = list["keys"].as_array().unwrap().iter().find(|key| key["name"] == "lima");
        of_lima.is_some_and(|key| key["is_trusted"] == false)
    };
    until(&in_paris, &["keys", "list"], is_withdrawn);
    in_lima.run(&["put", "c", "3"]).ok();
    let before = in_paris.json(&["keys", "list"])["refused"].as_u64().unwrap();
    until(&in_paris, &["keys", "list"], |list| list["refused"].as_u64() > Some(before));
    assert!(in_paris.run(&["get", "c"]).error().contains("no-such-entity"));
    let own = in_paris.run(&["keys", "withdraw", "paris", &paris, "--yes"]);
    assert!(own.error().contains("at another node"), "{own:?}");
}

#[test]
fn a_node_that_does_not_sign_says_how_it_would() {
    let node = Node::start();
    let listed = node.run(&["keys", "list"]);
    assert!(listed.error().contains("signatures.key_file"), "{listed:?}");
}
