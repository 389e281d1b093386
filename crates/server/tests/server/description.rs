use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};

use crate::support::Served;

/// That every path of the router is in the document is held beside the router; here, that what is in the document is
/// served, and nothing else by the same paths.
#[tokio::test]
async fn the_document_names_every_method_of_its_paths_and_no_other() {
    let served = Served::alone().await;
    let document = served.json("/v1/openapi.json").await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 15, "{paths:?}");
    let methods = [Method::GET, Method::PUT, Method::POST, Method::PATCH, Method::DELETE];
    for (path, item) in paths {
        let real = path
            .replace("{namespace}", "none")
            .replace("{id}", "a")
            .replace("{field}", "f")
            .replace("{member}", "m")
            .replace("{snapshot}", "s")
            .replace("{file}", "app.js");
        for method in &methods {
            let is_described = item.get(method.as_str().to_lowercase()).is_some();
            let answer = served.request(method.clone(), &real).send().await.unwrap();
            let (status, body) = (answer.status(), answer.text().await.unwrap());
            assert_eq!(status != StatusCode::METHOD_NOT_ALLOWED, is_described, "{method} {path}: {status}");
            assert!(!body.contains("no-such-path"), "{method} {path}: {body}");
        }
    }
    let operations = paths.values().flat_map(|item| item.as_object().unwrap().values());
    let names: Vec<_> = operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
    let unique: BTreeSet<_> = names.iter().collect();
    assert_eq!(names.len(), unique.len(), "programs are made of these names: {names:?}");
    let is_open = |path: &str| path == "/" || path.starts_with("/health") || path.starts_with("/dashboard");
    for (path, item) in paths.iter().filter(|(path, _)| !is_open(path)) {
        for (method, operation) in item.as_object().unwrap() {
            assert!(operation["security"][0]["bearer"].is_array(), "{method} {path} has no role");
        }
    }
}
