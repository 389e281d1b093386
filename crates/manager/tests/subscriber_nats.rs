//! What a subscriber promises, on a real nats-server.

mod subscriber_suite;

use std::{fs, path::Path, sync::Arc};

use archipelago_pipeline::Pipeline;
use archipelago_pipeline_nats::{NatsConfig, NatsPipeline};
use archipelago_testkit::nats::NatsServer;
use subscriber_suite::{Harness, NAMESPACE, subscriber_tests};
use tempfile::TempDir;
use tokio::sync::Mutex;

const STREAM: &str = "ARCHIPELAGO_people";

struct Nats {
    server: Mutex<NatsServer>,
    /// `store` is where the server keeps its files, `copy` what they once were.
    home: TempDir,
}

impl Nats {
    async fn start() -> Nats {
        let home = tempfile::tempdir().expect("a temporary folder");
        let server = NatsServer::builder().store_dir(home.path().join("store")).start().await;
        Nats { server: Mutex::new(server.expect("a nats-server")), home }
    }

    async fn jetstream(&self) -> async_nats::jetstream::Context {
        let url = self.server.lock().await.url();
        async_nats::jetstream::new(async_nats::connect(url).await.expect("connecting"))
    }
}

impl Harness for Nats {
    async fn pipeline(&self) -> Arc<dyn Pipeline> {
        let config = NatsConfig::new(self.server.lock().await.url(), NAMESPACE);
        Arc::new(NatsPipeline::connect(config).await.expect("connecting"))
    }
    async fn stop_broker(&self) {
        self.server.lock().await.stop().await.expect("stopping");
    }
    async fn start_broker(&self) {
        self.server.lock().await.restart().await.expect("starting again");
    }
    async fn delete_log(&self) {
        self.jetstream().await.delete_stream(STREAM).await.expect("deleting the stream");
    }
    async fn trim(&self, to: u64) {
        let stream = self.jetstream().await.get_stream(STREAM).await.expect("the stream");
        stream.purge().sequence(to + 1).await.expect("purging");
    }
    async fn remember_tail(&self) {
        self.stop_broker().await;
        copy(&self.home.path().join("store"), &self.home.path().join("copy"));
        self.start_broker().await;
    }
    /// As if the machine had lost its power before the newest messages were synced.
    async fn lose_tail(&self, _last: u64) {
        self.stop_broker().await;
        self.server.lock().await.wipe().expect("stopped");
        copy(&self.home.path().join("copy"), &self.home.path().join("store"));
        self.start_broker().await;
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let to = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("a copy");
        }
    }
}

subscriber_tests!(Nats::start().await);
