use archipelago_server::config::ConflictStrategyName;
use reqwest::{Method, StatusCode};
use serde_json::json as value;

use crate::support::{NAMESPACE, Served, header, is_problem, json};

#[tokio::test]
async fn what_was_put_is_read_patched_and_removed() {
    let served = Served::with(ConflictStrategyName::FieldMerge, |_| {}).await;
    is_problem(served.get("user%2F7").await, StatusCode::NOT_FOUND, "no-such-entity").await;
    let put = served.put("user%2F7", &value!({ "name": "Alice", "age": 30 })).await;
    assert_eq!(put.status(), StatusCode::OK);
    let receipt = json(put).await;
    assert_eq!(receipt["id"], "user/7");
    assert_eq!(receipt["reached"]["enough"], true);
    let patched =
        served.client.patch(served.entity("user%2F7")).json(&value!({ "age": 31 })).send().await.unwrap();
    assert_eq!(patched.status(), StatusCode::OK);
    assert_eq!(json(served.get("user%2F7").await).await, value!({ "name": "Alice", "age": 31 }));
    let removed = served.client.delete(served.entity("user%2F7")).send().await.unwrap();
    assert_eq!(removed.status(), StatusCode::OK);
    is_problem(served.get("user%2F7").await, StatusCode::NOT_FOUND, "no-such-entity").await;
}

