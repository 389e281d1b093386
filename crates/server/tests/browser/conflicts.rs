use archipelago_server::config::ConflictStrategyName;
use fantoccini::key::Key;
use serde_json::{Value, json as value};

use crate::{
    browser::Browser,
    support::{Served, header, json},
};

/// Makes a conflict on one node: a second write whose author did not know of the first.
async fn conflict(served: &Served, id: &str, first: &Value, second: Option<&Value>) {
    let seen = served.put(id, &value!({ "n": 0 })).await;
    let seen = header(&seen, "archipelago-session");
    let at = |value: Option<&Value>| match value {
        Some(value) => served.client.put(served.entity(id)).json(value),
        None => served.client.delete(served.entity(id)),
    };
    for value in [Some(first), second] {
        let written = at(value).header("archipelago-context", &seen).send().await.expect("an answer");
        assert!(written.status().is_success());
    }
}

/// `Tab` until the element has the focus.
async fn tab_to(browser: &Browser, selector: &str) {
    for _ in 0..60 {
        browser.press(Key::Tab).await;
        let script = format!("return document.activeElement.matches({})", value!(selector));
        if browser.ask(&script).await == true {
            return;
        }
    }
    panic!("{selector} is not reached by the keyboard");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_is_found_and_resolved_by_keys_alone() {
    let served = Served::with(ConflictStrategyName::Manual, |_| {}).await;
    conflict(&served, "a", &value!({ "n": 1 }), Some(&value!({ "n": 2 }))).await;
    conflict(&served, "b", &value!({ "n": 3, "m": 1 }), Some(&value!({ "n": 4 }))).await;
    let browser = Browser::start().await;
    browser.open(&served, "islands").await;
    browser.until_text("#conflict-count", "2").await;
    browser.press('?').await;
    browser.until_text("dialog", "Keyboard shortcuts").await;
    browser.press(Key::Enter).await;
    browser.until("!document.querySelector('dialog')").await;
    browser.press('2').await;
    browser.until_text(".detail h2", "a").await;
    browser.press('j').await;
    browser.until_text(".detail h2", "b").await;
    tab_to(&browser, ".siblings thead th:nth-child(3) .take").await;
    browser.press(Key::Enter).await;
    // Where the focus is can be seen.
    let outline = browser.ask("return getComputedStyle(document.activeElement).outlineStyle").await;
    assert_eq!(outline, "solid");
    tab_to(&browser, "#resolve").await;
    browser.press(Key::Enter).await;
    browser.until_text("#conflict-count", "1").await;
    assert_eq!(json(served.get("b").await).await, value!({ "n": 4 }));
    browser.end(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_several_versions_and_ones_own_words_can_be_merged() {
    let served = Served::with(ConflictStrategyName::Manual, |_| {}).await;
    // Beyond what JavaScript counts exactly.
    let many = 9_007_199_254_740_993_u64;
    conflict(
        &served,
        "a",
        &value!({ "n": many, "city": "Lisbon" }),
        Some(&value!({ "n": 2, "city": "Porto" })),
    )
    .await;
    let browser = Browser::start().await;
    browser.open(&served, "conflicts").await;
    browser.until_text(".detail h2", "a").await;
    browser
        .click(".siblings tr:has([aria-label='city: \"Porto\"']) .cell[aria-label='city: \"Porto\"']")
        .await;
    browser.click(".siblings .cell[aria-label='n: 9007199254740993']").await;
    let merged = browser.ask("return document.querySelector('.merged').value").await;
    assert_eq!(merged, format!("{{\n  \"city\": \"Porto\",\n  \"n\": {many}\n}}"));
    browser.fill(".merged", "{ \"n\": ").await;
    browser.until_text(".detail .problem", "not JSON").await;
    assert_eq!(browser.ask("return document.getElementById('resolve').disabled").await, true);
    browser.fill(".merged", &format!(r#"{{"n": {many}, "city": "Faro"}}"#)).await;
    browser.click("#resolve").await;
    browser.until_text(".detail", "No conflicts wait").await;
    assert_eq!(json(served.get("a").await).await, value!({ "n": many, "city": "Faro" }));
    browser.end(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_is_a_version_that_can_be_chosen() {
    let served = Served::with(ConflictStrategyName::Manual, |_| {}).await;
    conflict(&served, "a", &value!({ "n": 1 }), None).await;
    let browser = Browser::start().await;
    browser.open(&served, "conflicts").await;
    browser.until_text(".siblings", "Remove it").await;
    let column = browser
        .ask("return [...document.querySelectorAll('.siblings thead th')].findIndex((head) => head.textContent.includes('Remove it'))")
        .await;
    browser.click(&format!(".siblings thead th:nth-child({}) .take", column.as_u64().unwrap() + 1)).await;
    assert_eq!(browser.ask("return document.querySelector('.merged').disabled").await, true);
    browser.click("#resolve").await;
    browser.until_text(".detail", "No conflicts wait").await;
    assert_eq!(served.get("a").await.status(), reqwest::StatusCode::NOT_FOUND);
    browser.end(&[]).await;
}
