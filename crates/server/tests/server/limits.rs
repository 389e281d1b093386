use archipelago_server::config::ConflictStrategyName;
use reqwest::StatusCode;
use serde_json::json as value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{DEADLINE, Served, is_problem};

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_the_node_goes_on() {
    let served = Served::with(ConflictStrategyName::Lww, |config| config.http.body_bytes_max = 1_000).await;
    let large = value!("x".repeat(10_000_000));
    // The node may answer and hang up before all of it is sent.
    if let Ok(answer) = served.client.put(served.entity("a")).json(&large).send().await {
        is_problem(answer, StatusCode::PAYLOAD_TOO_LARGE, "too-large").await;
    }
    assert_eq!(served.put("a", &value!("small")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_never_ends_its_head_or_its_body_is_cut_off() {
    let served = Served::with(ConflictStrategyName::Lww, |config| {
        (config.http.header_timeout_ms, config.http.request_timeout_ms) = (100, 100);
        config.http.connections_max = 1;
    })
    .await;
    let begin = async |head: &[u8]| {
        let mut stream = TcpStream::connect(served.node.address()).await.unwrap();
        stream.write_all(head).await.unwrap();
        let mut answer = Vec::new();
        let ended = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("an end");
        drop(ended);
        String::from_utf8(answer).unwrap()
    };
    begin(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n").await;
    let answer = begin(
        b"PUT /v1/namespaces/shop/entities/a HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
          content-length: 100\r\n\r\n1",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    // The one place is free again.
    assert_eq!(served.put("a", &value!(1)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_their_turn() {
    let served = Served::with(ConflictStrategyName::Lww, |config| {
        (config.http.connections_max, config.http.header_timeout_ms) = (2, 200);
    })
    .await;
    let idle: Vec<_> =
        futures::future::join_all((0..20).map(|_| TcpStream::connect(served.node.address()))).await;
    assert!(idle.iter().all(Result::is_ok));
    assert_eq!(served.put("a", &value!(1)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_value_that_is_nested_too_deep_is_refused() {
    let served = Served::alone().await;
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    let json = served.client.put(served.entity("a")).header("content-type", "application/json").body(deep);
    is_problem(json.send().await.unwrap(), StatusCode::BAD_REQUEST, "invalid-request").await;
    let bomb = vec![0x91; 100_000];
    let packed =
        served.client.put(served.entity("a")).header("content-type", "application/msgpack").body(bomb);
    is_problem(packed.send().await.unwrap(), StatusCode::BAD_REQUEST, "invalid-request").await;
}
