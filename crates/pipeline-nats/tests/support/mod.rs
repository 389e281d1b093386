//! What the tests on a real nats-server share.

#![allow(dead_code, reason = "each test program uses a part")]

use std::{sync::Arc, time::Duration};

use archipelago_pipeline::{Incoming, Outgoing, Pipeline, PipelineStatus, Subscription};
use archipelago_pipeline_nats::{NatsConfig, NatsPipeline};
use archipelago_testkit::nats::NatsServer;

/// How long anything that must happen is waited for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) const NAMESPACE: &str = "test";
pub(crate) const STREAM: &str = "ARCHIPELAGO_test";

pub(crate) async fn server() -> NatsServer {
    NatsServer::start().await.expect("a nats-server")
}

pub(crate) fn config(server: &NatsServer) -> NatsConfig {
    NatsConfig::new(server.url(), NAMESPACE)
}

pub(crate) async fn pipeline(server: &NatsServer) -> Arc<NatsPipeline> {
    Arc::new(NatsPipeline::connect(config(server)).await.expect("connecting"))
}

/// The JetStream API behind the pipeline's back.
pub(crate) async fn jetstream(server: &NatsServer) -> async_nats::jetstream::Context {
    async_nats::jetstream::new(async_nats::connect(server.url()).await.expect("connecting"))
}

pub(crate) fn message(number: usize) -> Outgoing {
    Outgoing {
        origin: "paris".into(),
        message_id: format!("paris-{number}"),
        payload: number.to_string().into(),
    }
}

pub(crate) fn number(message: &Incoming) -> usize {
    std::str::from_utf8(message.payload.as_ref().expect("a whole message"))
        .expect("text")
        .parse()
        .expect("a number")
}

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("did not happen within {DEADLINE:?}: {what}"),
    }
}

pub(crate) async fn publish_all(pipeline: &dyn Pipeline, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let pending = pipeline.publish(message(number)).await.expect("publishing");
        within("an acknowledgement", pending).await.expect("an acknowledgement");
    }
}

pub(crate) async fn expect_numbers(subscription: &mut dyn Subscription, numbers: std::ops::Range<usize>) {
    for expected in numbers {
        let incoming = within("the next message", subscription.next()).await.expect("a message");
        assert_eq!(number(&incoming), expected);
    }
}

pub(crate) async fn until_up(pipeline: &dyn Pipeline) {
    let mut status = pipeline.status();
    within("the status goes up", status.wait_for(|status| *status == PipelineStatus::Up))
        .await
        .expect("a status");
}

/// Waits until the status is down, and tells why.
pub(crate) async fn until_down(pipeline: &dyn Pipeline) -> String {
    let mut status = pipeline.status();
    let down = within("the status goes down", status.wait_for(|status| *status != PipelineStatus::Up)).await;
    match down.expect("a status").clone() {
        PipelineStatus::Down { reason } => reason,
        PipelineStatus::Up => panic!("waited for down"),
    }
}

/// A nats-server with any arguments, on a port that outlives it.
pub(crate) struct BareServer(std::process::Child);

impl BareServer {
    pub(crate) async fn start(port: u16, arguments: &[&str]) -> BareServer {
        let binary = archipelago_testkit::nats::find_binary().expect("a nats-server");
        let mut command = std::process::Command::new(binary);
        command.args(["-a", "127.0.0.1", "-p", &port.to_string()]).args(arguments);
        let silent = || std::process::Stdio::null();
        let server = BareServer(command.stdout(silent()).stderr(silent()).spawn().expect("starting"));
        within("the server listens", async {
            while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        server
    }
}

impl Drop for BareServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}
