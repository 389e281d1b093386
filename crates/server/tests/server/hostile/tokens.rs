use archipelago_server::{
    ApiToken, Role,
    config::{ConflictStrategyName, TokenSection},
};
use reqwest::{Method, StatusCode};

use super::{is_unharmed, log::Log, refused};
use crate::support::Served;

/// How often somebody guesses.
const GUESSES: usize = 500;

#[tokio::test]
async fn whoever_guesses_tokens_learns_nothing_and_fills_no_log() {
    let log = Log::begin();
    let token = ApiToken::mint();
    let served = Served::with(ConflictStrategyName::Lww, |config| {
        let mut section = TokenSection::default();
        (section.role, section.sha256) = (Role::Read, Some(token.hash()));
        config.tokens.insert("one".to_owned(), section);
    })
    .await;
    let mut told = None;
    for guess in 0..GUESSES {
        let wrong = match guess % 3 {
            0 => ApiToken::mint().reveal().to_owned(),
            1 => token.reveal()[..guess % (token.reveal().len() - 1) + 1].to_owned(),
            _ => format!("{}x", token.reveal()),
        };
        let answer = served
            .request(Method::GET, "/v1/namespaces")
            .bearer_auth(wrong)
            .send()
            .await
            .expect("what the test stands on");
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        let body = answer.text().await.expect("what the test stands on");
        assert_eq!(*told.get_or_insert_with(|| body.clone()), body, "one guess is answered as any other");
    }
    assert_eq!(log.count(&refused("unauthorized")), 1, "{}", log.text());
    // Who may read and tries to write is another matter.
    for _ in 0..GUESSES {
        let entity = served
            .client
            .delete(served.entity("a"))
            .bearer_auth(token.reveal())
            .send()
            .await
            .expect("what the test stands on");
        assert_eq!(entity.status(), StatusCode::FORBIDDEN);
    }
    assert_eq!(log.count(&refused("forbidden")), 1, "{}", log.text());
    assert!(!log.text().contains(&token.reveal()[..20]), "a token is in the log: {}", log.text());
    let metrics = served
        .request(Method::GET, "/metrics")
        .bearer_auth(token.reveal())
        .send()
        .await
        .expect("what the test stands on");
    let counted = format!("archipelago_clients_refused_total{{reason=\"unauthorized\"}} {GUESSES}");
    assert!(metrics.text().await.expect("what the test stands on").contains(&counted));
    is_unharmed(&served).await;
}
