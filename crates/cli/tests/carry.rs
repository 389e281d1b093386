//! Entities carried out of a node, into another one, and out of the folder of a store.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

#[path = "support/node.rs"]
mod node;

use node::{Node, archipelago, image, run};

/// A file of so many entities.
fn file(folder: &Path, count: usize) -> PathBuf {
    let path = folder.join("entities.jsonl");
    let lines: String =
        (0..count).map(|at| format!("{{\"id\": \"e/{at:05}\", \"value\": {{\"n\": {at}}}}}\n")).collect();
    fs::write(&path, lines).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn what_one_node_exports_another_one_imports() {
    let crdt = ["--namespaces", "{ default = { strategy = \"crdt-merge\" } }"];
    let (from, to) = (Node::with(&crdt), Node::with(&crdt));
    let entities = file(from.folder.path(), 250);
    assert_eq!(from.json(&["import", text(&entities)]), json!({ "written": 250, "left": 0 }));
    from.run(&["put", "other", "[1, {\"deep\": null}]"]).ok();
    let out = from.folder.path().join("out.jsonl");
    let told = from.run(&["export", "--to", text(&out)]).ok();
    assert!(told.stdout.starts_with("251 entities are in "), "{told:?}");
    assert!(told.stderr.contains("export: 251 entities"), "{told:?}");
    let printed = from.run(&["export"]).ok();
    assert_eq!(printed.stdout, fs::read_to_string(&out).unwrap());
    to.run(&["import", text(&out)]).ok();
    assert_eq!(to.run(&["export"]).ok().stdout, printed.stdout);
    assert_eq!(from.run(&["export", "--prefix", "e/0000"]).ok().stdout.lines().count(), 10);
    let left: Vec<_> =
        fs::read_dir(from.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_str().unwrap().contains(".place")), "{left:?}");
    let again = from.run(&["export", "--to", text(&out)]);
    assert!(again.error().contains("exists already"), "{again:?}");
}

#[test]
fn what_is_there_already_is_left_if_asked() {
    let node = Node::start();
    let entities = file(node.folder.path(), 20);
    node.run(&["put", "e/00007", "\"mine\""]).ok();
    assert_eq!(node.json(&["import", "--if-absent", text(&entities)]), json!({ "written": 19, "left": 1 }));
    assert_eq!(node.json(&["get", "e/00007"])["value"], "mine");
    node.run(&["import", text(&entities)]).ok();
    assert_eq!(node.json(&["get", "e/00007"])["value"], json!({ "n": 7 }));
}

#[test]
fn of_an_entity_that_stands_twice_the_last_line_counts() {
    let node = Node::start();
    let path = node.folder.path().join("twice.jsonl");
    fs::write(&path, "{\"id\":\"a\",\"value\":1}\n\n{\"id\":\"b\",\"value\":2}\n{\"id\":\"a\",\"value\":3}")
        .unwrap();
    node.run(&["import", text(&path)]).ok();
    assert_eq!(node.run(&["ls", "--values"]).ok().stdout, "a\t3\nb\t2\n");
}

#[test]
fn a_node_that_takes_little_at_once_gets_it_in_smaller_batches() {
    let node = Node::with(&["--http-batch-operations-max", "3", "--http-body-bytes-max", "400"]);
    let entities = file(node.folder.path(), 50);
    node.run(&["import", text(&entities)]).ok();
    assert_eq!(node.run(&["ls"]).ok().stdout.lines().count(), 50);
    let large = node.folder.path().join("large.jsonl");
    fs::write(
        &large,
        format!("{{\"id\":\"a\",\"value\":1}}\n{{\"id\":\"b\",\"value\":\"{}\"}}\n", "x".repeat(500)),
    )
    .unwrap();
    let refused = node.run(&["import", text(&large)]);
    assert!(refused.error().contains("large.jsonl, line 2: the node refuses \"b\""), "{refused:?}");
}

#[test]
fn a_line_that_cannot_be_written_is_named() {
    let node = Node::start();
    let path = node.folder.path().join("wrong.jsonl");
    for wrong in ["no JSON", "{\"id\": 7, \"value\": 1}", "{\"value\": 1}", "{\"id\": \"\", \"value\": 1}"] {
        fs::write(&path, format!("{{\"id\":\"a\",\"value\":1}}\n{wrong}\n")).unwrap();
        let refused = node.run(&["import", text(&path)]);
        assert!(refused.error().contains("wrong.jsonl, line 2: "), "{refused:?}");
        let _ = fs::remove_file(node.folder.path().join("wrong.jsonl.place"));
    }
    let missing = node.run(&["import", "/nowhere/file.jsonl"]);
    assert!(missing.error().contains("cannot read /nowhere/file.jsonl"), "{missing:?}");
}

