//! TLS, with a certificate that was made for these tests and is good for nothing else.

use std::path::{Path, PathBuf};

use archipelago_server::{Node, NodeError, config::ConflictStrategyName};
use reqwest::{Certificate, Client};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{DEADLINE, Served, config};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

async fn served() -> Served {
    Served::with(ConflictStrategyName::Lww, |config| {
        config.http.tls_certificate = Some(fixture("tls.pem"));
        config.http.tls_key = Some(fixture("tls.key"));
        config.http.header_timeout_ms = 200;
    })
    .await
}

#[tokio::test]
async fn with_a_certificate_the_node_speaks_tls_and_nothing_else() {
    let served = served().await;
    let url = format!("https://{}/health/live", served.node.address());
    let trusting = Certificate::from_pem(&std::fs::read(fixture("tls.pem")).unwrap()).unwrap();
    let client = Client::builder().add_root_certificate(trusting).timeout(DEADLINE).build().unwrap();
    assert!(client.get(&url).send().await.unwrap().status().is_success());
    assert!(served.client.get(&url).send().await.is_err(), "nobody vouches for the certificate");
    assert!(served.client.get(served.url("/health/live")).send().await.is_err(), "this is no TLS");
}

#[tokio::test]
async fn a_client_that_does_not_shake_hands_is_cut_off() {
    let served = served().await;
    let mut stream = TcpStream::connect(served.node.address()).await.unwrap();
    stream.write_all(&[22, 3, 1]).await.unwrap();
    let mut answer = Vec::new();
    let ended = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("an end");
    assert!(ended.is_err() || answer.is_empty());
}

#[tokio::test]
async fn a_certificate_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder, ConflictStrategyName::Lww);
    (config.http.tls_certificate, config.http.tls_key) =
        (Some(fixture("none.pem")), Some(fixture("tls.key")));
    let Err(NodeError::Tls { path, .. }) = Node::start(config).await else { panic!("it started") };
    assert_eq!(path, fixture("none.pem"));
}
