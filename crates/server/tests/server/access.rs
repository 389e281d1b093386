use archipelago_server::{ApiToken, Role, config::ConflictStrategyName};
use reqwest::{Method, StatusCode};
use serde_json::json as value;

use crate::support::{NAMESPACE, Served, admit, config, is_problem};

#[tokio::test]
async fn each_role_may_do_what_it_is_for_and_nobody_else_anything() {
    let mut tokens = Vec::new();
    let served = Served::with(ConflictStrategyName::Lww, |config| {
        tokens = Role::ALL.map(|role| admit(config, role.name(), role)).to_vec();
    })
    .await;
    let retire = format!("/v1/namespaces/{NAMESPACE}/members/nobody/retire");
    let entity = format!("/v1/namespaces/{NAMESPACE}/entities/a");
    // What passes the guard finds no entity, and no member of that name.
    let asked = [
        (Method::DELETE, &entity, Role::Write),
        (Method::GET, &entity, Role::Read),
        (Method::POST, &retire, Role::Admin),
    ];
    for (method, path, needed) in asked {
        for (role, token) in Role::ALL.iter().zip(&tokens) {
            let answer =
                served.request(method.clone(), path).bearer_auth(token.reveal()).send().await.unwrap();
            let is_refused = answer.status() == StatusCode::FORBIDDEN;
            assert_eq!(is_refused, *role < needed, "{method} {path} as {role}: {}", answer.status());
        }
        let without = served.request(method.clone(), path).send().await.unwrap();
        is_problem(without, StatusCode::UNAUTHORIZED, "unauthorized").await;
        let wrong = served.request(method, path).bearer_auth(ApiToken::mint().reveal()).send().await.unwrap();
        is_problem(wrong, StatusCode::UNAUTHORIZED, "unauthorized").await;
    }
}

#[tokio::test]
async fn without_a_token_nothing_but_the_health_is_told() {
    let served =
        Served::with(ConflictStrategyName::Lww, |config| drop(admit(config, "one", Role::Read))).await;
    for path in ["/health/live", "/health/ready", "/health/replica"] {
        let answer = served.request(Method::GET, path).send().await.unwrap();
        assert!([StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE].contains(&answer.status()), "{path}");
    }
    for path in ["/metrics", "/cluster/status", "/v1/openapi.json", "/v1/namespaces", "/nothing"] {
        let answer = served.request(Method::GET, path).send().await.unwrap();
        is_problem(answer, StatusCode::UNAUTHORIZED, "unauthorized").await;
    }
}

#[tokio::test]
async fn on_loopback_without_tokens_pages_of_other_sites_can_do_nothing() {
    let served = Served::alone().await;
    assert_eq!(served.put("a", &value!(1)).await.status(), StatusCode::OK);
    let rebound = served.client.get(served.entity("a")).header("host", "evil.example").send().await.unwrap();
    is_problem(rebound, StatusCode::FORBIDDEN, "forbidden").await;
    let foreign =
        served.client.delete(served.entity("a")).header("origin", "https://evil.example").send().await;
    is_problem(foreign.unwrap(), StatusCode::FORBIDDEN, "forbidden").await;
    assert_eq!(served.get("a").await.status(), StatusCode::OK);
}

#[test]
fn a_node_that_nobody_could_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder, ConflictStrategyName::Lww);
    config.http.listen = "0.0.0.0:0".parse().unwrap();
    assert!(config.check().unwrap_err().to_string().starts_with("tokens: "));
    admit(&mut config, "one", Role::Admin);
    config.check().unwrap();
}

#[test]
fn a_token_is_shown_by_nothing_that_is_logged() {
    let token = ApiToken::mint();
    assert_eq!(format!("{token:?}"), "ApiToken(***)");
    assert!(token.reveal().len() > 50);
    assert_ne!(token.reveal(), ApiToken::mint().reveal());
}
