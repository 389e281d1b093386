use archipelago_server::config::ConflictStrategyName;
use fantoccini::key::Key;
use reqwest::StatusCode;
use serde_json::json as value;

use crate::{
    browser::Browser,
    support::{Served, json},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_entity_is_written_changed_and_removed() {
    let served = Served::alone().await;
    let browser = Browser::start().await;
    browser.open(&served, "inspector/user%2F1").await;
    browser.until_text(".detail .tag", "not there").await;
    browser.fill("#entity-value", r#"{"name": "Alice", "big": 9007199254740993, "price": 1.0}"#).await;
    browser.click("#entity-save").await;
    browser.until_text(".story", "written by us-east").await;
    // What is shown can be saved again, and no number has changed by that.
    let before = value!(browser.text(".etag").await);
    browser.click("#entity-save").await;
    browser.until(format!("document.querySelector('.etag').textContent !== {before}")).await;
    let stored = served.get("user%2F1").await.text().await.unwrap();
    assert_eq!(stored, r#"{"big":9007199254740993,"name":"Alice","price":1.0}"#);
    // It is found by what it begins with.
    browser.fill("#inspector-id", "us").await;
    browser.click(".list .inbox button").await;
    browser.until_text(".list .inbox [aria-current=true]", "user/1").await;

    browser.click("#entity-delete").await;
    browser.until_text("dialog", "Delete user/1?").await;
    browser.press(Key::Escape).await;
    browser.until("!document.querySelector('dialog')").await;
    assert_eq!(served.get("user%2F1").await.status(), StatusCode::OK);
    browser.click("#entity-delete").await;
    browser.click("#dialog-confirm").await;
    browser.until_text(".detail .tag", "removed").await;
    assert_eq!(served.get("user%2F1").await.status(), StatusCode::NOT_FOUND);
    browser.end(&[404]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_wrote_meanwhile_is_not_overwritten() {
    let served = Served::alone().await;
    served.put("a", &value!({ "n": 1 })).await;
    let browser = Browser::start().await;
    browser.open(&served, "inspector/a").await;
    browser.until_text(".story", "written by").await;
    served.put("a", &value!({ "n": 2 })).await;
    browser.fill("#entity-value", r#"{"n": 3}"#).await;
    browser.click("#entity-save").await;
    browser.until_text(".detail .problem", "Somebody wrote it meanwhile").await;
    assert_eq!(json(served.get("a").await).await, value!({ "n": 2 }));
    browser.end(&[412]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_text_and_never_markup() {
    let attack = "<img src=x onerror=\"window.hit=1\"><script>window.hit=1</script>";
    let served = Served::with(ConflictStrategyName::Manual, |_| {}).await;
    let id = "%3Cimg%20src=x%20onerror=window.hit=1%3E";
    let seen = served.put(id, &value!({ "__proto__": attack, attack: attack })).await;
    let seen = crate::support::header(&seen, "archipelago-session");
    let browser = Browser::start().await;
    browser.open(&served, "tail").await;
    browser.until_text("#view [role=status]", "Following").await;
    // Both know of the same, so they are in conflict.
    for text in [attack, "</code><svg onload=window.hit=1>"] {
        let put = served.client.put(served.entity(id)).header("archipelago-context", &seen);
        assert!(put.json(&value!({ attack: text })).send().await.unwrap().status().is_success());
    }
    // As JSON it has other quotes.
    browser.until_text("#tail-rows", "<script>window.hit=1</script>").await;
    browser.click("#tail-rows button").await;
    browser.until_text(".story", "</code><svg onload=window.hit=1>").await;
    browser.until_text(".detail h2", "<img src=x onerror=window.hit=1>").await;
    browser.click("nav [data-view=conflicts]").await;
    browser.until_text(".siblings", "<script>window.hit=1</script>").await;
    let (hit, foreign) = (
        browser.ask("return window.hit ?? null").await,
        browser.ask("return document.querySelectorAll('#view img, #view script, #view svg').length").await,
    );
    assert_eq!((hit, foreign), (value!(null), value!(0)));
    browser.end(&[]).await;
}
