//! JetStream behind a real nats-server keeps the contract of a pipeline.

mod support;

use std::sync::Arc;

use archipelago_pipeline::{Pipeline, conformance::Harness};
use archipelago_pipeline_nats::NatsPipeline;
use archipelago_testkit::nats::NatsServer;
use async_trait::async_trait;
use tokio::sync::Mutex;

struct Nats(Mutex<NatsServer>);

impl Nats {
    async fn start() -> Nats {
        // Small messages, so that payloads that take many of them are made and sent in no time.
        let server = NatsServer::builder().max_payload_bytes(128 * 1024).start().await;
        Nats(Mutex::new(server.expect("a nats-server")))
    }
}

#[async_trait]
impl Harness for Nats {
    async fn pipeline(&self) -> Arc<dyn Pipeline> {
        let config = support::config(&*self.0.lock().await).payload_bytes_max(8 * 1024 * 1024);
        Arc::new(NatsPipeline::connect(config).await.expect("connecting"))
    }
    async fn stop_broker(&self) {
        self.0.lock().await.stop().await.expect("stopping");
    }
    async fn start_broker(&self) {
        self.0.lock().await.restart().await.expect("starting again");
    }
    async fn delete_log(&self) {
        let jetstream = support::jetstream(&*self.0.lock().await).await;
        jetstream.delete_stream(support::STREAM).await.expect("deleting the stream");
    }
    fn in_flight_max(&self) -> usize {
        256
    }
}

archipelago_pipeline::conformance_tests!(Nats::start().await);
