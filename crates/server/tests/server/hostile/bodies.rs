use archipelago_server::config::ConflictStrategyName;
use futures::{StreamExt, stream};
use reqwest::{Body, StatusCode, header::CONTENT_TYPE};
use serde_json::json as value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{is_unharmed, log::Log, refused};
use crate::support::{DEADLINE, Served, is_problem};

/// 10 MB, in parts.
const PARTS: usize = 160;
static PART: [u8; 65_536] = [b' '; 65_536];

#[tokio::test]
async fn bodies_of_ten_megabytes_are_refused_whether_or_not_they_say_how_long_they_are() {
    let log = Log::begin();
    let served = Served::alone().await;
    let mut answers = 0;
    for round in 0..20 {
        let body = match round % 2 {
            0 => Body::from(vec![b' '; PARTS * PART.len()]),
            _ => Body::wrap_stream(
                stream::iter(0..PARTS).map(|_| Ok::<_, std::convert::Infallible>(&PART[..])),
            ),
        };
        let put = served.client.put(served.entity("a")).header(CONTENT_TYPE, "application/json").body(body);
        // The node may hang up before all of it is sent, and then the answer may not be read.
        if let Ok(answer) = put.send().await {
            is_problem(answer, StatusCode::PAYLOAD_TOO_LARGE, "too-large").await;
            answers += 1;
        }
    }
    assert_eq!(log.count(&refused("too-large")), 1, "{} answers: {}", answers, log.text());
    assert_eq!(served.get("a").await.status(), StatusCode::NOT_FOUND);
    is_unharmed(&served).await;
}

#[tokio::test]
async fn bodies_that_never_end_are_given_up_and_told_once() {
    let log = Log::begin();
    let served = Served::with(ConflictStrategyName::Lww, |config| config.http.request_timeout_ms = 200).await;
    let slow = (0..20).map(async |_| {
        let mut stream = TcpStream::connect(served.node.address()).await.expect("what the test stands on");
        let head = "PUT /v1/namespaces/shop/entities/a HTTP/1.1\r\nhost: localhost\r\n\
                    content-type: application/json\r\ncontent-length: 1000\r\n\r\n1";
        stream.write_all(head.as_bytes()).await.expect("what the test stands on");
        let mut answer = Vec::new();
        timeout(DEADLINE, stream.read_to_end(&mut answer))
            .await
            .expect("an end")
            .expect("what the test stands on");
        assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    });
    futures::future::join_all(slow).await;
    assert_eq!(log.count(&refused("request-timeout")), 1, "{}", log.text());
    assert_eq!(served.put("a", &value!(1)).await.status(), StatusCode::OK);
    is_unharmed(&served).await;
}
