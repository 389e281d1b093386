//! What nodes serve at `/metrics`, as promtool sees it.

use std::{env, path::PathBuf, process::Stdio};

use archipelago_server::config::ConflictStrategyName;
use archipelago_testkit::nats::NatsServer;
use reqwest::{Method, StatusCode};
use serde_json::json as value;
use tokio::{io::AsyncWriteExt, process::Command};

use crate::{
    cluster::Cluster,
    support::{Served, until},
};

/// Has promtool check what a node serves, once it has heard of another one.
async fn check(node: &Served) {
    let text = until("a peer is measured", async || {
        let text = node.request(Method::GET, "/metrics").send().await.expect("an answer");
        let text = text.text().await.expect("text");
        text.contains("archipelago_peer_silent_seconds{").then_some(text)
    })
    .await;
    let program = env::var_os("PROMTOOL").map_or_else(|| PathBuf::from("promtool"), PathBuf::from);
    let mut command = Command::new(&program);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().unwrap_or_else(|error| {
        panic!("cannot run {}: {error}; `cargo xtask deploy` says what is needed", program.display())
    });
    let mut input = child.stdin.take().expect("it was asked to be piped");
    input.write_all(text.as_bytes()).await.expect("promtool reads");
    drop(input);
    let output = child.wait_with_output().await.expect("promtool ends");
    let told = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.is_empty(), "promtool: {told}\n{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_has_nothing_against_the_measures_of_masters() {
    let nats = NatsServer::start().await.expect("a NATS server");
    let mut nodes = Vec::new();
    for name in ["paris", "oslo"] {
        let started = Served::with(ConflictStrategyName::Lww, |config| {
            config.node.name = Some(name.to_owned());
            config.nats.servers = vec![nats.url()];
        });
        nodes.push(started.await);
    }
    assert_eq!(nodes[1].put("a", &value!(1)).await.status(), StatusCode::OK);
    until("the write is there", async || (nodes[0].get("a").await.status() == StatusCode::OK).then_some(()))
        .await;
    check(&nodes[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_has_nothing_against_the_measures_of_a_leader_and_a_follower() {
    let cluster = Cluster::start().await;
    for node in cluster.nodes.iter().flatten() {
        check(node).await;
    }
}
