use archipelago_server::config::ConflictStrategyName;
use reqwest::StatusCode;
use serde_json::json as value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::{is_unharmed, log::Log, refusals, refused};
use crate::support::{DEADLINE, NAMESPACE, Served};

/// How many streams a node has at most here.
const STREAMS_MAX: usize = 50;
/// How many want one.
const CLIENTS: usize = 200;

async fn ask(served: &Served) -> TcpStream {
    // Little room, so that it is soon full.
    let socket = TcpSocket::new_v4().expect("what the test stands on");
    socket.set_recv_buffer_size(4_096).expect("what the test stands on");
    let mut stream = socket.connect(served.node.address()).await.expect("what the test stands on");
    let head = format!("GET /v1/namespaces/{NAMESPACE}/changes?since=0 HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("what the test stands on");
    stream
}

/// The status of the answer.
async fn status(stream: &mut TcpStream) -> String {
    let mut line = [0; 12];
    timeout(DEADLINE, stream.read_exact(&mut line))
        .await
        .expect("an answer")
        .expect("what the test stands on");
    String::from_utf8(line.to_vec()).expect("what the test stands on").split_off(9)
}

#[tokio::test]
async fn whoever_reads_nothing_of_a_stream_is_cut_off_and_told_once() {
    let log = Log::begin();
    let served = Served::with(ConflictStrategyName::Lww, |config| {
        (config.http.streams_max, config.http.stream_stall_timeout_ms) = (3, 200);
    })
    .await;
    for number in 0..24 {
        let put = served.put(&format!("a{number}"), &value!("x".repeat(500_000))).await;
        assert_eq!(put.status(), StatusCode::OK);
    }
    let mut readers = Vec::new();
    for _ in 0..3 {
        let mut reader = ask(&served).await;
        assert_eq!(status(&mut reader).await, "200");
        readers.push(reader);
    }
    let cut_off = async {
        while refusals(&served, "stalled").await < 3 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, cut_off).await.expect("an end");
    assert_eq!(log.count(&refused("stalled")), 1, "{}", log.text());
    // Their places are free again.
    assert_eq!(status(&mut ask(&served).await).await, "200");
    is_unharmed(&served).await;
    drop(readers);
}

#[tokio::test]
async fn more_streams_than_there_may_be_are_refused_and_told_once() {
    let log = Log::begin();
    let served =
        Served::with(ConflictStrategyName::Lww, |config| config.http.streams_max = STREAMS_MAX).await;
    let (mut open, mut busy) = (Vec::new(), 0);
    for _ in 0..CLIENTS {
        let mut stream = ask(&served).await;
        match &*status(&mut stream).await {
            "200" => open.push(stream),
            "503" => busy += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!((open.len(), busy), (STREAMS_MAX, CLIENTS - STREAMS_MAX));
    assert_eq!(log.count(&refused("busy")), 1, "{}", log.text());
    is_unharmed(&served).await;
    drop(open);
    // A stream ends when something is sent to whoever is gone.
    let again = async {
        while status(&mut ask(&served).await).await != "200" {
            served.put("a", &value!(1)).await;
        }
    };
    timeout(DEADLINE, again).await.expect("a place");
}
