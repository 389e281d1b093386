use std::{net::SocketAddr, time::Duration};

use archipelago_server::config::ConflictStrategyName;
use reqwest::StatusCode;
use serde_json::json as value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use super::{is_unharmed, log::Log, newcomer, refusals, refused};
use crate::support::{DEADLINE, Served};

/// How many connections a node has at most here.
const CONNECTIONS_MAX: usize = 20;
/// How many clients send nothing whole.
const SLOW: usize = 60;
/// How long each of them takes for a byte.
const BYTE_INTERVAL: Duration = Duration::from_millis(20);

/// Nothing but their being crowded out ends connections on which nothing happens.
async fn patient() -> Served {
    Served::with(ConflictStrategyName::Lww, |config| {
        config.http.connections_max = CONNECTIONS_MAX;
        config.http.header_timeout_ms = 3_600_000;
    })
    .await
}

/// Sends a head byte by byte, and begins again once it is cut off.
async fn drip(address: SocketAddr) {
    loop {
        let Ok(mut stream) = TcpStream::connect(address).await else { continue };
        for byte in b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nx-a: ".iter().chain(&[b'a'; 1_000]) {
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(BYTE_INTERVAL).await;
        }
    }
}

#[tokio::test]
async fn whoever_sends_heads_byte_by_byte_keeps_nobody_out() {
    let log = Log::begin();
    let served = patient().await;
    let mut slow = JoinSet::new();
    for _ in 0..SLOW {
        slow.spawn(drip(served.node.address()));
    }
    // All places are taken, and taken again.
    while refusals(&served, "crowded-out").await < 2 * SLOW as u64 {}
    let put =
        newcomer().put(served.entity("a")).json(&value!(1)).send().await.expect("what the test stands on");
    assert_eq!(put.status(), StatusCode::OK);
    assert_eq!(log.count(&refused("crowded-out")), 1, "{}", log.text());
    slow.shutdown().await;
    is_unharmed(&served).await;
}

#[tokio::test]
async fn a_connection_that_is_answered_just_now_keeps_its_place() {
    let served = patient().await;
    let waiting = served.client.put(served.entity("a?ack=pipeline&wait_ms=500")).json(&1).send();
    let waiting = tokio::spawn(waiting);
    // It is under way once its write can be read.
    while served.get("a").await.status() != StatusCode::OK {
        tokio::task::yield_now().await;
    }
    for _ in 0..3 * CONNECTIONS_MAX {
        assert_eq!(
            newcomer()
                .get(served.url("/health/live"))
                .send()
                .await
                .expect("what the test stands on")
                .status(),
            StatusCode::OK
        );
        let idle = TcpStream::connect(served.node.address()).await.expect("what the test stands on");
        // It is the node's from here on.
        std::mem::forget(idle.into_std().expect("what the test stands on"));
    }
    assert!(refusals(&served, "crowded-out").await > 0);
    assert_eq!(
        waiting.await.expect("what the test stands on").expect("what the test stands on").status(),
        StatusCode::ACCEPTED
    );
}

#[tokio::test]
async fn a_flood_of_headers_is_cut_off_and_told_once() {
    let log = Log::begin();
    let served = Served::alone().await;
    let many = "x-a: a\r\n".repeat(10_000);
    let large = format!("x-a: {}", "a".repeat(200_000));
    for flood in [&*many, &*large, "\r\n\r\n\0\0\0", "this is no HTTP\r\n\r\n"] {
        let mut stream = TcpStream::connect(served.node.address()).await.expect("what the test stands on");
        let head = format!("GET /health/live HTTP/1.1\r\nhost: localhost\r\n{flood}");
        // The node may hang up before all of it is sent.
        let _ = stream.write_all(head.as_bytes()).await;
        let mut answer = Vec::new();
        let ended = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("an end");
        let answer = String::from_utf8_lossy(&answer);
        let is_refused = answer.contains("HTTP/1.1 431 ") || answer.contains("HTTP/1.1 400 ");
        assert!(is_refused || ended.is_err(), "{answer}");
    }
    assert_eq!(log.count(&refused("wrong-head")), 1, "{}", log.text());
    assert_eq!(refusals(&served, "wrong-head").await, 4);
    is_unharmed(&served).await;
}
