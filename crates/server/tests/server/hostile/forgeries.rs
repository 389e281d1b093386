//! Somebody may publish at the broker who is no member, or says that it is another one.

use archipelago_server::config::{ConflictStrategyName, NamespaceSection};
use archipelago_testkit::nats::NatsServer;
use async_nats::{HeaderMap, jetstream};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json as value};
use tokio::time::timeout;

use super::{is_unharmed, log::Log};
use crate::{
    health::until_ready,
    support::{DEADLINE, NAMESPACE, Served, json},
};

/// Another namespace of the same nodes.
const OTHER: &str = "stock";

/// A node of two namespaces.
async fn node(nats: &NatsServer, name: &str) -> Served {
    let served = Served::with(ConflictStrategyName::Lww, |config| {
        config.node.name = Some(name.to_owned());
        config.nats.servers = vec![nats.url()];
        let mut other = NamespaceSection::default();
        other.heartbeat_interval_ms = 50;
        config.namespaces.insert(OTHER.to_owned(), other);
    })
    .await;
    until_ready(&served).await;
    served
}

fn subject(namespace: &str, origin: &str) -> String {
    format!("archipelago.{namespace}.events.{origin}")
}

/// The write of a value, as `origin` published it.
async fn written(nats: &NatsServer, served: &Served, origin: &str, id: &str, data: &Value) -> Vec<u8> {
    let path = format!("{}?ack=pipeline&wait_ms=10000", served.entity(id));
    let put = served.client.put(path).json(data).send().await.expect("what the test stands on");
    assert_eq!(put.status(), StatusCode::OK);
    let context = jetstream::new(async_nats::connect(nats.url()).await.expect("what the test stands on"));
    let log = context.get_stream(format!("ARCHIPELAGO_{NAMESPACE}")).await.expect("what the test stands on");
    let message =
        log.get_last_raw_message_by_subject(&subject(NAMESPACE, origin)).await.expect("the message");
    message.payload.to_vec()
}

/// Somebody who may publish everything.
async fn publish(nats: &NatsServer, subject: String, message_id: &str, payload: &[u8]) {
    let context = jetstream::new(async_nats::connect(nats.url()).await.expect("what the test stands on"));
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", message_id);
    let sent = context
        .publish_with_headers(subject, headers, payload.to_vec().into())
        .await
        .expect("what the test stands on");
    assert!(!sent.await.expect("what the test stands on").duplicate, "the broker took it");
}

async fn metric(served: &Served, namespace: &str, name: &str) -> u64 {
    let status = served.json("/cluster/status").await;
    status["namespaces"][namespace]["metrics"][name].as_u64().expect("what the test stands on")
}

/// Waits until a counter has come so far.
async fn until(served: &Served, namespace: &str, name: &str, count: u64) {
    let counted = async {
        while metric(served, namespace, name).await < count {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, counted).await.unwrap_or_else(|_| panic!("{name} in time"));
    assert_eq!(metric(served, namespace, name).await, count, "{name}");
}

#[tokio::test]
async fn a_write_under_another_name_or_in_another_namespace_is_skipped_and_told_once() {
    let log = Log::begin();
    let (nats, elsewhere) = tokio::join!(NatsServer::start(), NatsServer::start());
    let (nats, elsewhere) = (nats.expect("a NATS server"), elsewhere.expect("a NATS server"));
    let us = node(&nats, "us-east").await;
    assert_eq!(us.put("a", &value!("true")).await.status(), StatusCode::OK);
    // What eu-west might write: it is not in the log here, and nothing is wrong with it but who sends it and where.
    let forger = node(&elsewhere, "eu-west").await;
    let forged = written(&elsewhere, &forger, "eu-west", "a", &value!("forged")).await;

    publish(&nats, subject(NAMESPACE, "mallory"), "1", &forged).await;
    until(&us, NAMESPACE, "messages_unreadable", 1).await;
    publish(&nats, subject(NAMESPACE, "us-east"), "2", &forged).await;
    until(&us, NAMESPACE, "messages_unreadable", 2).await;
    assert_eq!(log.count("its origin is not the one that its subject names"), 1, "{}", log.text());

    publish(&nats, subject(OTHER, "eu-west"), "3", &forged).await;
    until(&us, OTHER, "messages_unreadable", 1).await;
    assert_eq!(log.count("it is of another namespace"), 1, "{}", log.text());

    publish(&nats, subject(NAMESPACE, "eu-west"), "4", b"\x93\x01\xff no message at all").await;
    until(&us, NAMESPACE, "messages_unreadable", 3).await;
    assert_eq!(log.count("is not usable and was skipped"), 3, "of each kind once: {}", log.text());

    // Nothing of it is anywhere, and what comes next is read.
    assert_eq!(json(us.get("a").await).await, value!("true"));
    let stock = us
        .request(Method::GET, &format!("/v1/namespaces/{OTHER}/entities/a"))
        .send()
        .await
        .expect("what the test stands on");
    assert_eq!(stock.status(), StatusCode::NOT_FOUND);
    publish(&nats, subject(NAMESPACE, "eu-west"), "5", &forged).await;
    until(&us, NAMESPACE, "events_applied", 1).await;
    is_unharmed(&us).await;
}

#[tokio::test]
async fn a_message_that_is_sent_again_under_other_ids_is_applied_once() {
    let nats = NatsServer::start().await.expect("a NATS server");
    let (us, eu) = (node(&nats, "us-east").await, node(&nats, "eu-west").await);
    let first = written(&nats, &us, "us-east", "a", &value!("first")).await;
    until(&eu, NAMESPACE, "events_applied", 1).await;
    written(&nats, &us, "us-east", "a", &value!("second")).await;
    until(&eu, NAMESPACE, "events_applied", 2).await;
    let conflicts = metric(&eu, NAMESPACE, "conflicts_detected").await;
    for replay in 0..20 {
        publish(&nats, subject(NAMESPACE, "us-east"), &format!("replay-{replay}"), &first).await;
    }
    until(&eu, NAMESPACE, "duplicates_ignored", 20).await;
    assert_eq!(metric(&eu, NAMESPACE, "events_applied").await, 2);
    assert_eq!(metric(&eu, NAMESPACE, "conflicts_detected").await, conflicts);
    for served in [&us, &eu] {
        assert_eq!(json(served.get("a").await).await, value!("second"));
        is_unharmed(served).await;
    }
}
