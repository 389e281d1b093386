//! A real HAProxy with the shipped file before three nodes.

use std::time::Instant;

use reqwest::{Method, StatusCode};
use serde_json::json as value;

use crate::{
    cluster::Cluster,
    haproxy::Haproxy,
    support::{header, json, until},
};

/// Writes one entity through the proxy; whether that was acknowledged.
async fn write(proxy: &Haproxy, number: u64) -> bool {
    let put = proxy.client.put(proxy.entity(&format!("k{number}"))).json(&value!({ "n": number }));
    // Without an answer it may have been written, or not: a client writes it again.
    put.send().await.is_ok_and(|answer| answer.status() == StatusCode::OK)
}

/// The number of a server in the list of nodes.
fn at(server: &str) -> usize {
    server.trim_start_matches("node").parse::<usize>().expect("a number") - 1
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stderr, reason = "how long it took is worth knowing")]
async fn writes_reach_the_leader_before_and_after_a_failover_and_none_is_lost() {
    let mut cluster = Cluster::start().await;
    let proxy = Haproxy::start(cluster.addresses()).await;
    let first = proxy.sees(&["node1", "node2", "node3"]).await;

    let mut acknowledged = Vec::new();
    for number in 0..50 {
        assert!(write(&proxy, number).await, "the leader refuses a write");
        acknowledged.push(number);
    }
    // Followers refuse writes here, so the one that HAProxy takes for the leader got all of them.
    assert_eq!(proxy.servers("leader").await[&first].requests, 50);

    // Reads are answered by all, and show what the session wrote.
    let put = proxy.client.put(proxy.entity("k0")).json(&value!({ "n": 0 })).send().await.expect("an answer");
    let session = header(&put, "archipelago-session");
    for _ in 0..30 {
        let read = proxy.client.get(format!("{}?consistency=session&wait_ms=10000", proxy.entity("k0")));
        let read = read.header("archipelago-session", &session).send().await.expect("an answer");
        assert_eq!(read.status(), StatusCode::OK);
        assert_eq!(json(read).await, value!({ "n": 0 }));
    }
    assert!(proxy.servers("readers").await.values().all(|seen| seen.requests > 0));

    // The leader dies while somebody writes.
    cluster.kill(at(&first));
    let died = Instant::now();
    let mut attempts = 0;
    let mut number = 50;
    until("writes go through again", async || {
        attempts += 1;
        number += 1;
        write(&proxy, number).await.then(|| acknowledged.push(number))
    })
    .await;
    eprintln!("writes went through {:?} after the leader died, at attempt {attempts}", died.elapsed());
    for number in 10_000_000..10_000_050 {
        if write(&proxy, number).await {
            acknowledged.push(number);
        }
    }
    assert!(acknowledged.len() > 90, "the new leader takes writes: {}", acknowledged.len());
    let left: Vec<_> = ["node1", "node2", "node3"].into_iter().filter(|server| *server != first).collect();
    let second = proxy.sees(&left).await;
    assert_ne!(first, second);

    // Each is there, wherever it is read.
    for number in acknowledged {
        let url = format!("{}?consistency=linearizable&wait_ms=10000", proxy.entity(&format!("k{number}")));
        let read = proxy.client.get(url).send().await.expect("an answer");
        assert_eq!(read.status(), StatusCode::OK, "k{number} was acknowledged");
        assert_eq!(json(read).await, value!({ "n": number }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_cut_off_is_not_read_from_until_it_is_back() {
    let cluster = Cluster::start().await;
    let proxy = Haproxy::start(cluster.addresses()).await;
    let all = ["node1", "node2", "node3"];
    proxy.sees(&all).await;
    cluster.ways[2].cut();
    proxy.sees(&all[..2]).await;
    let before = proxy.servers("readers").await;
    for number in 0..30 {
        assert!(write(&proxy, number).await);
        let read = proxy.client.request(Method::GET, proxy.entity("k0")).send().await.expect("an answer");
        assert!(matches!(read.status(), StatusCode::OK | StatusCode::NOT_FOUND), "{}", read.status());
    }
    let after = proxy.servers("readers").await;
    assert_eq!(after["node3"].requests, before["node3"].requests);
    let read = |name: &str| after[name].requests - before[name].requests;
    assert_eq!(read("node1") + read("node2"), 30);
    cluster.ways[2].heal();
    proxy.sees(&all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_stream_through_the_proxy() {
    let cluster = Cluster::start().await;
    let proxy = Haproxy::start(cluster.addresses()).await;
    proxy.sees(&["node1", "node2", "node3"]).await;
    let url = proxy.entity("x").replace("/entities/x", "/changes");
    let mut stream = proxy.client.get(url).send().await.expect("an answer");
    assert_eq!(stream.status(), StatusCode::OK);
    let seen = async {
        let mut text = String::new();
        while !text.contains("event: position") && !text.contains("event:position") {
            let chunk = stream.chunk().await.expect("a stream").expect("more");
            text.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
    };
    tokio::time::timeout(crate::support::DEADLINE, seen).await.expect("an event in time");
    let streams = proxy.servers("streams").await;
    assert_eq!(streams.values().map(|seen| seen.requests).sum::<u64>(), 1);
}
