use archipelago_server::{ApiToken, Role, config::ConflictStrategyName};
use fantoccini::key::Key;
use serde_json::json as value;

use crate::{
    browser::Browser,
    support::{Served, admit},
};

async fn guarded() -> (Served, Vec<ApiToken>) {
    let mut tokens = Vec::new();
    let served = Served::with(ConflictStrategyName::Lww, |config| {
        tokens = Role::ALL.map(|role| admit(config, role.name(), role)).to_vec();
    })
    .await;
    (served, tokens)
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_token_that_the_node_knows_opens_the_page() {
    let (served, tokens) = guarded().await;
    let browser = Browser::start().await;
    browser.open(&served, "islands").await;
    browser.find("#token").await;
    browser.picture("login").await;
    assert_eq!(browser.ask("return document.getElementById('shell').hidden").await, true);
    browser.fill("#token", ApiToken::mint().reveal()).await;
    browser.press(Key::Enter).await;
    browser.until_text("#login-problem", "Nobody has this token").await;
    let [_, _, admin] = &tokens[..] else { unreachable!("there are three roles") };
    browser.sign_in(admin).await;
    browser.until_text("#node", "us-east").await;
    // It is in this tab, and nowhere else.
    let kept = browser
        .ask("return [Object.values(sessionStorage).length, Object.keys(localStorage), document.cookie, location.href.includes('archipelago_')]")
        .await;
    assert_eq!(kept, value!([1, [], "", false]));
    browser.client.refresh().await.unwrap();
    browser.until_text("#node", "us-east").await;
    browser.click("#sign-out").await;
    browser.find("#token").await;
    assert_eq!(browser.ask("return Object.values(sessionStorage).length").await, 0);
    browser.end(&[401]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_read_is_offered_nothing_else() {
    let (served, tokens) = guarded().await;
    let put = served.client.put(served.entity("a")).bearer_auth(tokens[1].reveal()).json(&value!({ "n": 1 }));
    assert!(put.send().await.unwrap().status().is_success());
    let browser = Browser::start().await;
    browser.open(&served, "inspector/a").await;
    browser.sign_in(&tokens[0]).await;
    browser.until_text("#role", "may read").await;
    browser.until_text(".story", "written by").await;
    let offered = "return [document.querySelectorAll('#entity-save, #entity-delete').length, document.getElementById('entity-value').readOnly]";
    assert_eq!(browser.ask(offered).await, value!([0, true]));
    browser.end(&[401]).await;
}
