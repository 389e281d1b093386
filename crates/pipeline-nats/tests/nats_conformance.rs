//! JetStream behind a real nats-server keeps the contract of a pipeline.

mod support;

use std::sync::Arc;

use archipelago_pipeline::{Pipeline, conformance::Harness};
use archipelago_testkit::nats::NatsServer;
use async_trait::async_trait;
use tokio::sync::Mutex;

struct Nats(Mutex<NatsServer>);

impl Nats {
    async fn start() -> Nats {
        Nats(Mutex::new(support::server().await))
    }
}

#[async_trait]
impl Harness for Nats {
    async fn pipeline(&self) -> Arc<dyn Pipeline> {
        support::pipeline(&*self.0.lock().await).await
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