#[tokio::test]
async fn a_write_with_a_stale_tag_changes_nothing() {
    let served = Served::alone().await;
    served.put("a", &value!(1)).await;
    let first = header(&served.get("a").await, "etag");
    let write = async |tag: &str, number: u64| {
        let request = served.client.put(served.entity("a")).header("if-match", tag).json(&number);
        request.send().await.unwrap()
    };
    assert_eq!(write(&first, 2).await.status(), StatusCode::OK);
    is_problem(write(&first, 3).await, StatusCode::PRECONDITION_FAILED, "version-mismatch").await;
    assert_eq!(json(served.get("a").await).await, value!(2));
    assert_eq!(write("*", 4).await.status(), StatusCode::OK);
    let only_new = served.client.put(served.entity("a")).header("if-none-match", "*").json(&5);
    is_problem(only_new.send().await.unwrap(), StatusCode::PRECONDITION_FAILED, "version-mismatch").await;
    let tag = header(&served.get("a").await, "etag");
    let again = served.client.get(served.entity("a")).header("if-none-match", tag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn the_answer_to_a_write_has_the_tag_that_a_read_shows() {
    for strategy in
        [ConflictStrategyName::Lww, ConflictStrategyName::FieldMerge, ConflictStrategyName::Manual]
    {
        let served = Served::with(strategy, |_| {}).await;
        let put = served.put("a", &value!({ "n": 1 })).await;
        let tag = header(&put, "etag");
        assert_eq!(format!("\"{}\"", json(put).await["etag"].as_str().unwrap()), tag);
        assert_eq!(header(&served.get("a").await, "etag"), tag);
        let patch =
            served.client.patch(served.entity("a")).header("if-match", &tag).json(&value!({ "m": 2 }));
        let patch = patch.send().await.unwrap();
        assert_eq!(patch.status(), StatusCode::OK);
        assert_eq!(header(&patch, "etag"), header(&served.get("a").await, "etag"));
        // Who writes without having seen the newest value makes a sibling, or loses.
        let context = header(&patch, "archipelago-session");
        served.put("a", &value!({ "n": 3 })).await;
        let stale = served.client.put(served.entity("a")).header("archipelago-context", context);
        let stale = stale.json(&value!({ "n": 4 })).send().await.unwrap();
        assert_eq!(header(&stale, "etag"), header(&served.get("a").await, "etag"), "{strategy:?}");
        let removed = served.client.delete(served.entity("a")).send().await.unwrap();
        assert!(removed.headers().get("etag").is_none());
    }
}

#[tokio::test]
async fn of_concurrent_writes_with_one_tag_one_happens() {
    let served = Served::alone().await;
    served.put("a", &value!(0)).await;
    let tag = header(&served.get("a").await, "etag");
    let writes = (1..=20)
        .map(|number| served.client.put(served.entity("a")).header("if-match", &tag).json(&number).send());
    let answers = futures::future::join_all(writes).await;
    let done = answers.iter().filter(|answer| answer.as_ref().unwrap().status() == StatusCode::OK).count();
    assert_eq!(done, 1);
}

#[tokio::test]
async fn a_session_from_elsewhere_is_waited_for_and_then_refused() {
    let served = Served::alone().await;
    let (one, other) = (served.put("a", &value!(1)).await, Served::alone().await);
    let session = header(&one, "archipelago-session");
    let read = |node: &Served| {
        let request = node.client.get(format!("{}?wait_ms=20", node.entity("a")));
        request.header("archipelago-session", &session).send()
    };
    assert_eq!(read(&served).await.unwrap().status(), StatusCode::OK);
    is_problem(read(&other).await.unwrap(), StatusCode::SERVICE_UNAVAILABLE, "not-caught-up").await;
}

#[tokio::test]
async fn a_write_with_an_old_context_is_a_conflict_that_can_be_resolved() {
    let served = Served::with(ConflictStrategyName::Manual, |_| {}).await;
    let first = served.put("a", &value!("one")).await;
    let context = header(&first, "archipelago-session");
    served.put("a", &value!("two")).await;
    let stale = served.client.put(served.entity("a")).header("archipelago-context", context).json("three");
    assert_eq!(stale.send().await.unwrap().status(), StatusCode::OK);
    let conflicts = served.json(&format!("/v1/namespaces/{NAMESPACE}/conflicts")).await;
    let conflict = &conflicts["conflicts"][0];
    assert_eq!(conflict["id"], "a");
    assert_eq!(conflict["versions"].as_array().unwrap().len(), 2);
    let resolution = value!({ "context": conflict["context"], "value": "four" });
    let resolved = served.client.post(served.entity("a/resolve")).json(&resolution).send().await.unwrap();
    assert_eq!(resolved.status(), StatusCode::OK);
    let conflicts = served.json(&format!("/v1/namespaces/{NAMESPACE}/conflicts")).await;
    assert_eq!(conflicts["conflicts"], value!([]));
    assert_eq!(json(served.get("a").await).await, value!("four"));
    let why = served.json(&format!("/v1/namespaces/{NAMESPACE}/entities/a/explain")).await;
    assert_eq!(why["strategy"], "manual");
    assert_eq!(why["conflicts"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn pages_of_a_list_give_each_entity_once() {
    let served = Served::alone().await;
    for number in 0..25 {
        served.put(&format!("item%2F{number:02}"), &value!(number)).await;
    }
    served.put("other", &value!(0)).await;
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/namespaces/{NAMESPACE}/entities?prefix=item/&limit=10&values=true{cursor}");
        let page = served.json(&path).await;
        let entities = page["entities"].as_array().unwrap().clone();
        ids.extend(entities.iter().map(|entity| entity["value"].as_u64().unwrap()));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(ids, (0..25).collect::<Vec<_>>());
}

#[tokio::test]
async fn message_pack_goes_in_and_out() {
    let served = Served::alone().await;
    let body = rmp_serde::to_vec_named(&value!({ "name": "Alice" })).unwrap();
    let put = served
        .client
        .put(served.entity("a"))
        .header("content-type", "application/msgpack")
        .body(body.clone());
    assert_eq!(put.send().await.unwrap().status(), StatusCode::OK);
    let get =
        served.client.get(served.entity("a")).header("accept", "application/msgpack").send().await.unwrap();
    assert_eq!(header(&get, "content-type"), "application/msgpack");
    assert_eq!(get.bytes().await.unwrap(), body);
    let get = served.client.get(served.entity("a")).header("accept", "text/html").send().await.unwrap();
    is_problem(get, StatusCode::NOT_ACCEPTABLE, "not-acceptable").await;
    let put =
        served.client.put(served.entity("a")).header("content-type", "text/plain").body("x").send().await;
    is_problem(put.unwrap(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type").await;
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_understood_are_problems() {
    let served = Served::alone().await;
    let get = |path: &'static str| served.request(Method::GET, path).send();
    is_problem(get("/v1/nothing").await.unwrap(), StatusCode::NOT_FOUND, "no-such-path").await;
    let foreign = get("/v1/namespaces/none/entities/a").await.unwrap();
    is_problem(foreign, StatusCode::NOT_FOUND, "no-such-namespace").await;
    let posted = served.client.post(served.entity("a")).send().await.unwrap();
    is_problem(posted, StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed").await;
    for query in ["ack=nobody", "wait_ms=x", "wait_ms=9999999", "unknown=1"] {
        let put = served.client.put(format!("{}?{query}", served.entity("a"))).json(&1).send().await.unwrap();
        is_problem(put, StatusCode::BAD_REQUEST, "invalid-request").await;
    }
    let put =
        served.client.put(served.entity("a")).header("content-type", "application/json").body("{").send();
    is_problem(put.await.unwrap(), StatusCode::BAD_REQUEST, "invalid-request").await;
    let long = "x".repeat(600);
    is_problem(served.put(&long, &value!(1)).await, StatusCode::BAD_REQUEST, "invalid-request").await;
    is_problem(served.get("a").await, StatusCode::NOT_FOUND, "no-such-entity").await;
}

#[tokio::test]
async fn a_node_started_again_has_what_was_acknowledged() {
    let served = Served::alone().await;
    served.put("a", &value!({ "kept": true })).await;
    let Served { node, folder, .. } = served;
    assert!(!node.drain().await.store_failed);
    let path = folder.path().to_owned();
    let again = Served::with(ConflictStrategyName::Lww, |config| config.node.data = path).await;
    assert_eq!(json(again.get("a").await).await, value!({ "kept": true }));
}

#[tokio::test]
async fn each_operation_of_a_batch_succeeds_or_fails_by_itself() {
    let served = Served::alone().await;
    served.put("a", &value!(1)).await;
    let post = async |operations: serde_json::Value| {
        let path = served.url(&format!("/v1/namespaces/{NAMESPACE}/batch"));
        served.client.post(path).json(&value!({ "operations": operations })).send().await.unwrap()
    };
    let stale = "0".repeat(32);
    let batch = value!([
        { "op": "put", "id": "b", "value": 2 },
        { "op": "put", "id": "a", "value": 3, "if_match": stale },
        { "op": "delete", "id": "c" },
    ]);
    let results = json(post(batch).await).await;
    let statuses: Vec<_> =
        results["results"].as_array().unwrap().iter().map(|result| &result["status"]).collect();
    assert_eq!(statuses, [200, 412, 200]);
    assert_eq!(results["results"][1]["problem"]["type"], "urn:archipelago:problem:version-mismatch");
    assert_eq!(json(served.get("a").await).await, value!(1));
    let twice = value!([{ "op": "delete", "id": "a" }, { "op": "delete", "id": "a" }]);
    is_problem(post(twice).await, StatusCode::BAD_REQUEST, "invalid-request").await;
    let many: Vec<_> = (0..300).map(|id| value!({ "op": "delete", "id": id.to_string() })).collect();
    is_problem(post(value!(many)).await, StatusCode::BAD_REQUEST, "invalid-request").await;
}
