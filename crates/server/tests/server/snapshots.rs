use archipelago_server::config::ConflictStrategyName;
use reqwest::{Method, StatusCode};
use serde_json::json as value;

use crate::support::{NAMESPACE, Served, is_problem, json};

#[tokio::test]
async fn a_snapshot_is_made_listed_and_found_whole_until_it_is_damaged() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().to_owned();
    let served =
        Served::with(ConflictStrategyName::Lww, |config| config.snapshots.folder = Some(folder.clone()))
            .await;
    for number in 0..5 {
        served.put(&format!("k{number}"), &value!(number)).await;
    }
    let snapshots = format!("/v1/namespaces/{NAMESPACE}/snapshots");
    assert_eq!(served.json(&snapshots).await, value!({ "snapshots": [] }));
    let made = served.request(Method::POST, &snapshots).send().await.unwrap();
    assert_eq!(made.status(), StatusCode::CREATED);
    let made = json(made).await;
    assert_eq!(made["entities"], 5);
    assert_eq!(served.json(&snapshots).await, value!({ "snapshots": [made] }));
    let name = made["name"].as_str().unwrap();
    let verify = || served.request(Method::POST, &format!("{snapshots}/{name}/verify")).send();
    assert_eq!(verify().await.unwrap().status(), StatusCode::OK);
    for foreign in ["other-000000000001-a-0000000000000001", "..%2F..%2Fnode", "shop-..%2Fx", "shop-none"] {
        let answer = served.request(Method::GET, &format!("{snapshots}/{foreign}")).send().await.unwrap();
        is_problem(answer, StatusCode::NOT_FOUND, "no-such-snapshot").await;
    }
    let file = folder.join(format!("{name}.snapshot"));
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 4;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    is_problem(verify().await.unwrap(), StatusCode::INTERNAL_SERVER_ERROR, "damaged").await;
}

#[tokio::test]
async fn without_a_folder_there_are_no_snapshots() {
    let served = Served::alone().await;
    let snapshots = format!("/v1/namespaces/{NAMESPACE}/snapshots");
    for method in [Method::GET, Method::POST] {
        let answer = served.request(method, &snapshots).send().await.unwrap();
        is_problem(answer, StatusCode::CONFLICT, "not-configured").await;
    }
}
