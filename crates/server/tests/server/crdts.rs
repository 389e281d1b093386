use archipelago_server::config::ConflictStrategyName;
use reqwest::StatusCode;
use serde_json::json as value;

use crate::support::{NAMESPACE, Served, is_problem, json};

#[tokio::test]
async fn counters_count_and_sets_hold_what_was_added() {
    let served = Served::with(ConflictStrategyName::CrdtMerge, |_| {}).await;
    let post = async |path: &str, body| {
        let answer = served.client.post(served.entity(path)).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
    };
    post("post%2F1/counters/views", value!({ "by": 5 })).await;
    post("post%2F1/counters/views", value!({ "by": -2 })).await;
    post("post%2F1/sets/tags", value!({ "add": ["red", "blue"] })).await;
    post("post%2F1/sets/tags", value!({ "add": ["green"], "remove": ["red"] })).await;
    let read = async |path: &str| served.json(&format!("/v1/namespaces/{NAMESPACE}/entities/{path}")).await;
    assert_eq!(read("post%2F1/counters/views").await, value!({ "value": 3 }));
    assert_eq!(read("post%2F1/sets/tags").await, value!({ "value": ["blue", "green"] }));
    assert_eq!(read("post%2F1").await, value!({ "views": 3, "tags": ["blue", "green"] }));
    let wrong =
        served.client.post(served.entity("post%2F1/counters/tags")).json(&value!({ "by": 1 })).send().await;
    is_problem(wrong.unwrap(), StatusCode::CONFLICT, "crdt-field").await;
    let none = served.client.get(served.entity("post%2F1/counters/none")).send().await.unwrap();
    is_problem(none, StatusCode::NOT_FOUND, "no-such-field").await;
}

#[tokio::test]
async fn who_reads_an_entity_and_writes_it_back_does_not_flatten_its_crdts() {
    let served = Served::with(ConflictStrategyName::CrdtMerge, |_| {}).await;
    let count = || served.client.post(served.entity("a/counters/views")).json(&value!({ "by": 7 })).send();
    count().await.unwrap();
    let mut whole = json(served.get("a").await).await;
    whole["title"] = value!("Hello");
    assert_eq!(served.put("a", &whole).await.status(), StatusCode::OK);
    count().await.unwrap();
    assert_eq!(json(served.get("a").await).await, value!({ "title": "Hello", "views": 14 }));
    is_problem(served.put("a", &whole).await, StatusCode::CONFLICT, "crdt-field").await;
    let patch = served.client.patch(served.entity("a")).json(&value!({ "views": 0 })).send().await.unwrap();
    is_problem(patch, StatusCode::CONFLICT, "crdt-field").await;
    assert_eq!(json(served.get("a").await).await["views"], value!(14));
}

#[tokio::test]
async fn who_resolves_an_entity_does_not_flatten_its_crdts() {
    let served = Served::with(ConflictStrategyName::CrdtMerge, |_| {}).await;
    let count = || served.client.post(served.entity("a/counters/views")).json(&value!({ "by": 7 })).send();
    count().await.unwrap();
    let shown = served.json(&format!("/v1/namespaces/{NAMESPACE}/entities/a/versions")).await;
    let resolve = async |whole: serde_json::Value| {
        let resolution = value!({ "context": shown["context"], "value": whole });
        served.client.post(served.entity("a/resolve")).json(&resolution).send().await.unwrap()
    };
    is_problem(resolve(value!({ "views": 0 })).await, StatusCode::CONFLICT, "crdt-field").await;
    assert_eq!(resolve(value!({ "views": 7, "title": "Hello" })).await.status(), StatusCode::OK);
    count().await.unwrap();
    assert_eq!(json(served.get("a").await).await, value!({ "title": "Hello", "views": 14 }));
}

#[tokio::test]
async fn other_strategies_have_no_counters() {
    let served = Served::alone().await;
    let wrong =
        served.client.post(served.entity("a/counters/n")).json(&value!({ "by": 1 })).send().await.unwrap();
    is_problem(wrong, StatusCode::CONFLICT, "wrong-strategy").await;
}
