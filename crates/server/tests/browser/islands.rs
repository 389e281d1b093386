//! Three nodes, a partition, a conflict, and a person who sees and mends it.

use archipelago_server::config::ConflictStrategyName;
use archipelago_testkit::{TcpProxy, nats::NatsServer};
use fantoccini::key::Key;
use reqwest::StatusCode;
use serde_json::{Value, json as value};
use tokio::time::timeout;

use crate::{
    browser::Browser,
    support::{DEADLINE, NAMESPACE, Served, json},
};

async fn node(name: &str, port: u16) -> Served {
    Served::with(ConflictStrategyName::Manual, |config| {
        config.node.name = Some(name.to_owned());
        config.nats.servers = vec![format!("nats://127.0.0.1:{port}")];
    })
    .await
}

/// Writes an entity in the inspector of the window that is shown.
async fn write(browser: &Browser, id: &str, text: &str) {
    browser.click("nav [data-view=inspector]").await;
    browser.fill("#inspector-id", id).await;
    browser.press(Key::Enter).await;
    browser.until_text(".detail h2", id).await;
    browser.fill("#entity-value", text).await;
    browser.click("#entity-save").await;
    browser.until_text("#announcement", "is written").await;
}

async fn until_value(node: &Served, id: &str, wanted: &Value) {
    let reached = async {
        loop {
            let answer = node.get(id).await;
            if answer.status() == StatusCode::OK && json(answer).await == *wanted {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let in_time = timeout(DEADLINE, reached).await;
    in_time.unwrap_or_else(|_| panic!("{id} never became {wanted}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_is_seen_and_its_conflict_is_resolved_by_click_on_all_nodes() {
    let nats = NatsServer::start().await.expect("a NATS server");
    let proxy = TcpProxy::start(([127, 0, 0, 1], nats.port()).into()).await.expect("a proxy");
    let us = node("us-east", nats.port()).await;
    let eu = node("eu-west", nats.port()).await;
    let ap = node("ap-south", proxy.port()).await;
    for (id, name, city) in [("1", "Chidi", "Lagos"), ("2", "Mina", "Seoul"), ("7", "Alice", "Lisbon")] {
        us.put(&format!("user%2F{id}"), &value!({ "name": name, "city": city, "visits": 3 })).await;
    }
    let alice = value!({ "name": "Alice", "city": "Lisbon", "visits": 3 });
    until_value(&ap, "user%2F7", &alice).await;

    let browser = Browser::start().await;
    browser.prefer("light").await;
    browser.open(&us, "islands").await;
    let at_us = browser.client.window().await.unwrap();
    let at_ap = browser.window(&ap, "islands").await;
    let at_eu = browser.window(&eu, "islands").await;
    for window in [&at_ap, &at_eu, &at_us] {
        browser.turn_to(window).await;
        browser.until("document.querySelectorAll('.link.direct.good').length === 2").await;
        browser.until("document.querySelectorAll('.alarm').length === 0").await;
    }
    browser.picture("islands").await;

    proxy.cut();
    browser.until("document.querySelector('.card.bad')?.dataset.node === 'ap-south'").await;
    browser.until("document.querySelectorAll('.link.direct.bad').length === 1").await;
    browser.until("document.querySelectorAll('.link.direct.good').length === 1").await;
    browser.until_text(".alarm[data-kind=silent]", "ap-south").await;
    write(&browser, "user/7", r#"{"name": "Alice", "city": "Porto", "visits": 4}"#).await;
    // The node that is cut off says so, and goes on.
    browser.turn_to(&at_ap).await;
    browser.until_text(".alarm[data-kind=link]", "link to the broker is down").await;
    browser.until("document.querySelectorAll('.link.direct.bad').length === 2").await;
    write(&browser, "user/7", r#"{"name": "Alice B.", "city": "Chennai", "visits": 3}"#).await;
    browser.turn_to(&at_us).await;
    browser.click("nav [data-view=islands]").await;
    browser.until_text(".card.bad", "lacking there1").await;
    browser.prefer("dark").await;
    browser.picture("partition").await;

    proxy.heal();
    // The third node, at which nobody wrote.
    browser.turn_to(&at_eu).await;
    browser.prefer("light").await;
    browser.until_text("#conflict-count", "1").await;
    browser.until("document.querySelectorAll('.link.direct.good').length === 2").await;
    browser.click("nav [data-view=conflicts]").await;
    browser.until_text(".detail h2", "user/7").await;
    browser.until("document.querySelectorAll('.siblings tr.differs').length === 3").await;
    let column = browser
        .ask("return [...document.querySelectorAll('.siblings thead th')].findIndex((head) => head.textContent.includes('ap-south'))")
        .await;
    let column = column.as_u64().expect("a column");
    browser.click(&format!(".siblings thead th:nth-child({}) .take", column + 1)).await;
    browser.picture("conflicts").await;
    browser.click("#resolve").await;
    browser.until_text(".detail", "No conflicts wait").await;

    let chosen = value!({ "name": "Alice B.", "city": "Chennai", "visits": 3 });
    for node in [&us, &eu, &ap] {
        until_value(node, "user%2F7", &chosen).await;
        let pending = node.json(&format!("/v1/namespaces/{NAMESPACE}/conflicts")).await;
        assert_eq!(pending["conflicts"], value!([]));
    }
    for window in [&at_us, &at_ap, &at_eu] {
        browser.turn_to(window).await;
        browser.until("document.getElementById('conflict-count').hidden").await;
        browser.until("document.querySelectorAll('.alarm').length === 0").await;
    }
    browser.open(&eu, "inspector/user%2F7").await;
    browser.until_text(".story", "manual").await;
    browser.picture("inspector").await;
    browser.end(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_that_fills_while_the_broker_is_away_is_an_alarm() {
    // Nothing listens at the port of a socket that is bound and does not.
    let silent = tokio::net::TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("nats://{}", silent.local_addr().unwrap());
    let served = Served::with(ConflictStrategyName::Lww, |config| {
        config.nats.servers = vec![url];
        config.namespaces.get_mut(NAMESPACE).expect("the namespace").outbox_events_max = 5;
    })
    .await;
    served.put("a", &value!(1)).await;
    let browser = Browser::start().await;
    browser.open(&served, "islands").await;
    browser.until_text(".alarm[data-kind=link]", "link to the broker is down").await;
    assert_eq!(browser.ask("return document.querySelectorAll('[data-kind=outbox]').length").await, 0);
    for id in ["b", "c", "d"] {
        served.put(id, &value!(1)).await;
    }
    browser.until_text(".alarm[data-kind=outbox]", "4 of 5").await;
    browser.end(&[]).await;
}
