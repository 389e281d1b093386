//! What operators do with a node that runs, each verb for success and for a clear failure.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    process::Stdio,
};

use serde_json::{Value, json};

#[path = "support/node.rs"]
mod node;

use node::{Node, archipelago, run};

#[test]
fn a_value_is_put_read_patched_listed_and_removed() {
    let node = Node::start();
    let put = node.json(&["put", "user/7", r#"{"name":"Alice","city":"Lisbon"}"#]);
    assert_eq!(put["id"], "user/7");
    assert_eq!(node.run(&["get", "user/7"]).ok().json(), json!({ "name": "Alice", "city": "Lisbon" }));
    let told = node.run(&["patch", "user/7", r#"{"city":"Porto"}"#]).ok();
    assert!(told.stdout.starts_with("user/7: written as us-east@"), "{told:?}");
    let got = node.json(&["get", "user/7"]);
    assert_eq!(got["value"]["city"], "Porto");
    assert_eq!(got["etag"].as_str().unwrap().len(), 32);
    node.run(&["put", "user/8", "[1, 2]"]).ok();
    node.run(&["put", "other", "null"]).ok();
    assert_eq!(node.run(&["ls"]).ok().stdout, "other\nuser/7\nuser/8\n");
    assert_eq!(node.run(&["ls", "user/8", "--values"]).ok().stdout, "user/8\t[1,2]\n");
    assert_eq!(node.run(&["ls", "--limit", "1"]).ok().stdout, "other\n");
    let listed = node.run(&["ls", "user/", "--values", "--json"]).ok().lines();
    assert_eq!(listed[0]["etag"], got["etag"]);
    assert_eq!(listed[1], json!({ "id": "user/8", "value": [1, 2], "etag": listed[1]["etag"] }));
    node.run(&["delete", "user/7"]).ok();
    assert!(node.run(&["get", "user/7"]).error().contains("no-such-entity"));
}

#[test]
fn a_value_comes_from_a_file_and_from_standard_input() {
    let node = Node::start();
    let file = node.folder.path().join("value.json");
    std::fs::write(&file, "{\"from\": \"a file\"}\n").unwrap();
    node.run(&["put", "a", &format!("@{}", file.display())]).ok();
    assert_eq!(node.json(&["get", "a"])["value"]["from"], "a file");
    let mut child =
        archipelago().args(["put", "b", "-", "--node", &node.url]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"\"from standard input\"").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(node.json(&["get", "b"])["value"], "from standard input");
    let missing = node.run(&["put", "c", "@/nowhere/value.json"]);
    assert!(missing.error().contains("cannot read /nowhere/value.json"), "{missing:?}");
    let text = node.run(&["put", "c", "text"]);
    assert!(text.error().contains("a text is written with quotes"), "{text:?}");
}

#[test]
fn a_list_goes_over_many_pages() {
    let node = Node::start();
    let file = node.folder.path().join("many.jsonl");
    let lines: String = (0..1_234).map(|at| format!("{{\"id\":\"n/{at:04}\",\"value\":{at}}}\n")).collect();
    std::fs::write(&file, lines).unwrap();
    node.run(&["import", file.to_str().unwrap()]).ok();
    let listed = node.run(&["ls", "n/"]).ok();
    let wanted: Vec<String> = (0..1_234).map(|at| format!("n/{at:04}")).collect();
    assert_eq!(listed.stdout.lines().collect::<Vec<_>>(), wanted);
}

#[test]
fn a_write_of_what_changed_meanwhile_is_refused() {
    let node = Node::start();
    node.run(&["put", "a", "1"]).ok();
    let etag = node.json(&["get", "a"])["etag"].as_str().unwrap().to_owned();
    node.run(&["put", "a", "2", "--if-match", &etag]).ok();
    for args in [
        &["put", "a", "3", "--if-match", &etag][..],
        &["delete", "a", "--if-match", &etag],
        &["put", "a", "3", "--if-absent"],
    ] {
        let refused = node.run(args);
        assert!(refused.error().contains("version-mismatch"), "{refused:?}");
    }
    assert_eq!(node.json(&["get", "a"])["value"], 2);
}

#[test]
fn a_write_that_does_not_come_as_far_as_asked_is_told() {
    let node = Node::start();
    let told = node.run(&["put", "a", "1", "--ack", "peers:1", "--wait-ms", "50"]);
    assert!(told.error().contains("not come as far"), "{told:?}");
    assert_eq!(node.json(&["get", "a"])["value"], 1);
    let wrong = node.run(&["put", "a", "1", "--ack", "everyone"]);
    assert!(wrong.error().contains("invalid-request"), "{wrong:?}");
}

#[test]
fn what_is_wrong_with_the_way_to_a_node_is_told() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    for verb in ["status", "nodes", "lag", "ls", "tail", "export"] {
        let ran = run(&[verb, "--node", &nobody]);
        assert!(ran.error().starts_with(&format!("no node answers at {nobody}: ")), "{ran:?}");
    }
    let ran = run(&["status", "--node", "localhost"]);
    assert!(ran.error().contains("--node is http://host:port"), "{ran:?}");

    let foreign = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", foreign.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in foreign.incoming() {
            let mut connection = connection.unwrap();
            let _ = connection.read(&mut [0; 1_024]);
            let _ = connection.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\n\r\nnginx");
        }
    });
    let ran = run(&["get", "a", "--node", &url]);
    assert!(ran.error().contains("is no node: 404 Not Found \"nginx\""), "{ran:?}");

    let node = Node::start();
    let ran = node.run(&["ls", "--namespace", "shop"]);
    assert!(
        ran.error().contains("no-such-namespace") && ran.error().contains("archipelago status"),
        "{ran:?}"
    );
    let ran = node.run(&["get", "."]);
    assert!(ran.error().contains("cannot be written in a path"), "{ran:?}");
    let ran = node.run(&["get", "nobody", "--json"]);
    assert_eq!((ran.status, ran.json()["problem"].as_str()), (Some(1), Some("no-such-entity")), "{ran:?}");
    assert_eq!(node.run(&["get"]).status, Some(2));
    assert_eq!(node.run(&["put", "a"]).status, Some(2));
}

