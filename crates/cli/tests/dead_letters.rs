//! Events that a subscriber of an application put aside, shown from the folder of its store.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::Path;

use archipelago::{EventSubscriber, FjallStore, MemoryBroker, MultiMasterManager, store::MemoryStore};
use serde_json::{Value, json};

#[path = "support/node.rs"]
mod node;

use node::run;

/// Puts one event aside, on which a handler failed.
async fn put_aside(folder: &Path) {
    let broker = MemoryBroker::default();
    let master = MultiMasterManager::builder().master_id("us-east").namespace("people");
    let master = master.store(MemoryStore::new()).pipeline(broker.pipeline("people")).start().await.unwrap();
    let subscriber = EventSubscriber::builder()
        .name("mailer")
        .namespace("people")
        .pipeline(broker.pipeline("people"))
        .checkpoint_store(MemoryStore::new())
        .dead_letter_store(FjallStore::open(folder).unwrap())
        .max_retries(0)
        .on_event(|delivery| async move {
            match &*delivery.event.event.entity {
                "user/7" => Err("no such address".into()),
                _ => Ok(()),
            }
        })
        .start()
        .await
        .unwrap();
    master.write("user/7", &json!({ "name": "Alice" })).await.unwrap();
    master.write("user/8", "Bob").await.unwrap();
    while subscriber.metrics().events_dead_lettered == 0 {
        tokio::task::yield_now().await;
    }
    subscriber.close().await.unwrap();
    master.close().await.unwrap();
}

#[tokio::test]
async fn what_a_subscriber_put_aside_is_shown_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    put_aside(folder.path()).await;
    let store = folder.path().to_str().unwrap();
    let told = run(&["dead-letters", "--store", store]).ok();
    for word in ["mailer", "us-east", "put", "user/7", "no such address"] {
        assert!(told.stdout.contains(word), "{word}: {told:?}");
    }
    assert!(!told.stdout.contains("user/8"), "{told:?}");
    let told = run(&["dead-letters", "--store", store, "--subscriber", "mailer", "--json"]).ok();
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(told["value"], json!({ "name": "Alice" }));
    assert_eq!(
        (&told["id"], &told["operation"], &told["attempts"]),
        (&json!("user/7"), &json!("put"), &json!(1))
    );
    let none = run(&["dead-letters", "--store", store, "--subscriber", "other"]).ok();
    assert_eq!(none.stdout, "there are no dead letters\n");
}
