use archipelago_server::{Role, config::ConflictStrategyName};
use archipelago_testkit::nats::NatsServer;

use crate::{
    browser::Browser,
    support::{Served, admit},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_retired_by_an_administrator_who_was_asked() {
    let nats = NatsServer::start().await.expect("a NATS server");
    let mut tokens = Vec::new();
    let us = Served::with(ConflictStrategyName::Lww, |config| {
        tokens = [Role::Write, Role::Admin].map(|role| admit(config, role.name(), role)).to_vec();
        config.nats.servers = vec![nats.url()];
    })
    .await;
    let eu = Served::with(ConflictStrategyName::Lww, |config| {
        config.node.name = Some("eu-west".to_owned());
        config.nats.servers = vec![nats.url()];
    })
    .await;
    let browser = Browser::start().await;
    browser.open(&us, "members").await;
    browser.sign_in(&tokens[0]).await;
    browser.until_text("[data-member=eu-west]", "active").await;
    assert_eq!(browser.ask("return document.querySelectorAll('[data-retire]').length").await, 0);
    browser.click("#sign-out").await;
    browser.sign_in(&tokens[1]).await;
    browser.until_text("[data-member=eu-west]", "active").await;
    // It does not come back.
    eu.node.drain().await;
    browser.until_text("[data-member=eu-west]", "silent").await;
    browser.click("[data-retire=eu-west]").await;
    browser.until_text("dialog", "Retire eu-west?").await;
    browser.click("dialog button").await;
    browser.until("!document.querySelector('dialog')").await;
    browser.click("[data-retire=eu-west]").await;
    browser.click("#dialog-confirm").await;
    browser.until_text("[data-member=eu-west]", "retired").await;
    // This node itself cannot be retired.
    assert_eq!(browser.ask("return document.querySelectorAll('[data-retire]').length").await, 0);
    browser.end(&[401]).await;
}