#[test]
fn a_token_is_needed_where_there_are_some() {
    let printed = run(&["token", "new", "--role", "read"]).ok().stdout;
    let token = printed.lines().next().unwrap();
    let hash = printed.split("sha256 = ").nth(1).unwrap().trim();
    let node = Node::with(&["--tokens", &format!("{{ look = {{ role = \"read\", sha256 = {hash} }} }}")]);
    let ran = node.run(&["ls"]);
    assert!(ran.error().contains("unauthorized") && ran.error().contains("ARCHIPELAGO_TOKEN"), "{ran:?}");
    assert!(node.run(&["ls", "--token", "archipelago_wrong"]).error().contains("unauthorized"));
    node.run(&["ls", "--token", token]).ok();
    let file = node.folder.path().join("token");
    std::fs::write(&file, format!("{token}\n")).unwrap();
    node.run(&["ls", "--token-file", file.to_str().unwrap()]).ok();
    let ran = node.run(&["put", "a", "1", "--token", token]);
    assert!(ran.error().contains("forbidden") && ran.error().contains("role"), "{ran:?}");
    let ran = node.run(&["ls", "--token-file", "/nowhere"]);
    assert!(ran.error().contains("cannot read /nowhere"), "{ran:?}");
}

#[test]
fn a_node_tells_how_it_is() {
    let node = Node::start();
    let status = node.json(&["status"]);
    assert_eq!(
        (&status["node"], &status["namespaces"]["default"]["link"]),
        (&json!("us-east"), &json!("absent"))
    );
    let shown = node.run(&["status"]).ok().stdout;
    assert!(
        shown.starts_with("node us-east at http://127.0.0.1:") && shown.contains("multi-master"),
        "{shown}"
    );
    assert_eq!(node.json(&["nodes"])["nodes"][0]["is_self"], true);
    assert!(node.run(&["nodes"]).ok().stdout.contains("is the one asked"));
    assert_eq!(node.json(&["lag"]), json!({ "namespaces": { "default": [] } }));
    assert_eq!(node.run(&["lag"]).ok().stdout, "no other node was heard yet\n");
}

