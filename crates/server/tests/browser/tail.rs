use fantoccini::key::Key;
use serde_json::{Value, json as value};

use crate::{
    browser::Browser,
    support::{NAMESPACE, Served},
};

const ROWS_MAX: u64 = 500;

async fn rows(browser: &Browser) -> Value {
    browser
        .ask("return [...document.querySelectorAll('#tail-rows button')].map((row) => row.textContent)")
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_seen_as_it_happens_and_a_pause_misses_nothing() {
    let served = Served::alone().await;
    let browser = Browser::start().await;
    browser.open(&served, "tail").await;
    browser.until_text("#view [role=status]", "Following").await;
    served.put("user%2F1", &value!({ "name": "Alice" })).await;
    served.put("order%2F1", &value!({ "of": "user/1" })).await;
    browser.until_text("#tail-rows", "order/1").await;
    assert_eq!(rows(&browser).await, value!(["order/1", "user/1"]));
    browser.click("#tail-pause").await;
    browser.until_text("#view [role=status]", "Paused").await;
    served.client.delete(served.entity("user%2F1")).send().await.unwrap();
    served.put("user%2F2", &value!({ "name": "Bob" })).await;
    assert_eq!(rows(&browser).await, value!(["order/1", "user/1"]));
    browser.click("#tail-pause").await;
    browser.until_text("#tail-rows", "user/2").await;
    assert_eq!(rows(&browser).await, value!(["user/2", "user/1", "order/1", "user/1"]));
    browser.picture("tail").await;
    browser.end(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_changes_those_that_begin_so_and_only_the_newest_are_kept() {
    let served = Served::alone().await;
    let browser = Browser::start().await;
    browser.open(&served, "tail").await;
    browser.until_text("#view [role=status]", "Following").await;
    browser.fill("#tail-prefix", "user/").await;
    browser.press(Key::Enter).await;
    browser.until_text("#view [role=status]", "Following").await;
    served.put("order%2F1", &value!(1)).await;
    for batch in 0..3 {
        let operations: Vec<Value> = (0..200)
            .map(|n| value!({ "op": "put", "id": format!("user/{batch}.{n}"), "value": n }))
            .collect();
        let path = served.url(&format!("/v1/namespaces/{NAMESPACE}/batch"));
        let sent = served.client.post(path).json(&value!({ "operations": operations })).send().await.unwrap();
        assert!(sent.status().is_success());
    }
    served.put("user%2Flast", &value!(1)).await;
    browser.until_text("#tail-rows tr:first-child", "user/last").await;
    let shown = rows(&browser).await;
    let shown = shown.as_array().unwrap();
    assert_eq!(shown.len() as u64, ROWS_MAX);
    assert!(shown.iter().all(|id| id.as_str().unwrap().starts_with("user/")));
    browser.end(&[]).await;
}
