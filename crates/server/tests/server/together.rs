//! Nodes that speak through a real NATS server.

use archipelago_server::config::ConflictStrategyName;
use archipelago_testkit::nats::NatsServer;
use reqwest::{Method, StatusCode};
use serde_json::json as value;

use crate::{
    health::until_ready,
    support::{DEADLINE, NAMESPACE, Served, header, json},
};

async fn node(nats: &NatsServer, name: &str) -> Served {
    Served::with(ConflictStrategyName::FieldMerge, |config| {
        config.node.name = Some(name.to_owned());
        config.nats.servers = vec![nats.url()];
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_wrote_a_session_reads_at_the_other() {
    let nats = NatsServer::start().await.expect("a NATS server");
    let (us, eu) = (node(&nats, "us-east").await, node(&nats, "eu-west").await);
    until_ready(&us).await;
    let path = format!("{}?ack=pipeline", us.entity("user%2F7"));
    let put = us.client.put(path).json(&value!({ "name": "Alice" })).send().await.unwrap();
    assert_eq!(put.status(), StatusCode::OK);
    let session = header(&put, "archipelago-session");
    let read = eu
        .client
        .get(format!("{}?wait_ms=10000", eu.entity("user%2F7")))
        .header("archipelago-session", session);
    let read = read.send().await.unwrap();
    assert_eq!(read.status(), StatusCode::OK);
    assert_eq!(json(read).await, value!({ "name": "Alice" }));
    // Both hear each other.
    let synced = async {
        loop {
            let sync = us.json("/cluster/sync").await;
            if sync["namespaces"][NAMESPACE][0]["health"] == "in-sync" {
                return sync;
            }
            tokio::task::yield_now().await;
        }
    };
    let sync = tokio::time::timeout(DEADLINE, synced).await.expect("in sync in time");
    assert!(sync["namespaces"][NAMESPACE][0]["peer"].as_str().unwrap().starts_with("eu-west@"));
    let nodes = us.json("/cluster/nodes").await;
    assert_eq!(nodes["nodes"].as_array().unwrap().len(), 2);
    // A third one is ready once it has what the two have.
    let late = node(&nats, "ap-south").await;
    until_ready(&late).await;
    assert_eq!(json(late.get("user%2F7").await).await, value!({ "name": "Alice" }));
    let replica = late.request(Method::GET, "/health/replica?max_lag=10").send().await.unwrap();
    assert_eq!(replica.status(), StatusCode::OK);
    let majority =
        late.client.put(format!("{}?ack=majority&wait_ms=10000", late.entity("b"))).json(&value!({ "n": 1 }));
    assert_eq!(majority.send().await.unwrap().status(), StatusCode::OK);
}