#[test]
fn an_import_that_is_interrupted_goes_on_where_it_was() {
    let node = Node::start();
    let entities = file(node.folder.path(), 4_000);
    let place = node.folder.path().join("entities.jsonl.place");
    let mut child = archipelago()
        .args(["import", "--batch", "1", text(&entities), "--node", &node.url])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !place.exists() {
        assert_eq!(child.try_wait().unwrap(), None, "it ended too soon to be interrupted");
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let begun: Value = serde_json::from_slice(&fs::read(&place).unwrap()).unwrap();
    let lines = begun["at"]["lines"].as_u64().unwrap();
    assert!((1..4_000).contains(&lines), "{begun}");

    let foreign = Node::start().run(&["import", text(&entities)]);
    assert!(foreign.error().contains("it is of another import"), "{foreign:?}");

    let on = node.run(&["import", text(&entities), "--json"]).ok();
    assert!(on.stderr.contains(&format!("going on behind line {lines}")), "{on:?}");
    assert_eq!(on.json(), json!({ "written": 4_000, "left": 0 }));
    assert!(!place.exists());
    assert_eq!(node.run(&["ls"]).ok().stdout.lines().count(), 4_000);

    fs::write(&place, serde_json::to_vec(&begun).unwrap()).unwrap();
    fs::write(&entities, "{\"id\":\"another\",\"value\":\"file\"}\n".repeat(4_000)).unwrap();
    let changed = node.run(&["import", text(&entities)]);
    assert!(changed.error().contains("has changed since"), "{changed:?}");
}

#[test]
fn an_export_that_was_interrupted_goes_on_where_it_was() {
    let node = Node::start();
    let entities = file(node.folder.path(), 350);
    node.run(&["import", text(&entities)]).ok();
    let out = node.folder.path().join("out.jsonl");
    let whole = node.run(&["export"]).ok().stdout;
    // As one leaves it that was killed behind its second page, in the midst of writing the third.
    let pages: String = whole.lines().take(200).map(|line| format!("{line}\n")).collect();
    fs::write(node.folder.path().join("out.jsonl.part"), format!("{pages}{{\"id\":\"e/0")).unwrap();
    let client_cursor = {
        let page = reqwest_page(&node);
        page["next_cursor"].as_str().unwrap().to_owned()
    };
    let place = json!({
        "task": "export", "node": node.url, "namespace": "default", "what": "prefix \"\", as stored",
        "at": { "cursor": client_cursor, "entities": 200, "bytes": pages.len() },
    });
    fs::write(node.folder.path().join("out.jsonl.place"), place.to_string()).unwrap();
    let told = node.run(&["export", "--to", text(&out)]).ok();
    assert!(told.stderr.contains("going on behind 200 entities"), "{told:?}");
    assert_eq!(fs::read_to_string(&out).unwrap(), whole);
}

/// The first 200 entities, as the node lists them.
fn reqwest_page(node: &Node) -> Value {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let url = format!("{}/v1/namespaces/default/entities?limit=200", node.url);
        reqwest::get(url).await.unwrap().json().await.unwrap()
    })
}

#[test]
fn a_store_is_read_without_a_node_and_nothing_in_it_changes() {
    let node = Node::start();
    let entities = file(node.folder.path(), 300);
    node.run(&["import", text(&entities)]).ok();
    node.run(&["delete", "e/00299"]).ok();
    let (store, exported) = (node.store("default"), node.run(&["export"]).ok().stdout);
    let listed = node.run(&["ls", "--values", "--json"]).ok().stdout;
    let running = run(&["ls", "--store", &store]);
    assert!(running.error().contains("a node runs on"), "{running:?}");

    let folder = node.end();
    let before = image(folder.path());
    let store = folder.path().join("data/default");
    assert_eq!(run(&["export", "--store", text(&store)]).ok().stdout, exported);
    assert_eq!(run(&["ls", "--values", "--json", "--store", text(&store)]).ok().stdout, listed);
    assert_eq!(run(&["ls", "e/0000", "--store", text(&store)]).ok().stdout.lines().count(), 10);
    assert_eq!(
        run(&["get", "e/00007", "--json", "--store", text(&store)]).ok().json()["value"],
        json!({ "n": 7 })
    );
    let summary = run(&["status", "--json", "--store", text(&store)]).ok().json();
    assert_eq!(summary["entities"], 299, "{summary}");
    assert_eq!((&summary["namespace"], &summary["damaged"]), (&json!("default"), &json!([])));
    assert!(run(&["status", "--store", text(&store)]).ok().stdout.contains("us-east@"));
    let missing = run(&["get", "nobody", "--store", text(&store)]);
    assert!(missing.error().contains("was never written"), "{missing:?}");
    let nothing = run(&["ls", "--store", text(folder.path())]);
    assert!(nothing.error().contains("there is no store in"), "{nothing:?}");
    assert!(before == image(folder.path()), "something in the store changed");
}

#[test]
fn a_damaged_store_is_told_and_stays_as_it_is() {
    let node = Node::start();
    let entities = file(node.folder.path(), 300);
    node.run(&["import", text(&entities)]).ok();
    let folder = node.end();
    let store = folder.path().join("data/default");
    let journals = image(&store).into_iter().filter(|(path, _)| path.ends_with(".jnl"));
    let (path, mut bytes) =
        journals.max_by_key(|(_, bytes)| bytes.iter().filter(|byte| **byte != 0).count()).unwrap();
    // A byte in the midst of what was written.
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end / 2] ^= 0xff;
    fs::write(&path, &bytes).unwrap();
    let before = image(folder.path());
    for verb in ["ls", "status", "export"] {
        let told = run(&[verb, "--store", text(&store)]);
        // What is damaged may be found, or be cut off; but it is never mended in its place.
        assert!(matches!(told.status, Some(0 | 1)), "{told:?}");
        assert!(before == image(folder.path()), "{verb} changed something in the store");
    }
}

#[test]
fn whoever_has_read_enough_ends_an_export() {
    let node = Node::start();
    let entities = file(node.folder.path(), 5_000);
    node.run(&["import", text(&entities)]).ok();
    let mut child = archipelago()
        .args(["export", "--node", &node.url])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.success() && !told.contains("error"), "{told}");
}