#[test]
fn lag_is_watched_until_it_is_interrupted() {
    let node = Node::start();
    let mut child = archipelago()
        .args(["lag", "--watch", "--interval-ms", "50", "--json", "--node", &node.url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(line["namespaces"]["default"], json!([]));
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn changes_are_followed_over_a_restart_of_the_node() {
    let node = Node::start();
    node.run(&["put", "before", "0"]).ok();
    let mut child = archipelago()
        .args(["tail", "--prefix", "in/", "--json", "--node", &node.url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut complaints = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    // From now on: whatever is written once it follows.
    let first = loop_until_followed(&node, &mut next);
    assert_eq!((&first["event"], &first["id"]), (&json!("change"), &json!("in/first")));
    node.run(&["put", "out/1", "1"]).ok();
    let listen = node.url.strip_prefix("http://").unwrap().to_owned();
    let folder = node.end();
    assert!(complaints.next().unwrap().unwrap().contains("going on where it was"));
    let node = Node::on(folder, &listen, &[]);
    node.run(&["put", "in/2", "2"]).ok();
    node.run(&["delete", "in/first"]).ok();
    // One may come twice, so the last of `in/first` may be among them.
    let mut seen: Vec<Value> = Vec::new();
    while !seen.iter().any(|change| change["is_removed"] == true) {
        seen.push(next());
    }
    assert!(seen.iter().all(|change| change["id"].as_str().unwrap().starts_with("in/")), "{seen:?}");
    assert!(seen.iter().any(|change| change["id"] == "in/2" && change["value"] == 2), "{seen:?}");
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Writes until a change comes: the tail may not follow yet when the first ones are written.
fn loop_until_followed(node: &Node, next: &mut impl FnMut() -> Value) -> Value {
    let (url, is_followed) =
        (node.url.clone(), std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let seen = is_followed.clone();
    let writer = std::thread::spawn(move || {
        let mut count = 0;
        while !seen.load(std::sync::atomic::Ordering::Relaxed) {
            count += 1;
            run(&["put", "in/first", &count.to_string(), "--node", &url]).ok();
        }
    });
    let first = next();
    is_followed.store(true, std::sync::atomic::Ordering::Relaxed);
    writer.join().unwrap();
    first
}

#[test]
fn a_tail_begins_where_it_is_told_and_shows_what_was_asked_for() {
    let node = Node::start();
    for at in 0..5 {
        node.run(&["put", &format!("e/{at}"), &at.to_string()]).ok();
    }
    node.run(&["delete", "e/3"]).ok();
    let shown = node.run(&["tail", "--since", "0", "--count", "2"]).ok();
    assert_eq!(shown.stdout, "e/0\t0\ne/1\t1\n");
    let removed = node.run(&["tail", "--since", "0", "--only", "removed", "--count", "1"]).ok();
    assert_eq!(removed.stdout, "e/3\tremoved\n");
    let lines = node.run(&["tail", "--since", "0", "--count", "2", "--json"]).ok().lines();
    let since = lines[1]["session"].as_str().unwrap();
    let on = node.run(&["tail", "--since", since, "--count", "1"]).ok();
    assert_eq!(on.stdout, "e/2\t2\n");
    let wrong = node.run(&["tail", "--since", "yesterday"]);
    assert!(wrong.error().contains("invalid-request"), "{wrong:?}");
}

/// Two values of an entity that did not know of each other.
async fn conflict(node: &Node, id: &str) {
    let client = reqwest::Client::new();
    let url = format!("{}/v1/namespaces/default/entities/{id}", node.url);
    let put = |value: Value| client.put(&url).json(&value);
    let first = put(json!("base")).send().await.unwrap();
    let session = first.headers()["archipelago-session"].clone();
    for value in ["ours", "theirs"] {
        let written = put(json!(value)).header("archipelago-context", &session).send().await.unwrap();
        assert_eq!(written.status(), 200);
    }
}

#[tokio::test]
async fn a_conflict_is_listed_shown_explained_and_resolved() {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let node = Node::with(&["--namespaces", "{ default = { strategy = \"manual\" } }"]);
    assert_eq!(node.run(&["conflicts", "list"]).ok().stdout, "no conflict waits for anyone\n");
    for id in ["a", "b", "c"] {
        conflict(&node, id).await;
    }
    let listed = node.run(&["conflicts", "list", "--json"]).ok().lines();
    assert_eq!(
        listed.iter().map(|conflict| conflict["id"].as_str().unwrap()).collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    assert!(node.run(&["conflicts", "list"]).ok().stdout.contains("\"theirs\""));
    let shown = node.json(&["conflicts", "show", "a"]);
    let versions = shown["versions"].as_array().unwrap();
    assert_eq!(versions.iter().map(|version| &version["value"]).collect::<Vec<_>>(), ["ours", "theirs"]);
    assert!(node.run(&["explain", "a"]).ok().stdout.contains("strategy manual: "));
    assert_eq!(node.json(&["explain", "a"])["strategy"], "manual");

    node.run(&["conflicts", "resolve", "a", "--take", versions[0]["dot"].as_str().unwrap()]).ok();
    node.run(&["conflicts", "resolve", "b", "--value", "\"both\""]).ok();
    node.run(&["conflicts", "resolve", "c", "--remove"]).ok();
    assert_eq!(node.json(&["get", "a"])["value"], "ours");
    assert_eq!(node.json(&["get", "b"])["value"], "both");
    assert!(node.run(&["get", "c"]).error().contains("no-such-entity"));
    assert!(node.run(&["conflicts", "list", "--json"]).ok().stdout.is_empty());
    assert!(node.run(&["conflicts", "list", "--past"]).ok().stdout.contains("\"theirs\""));

    let again = node.run(&["conflicts", "resolve", "b", "--remove"]);
    assert!(again.error().contains("is not conflicted"), "{again:?}");
    assert!(node.run(&["conflicts", "show", "nobody"]).error().contains("no-such-entity"));
    assert!(node.run(&["explain", "nobody"]).error().contains("no-such-entity"));
    assert_eq!(node.run(&["conflicts", "resolve", "b"]).status, Some(2));
}

#[test]
fn a_member_is_given_up_only_if_someone_says_so() {
    let node = Node::start();
    let members = node.json(&["members", "list"]);
    assert!(members["members"][0]["master"].as_str().unwrap().starts_with("us-east@"), "{members}");
    assert!(node.run(&["members", "list"]).ok().stdout.contains("us-east@"));
    let asked = node.run(&["members", "retire", "eu-west"]);
    assert!(asked.error().contains("add --yes"), "{asked:?}");
    let unknown = node.run(&["members", "retire", "eu-west", "--yes"]);
    assert!(unknown.error().contains("no-such-member"), "{unknown:?}");
}

#[test]
fn two_nodes_are_compared() {
    let (a, b) = (Node::start(), Node::start());
    let diff = |args: &[&str]| run(&[&["diff", &a.url, &b.url, "--settle-ms", "0"][..], args].concat());
    assert_eq!(diff(&[]).ok().stdout, "equal: 0 entities\n");
    a.run(&["put", "here", "1"]).ok();
    b.run(&["put", "there", "2"]).ok();
    let found = diff(&["--json"]);
    assert_eq!(found.status, Some(1), "{found:?}");
    let found = found.json();
    assert_eq!((&found["is_equal"], &found["compared"]), (&json!(false), &json!(2)));
    assert_eq!(
        (&found["differences"][0]["id"], &found["differences"][0]["b"]),
        (&json!("here"), &Value::Null)
    );
    assert_eq!(found["differences"][1]["b"]["value"], 2);
    let shown = diff(&[]);
    assert!(shown.status == Some(1) && shown.stdout.contains("2 of 2 entities differ"), "{shown:?}");
    assert!(diff(&["--prefix", "none/"]).ok().stdout.starts_with("equal"));
    let nobody = run(&["diff", &a.url, "http://127.0.0.1:1"]);
    assert!(nobody.error().contains("no node answers at http://127.0.0.1:1"), "{nobody:?}");
}

#[test]
fn a_node_with_a_certificate_is_spoken_to_over_tls() {
    let fixture = |name: &str| format!("{}/../server/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    let (certificate, key) = (fixture("tls.pem"), fixture("tls.key"));
    let node = Node::with(&["--http-tls-certificate", &certificate, "--http-tls-key", &key]);
    assert!(node.url.starts_with("https://"), "{}", node.url);
    node.run(&["put", "a", "1", "--ca", &certificate]).ok();
    let stranger = node.run(&["get", "a"]);
    assert!(
        stranger.error().contains("is not to be trusted") && stranger.error().contains("--ca"),
        "{stranger:?}"
    );
    let wrong = node.run(&["get", "a", "--ca", &key]);
    assert!(wrong.error().contains("there is no certificate in it"), "{wrong:?}");
    let missing = node.run(&["get", "a", "--ca", "/nowhere.pem"]);
    assert!(missing.error().contains("cannot read /nowhere.pem"), "{missing:?}");
    let plain = run(&["get", "a", "--node", &node.url.replace("https", "http")]);
    assert!(plain.error().contains("no node answers"), "{plain:?}");
}
