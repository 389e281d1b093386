use archipelago_server::config::ConflictStrategyName;
use reqwest::{Method, StatusCode};
use serde_json::json as value;

use crate::support::{NAMESPACE, Served};

#[tokio::test]
async fn a_node_alone_is_ready_at_once_and_one_without_its_broker_is_not() {
    let alone = Served::alone().await;
    until_ready(&alone).await;
    // Nothing listens at the port of a socket that is bound and does not.
    let silent = tokio::net::TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("nats://{}", silent.local_addr().unwrap());
    let served = Served::with(ConflictStrategyName::Lww, |config| config.nats.servers = vec![url]).await;
    let ready = served.request(Method::GET, "/health/ready").send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(served.request(Method::GET, "/health/live").send().await.unwrap().status(), StatusCode::OK);
    // It works all the same.
    assert_eq!(served.put("a", &value!(1)).await.status(), StatusCode::OK);
    let status = served.json("/cluster/status").await;
    assert_eq!(status["namespaces"][NAMESPACE]["link"], "down");
    assert_eq!(status["namespaces"][NAMESPACE]["metrics"]["outbox_len"], 1);
    let far = served
        .request(Method::PUT, &format!("/v1/namespaces/{NAMESPACE}/entities/a?ack=pipeline&wait_ms=10"));
    assert_eq!(far.json(&2).send().await.unwrap().status(), StatusCode::ACCEPTED);
}

pub(crate) async fn until_ready(served: &Served) {
    let ready = async {
        while served.request(Method::GET, "/health/ready").send().await.expect("an answer").status()
            != StatusCode::OK
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(crate::support::DEADLINE, ready).await.expect("ready in time");
}

#[tokio::test]
async fn the_measures_name_what_was_done_and_no_more_routes_than_there_are() {
    let served = Served::alone().await;
    served.put("a", &value!(1)).await;
    served.get("a").await;
    served.request(Method::GET, "/made/up").send().await.unwrap();
    served.request(Method::from_bytes(b"INVENTED").unwrap(), "/made/up").send().await.unwrap();
    let text = served.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(text.contains("archipelago_writes_local_total{namespace=\"shop\"} 1"), "{text}");
    let route = "route=\"/v1/namespaces/{namespace}/entities/{id}\"";
    assert!(text.lines().any(|line| line.contains(route) && line.contains("method=\"PUT\"")), "{text}");
    assert!(!text.contains("made") && !text.contains("INVENTED"), "{text}");
    assert!(text.contains("# HELP archipelago_outbox_events "), "{text}");
}

#[tokio::test]
async fn a_node_that_ends_finishes_what_is_under_way() {
    let served = Served::alone().await;
    until_ready(&served).await;
    let waiting = served.client.put(served.entity("a?ack=pipeline&wait_ms=300")).json(&1).send();
    let waiting = tokio::spawn(waiting);
    // It is under way once its write can be read.
    while served.get("a").await.status() != StatusCode::OK {
        tokio::task::yield_now().await;
    }
    let drained = served.node.drain().await;
    assert!(!drained.was_cut_off && !drained.store_failed);
    assert_eq!(waiting.await.unwrap().unwrap().status(), StatusCode::ACCEPTED);
    drop(served.folder);
}
