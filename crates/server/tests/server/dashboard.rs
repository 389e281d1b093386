use archipelago_server::{Role, config::ConflictStrategyName};
use reqwest::{Method, StatusCode};
use serde_json::json as value;

use crate::support::{Served, admit, header, is_problem};

#[tokio::test]
async fn the_page_needs_no_token_and_may_do_nothing_but_ask_its_node() {
    let served =
        Served::with(ConflictStrategyName::Lww, |config| drop(admit(config, "one", Role::Read))).await;
    for (path, kind) in [("/", "text/html"), ("/dashboard/app.js", "text/javascript")] {
        let answer = served.request(Method::GET, path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        assert!(header(&answer, "content-type").starts_with(kind), "{path}");
        let policy = header(&answer, "content-security-policy");
        for part in
            ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'none'"]
        {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
        let tag = header(&answer, "etag");
        let again = served.request(Method::GET, path).header("if-none-match", tag).send().await.unwrap();
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path}");
    }
    let other = served.request(Method::GET, "/dashboard/..%2FCargo.toml").send().await.unwrap();
    is_problem(other, StatusCode::NOT_FOUND, "no-such-path").await;
}

#[tokio::test]
async fn who_asks_is_told_what_its_token_may_do() {
    let mut tokens = Vec::new();
    let served = Served::with(ConflictStrategyName::Lww, |config| {
        tokens = Role::ALL.map(|role| (role, admit(config, role.name(), role))).to_vec();
    })
    .await;
    for (role, token) in tokens {
        let asked =
            served.request(Method::GET, "/v1/access").bearer_auth(token.reveal()).send().await.unwrap();
        assert_eq!(asked.json::<serde_json::Value>().await.unwrap(), value!({ "role": role.name() }));
    }
    let open = Served::alone().await;
    assert_eq!(open.json("/v1/access").await, value!({ "role": "admin" }));
}
